/* SPDX-License-Identifier: MIT */
/*
 * What of a configuration is for the others: a copy of its own, for it outlives generations.
 * Thread: control.
 */
#ifndef WEIR_CLUSTER_SETTINGS_H
#define WEIR_CLUSTER_SETTINGS_H

#include "weir/base/err.h"
#include "weir/base/str.h"
#include "weir/conf/conf.h"
#include "weir/net/tls.h"

struct settings {
	struct arena *arena; /* owns all of it */
	struct conf_shared conf;
	struct view password, status;
	bool pins;              /* some pool tells others what it learned */
	uint16_t any_port;      /* status.bind is on all addresses, at this port; else 0 */
	struct tls_client *tls; /* counted; NULL: plain */
};

/* Files are read when it returns.  On failure there is nothing to give back, and `why` says what is
 * wrong. */
enum err settings_make(struct settings *s, const struct conf *conf, struct tls_local *tls,
		       struct str *why);
void settings_fini(struct settings *s); /* all zero is fine */

/* False also when files of TLS may have changed under their names. */
bool settings_same_server(const struct settings *a, const struct settings *b);
/* Whether others know this node by what it was. */
bool settings_known_as(const struct settings *a, const struct settings *b);

#endif
