/* SPDX-License-Identifier: MIT */
/*
 * The `health` settings of a pool made ready: a copy of its own, because checks
 * under way outlive the generation they came from, with the regular expression
 * compiled.  Private to health/; health thread.
 */
#ifndef WEIR_HEALTH_SETTINGS_H
#define WEIR_HEALTH_SETTINGS_H

#include "weir/base/arena.h"
#include "weir/base/str.h"
#include "weir/conf/conf.h"

struct health_settings {
	struct arena *arena; /* owns this struct, too */
	struct conf_health conf;
	struct view expect; /* "200-399", for sentences */
	void *regex;        /* pcre2_code, or NULL: any body will do */
	void *match_data, *match_limits;
};

/* NULL and a sentence when the regular expression is none. */
struct health_settings *health_settings_new(const struct conf_health *conf, struct str *why);
void health_settings_free(struct health_settings *s); /* NULL is fine */

bool health_settings_same(const struct health_settings *s, const struct conf_health *conf);

bool health_settings_expect(const struct health_settings *s, unsigned status);
enum body_match { BODY_DIFFERS, BODY_MATCHES, BODY_UNDECIDED /* the regex reached its limit */ };
enum body_match health_settings_match(const struct health_settings *s, struct view body);

#endif
