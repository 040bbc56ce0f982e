/* SPDX-License-Identifier: MIT */
/* What the tracer has of a configuration; private to tracer.c.  Control thread. */
#ifndef WEIR_BOOT_TRACER_SETTINGS_H
#define WEIR_BOOT_TRACER_SETTINGS_H

#include "weir/base/arena.h"
#include "weir/conf/conf.h"
#include "weir/fetch/fetch.h"

/* Its own copy: it outlives generations. */
struct tracer_settings {
	struct arena *arena; /* owns all of it */
	struct conf_tracing conf;
	struct view headers;    /* lines with their CRLF */
	struct tls_client *tls; /* counted; NULL: plain */
};

/* False with a reason, a line: then there is nothing to be let go. */
bool tracer_settings_make(struct tracer_settings *s, const struct conf_tracing *conf,
			  struct fetcher *fetcher, struct str *why);
void tracer_settings_fini(struct tracer_settings *s);

#endif
