/* SPDX-License-Identifier: MIT */
/*
 * PCRE2 with everything bounded: patterns are compiled once, on the control
 * thread, into an arena; a worker matches them in its own scratch, and gives up on
 * a match that would take too long.  That is no answer: whoever asked must not go
 * on as if it were one.
 */
#ifndef WEIR_ROUTE_REGEX_H
#define WEIR_ROUTE_REGEX_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdbool.h>

#include "weir/base/arena.h"
#include "weir/base/str.h"
#include "weir/base/view.h"

/* Capture groups that a rewrite may refer to: 0 .. REGEX_GROUPS - 1. */
#define REGEX_GROUPS 32

/* What one worker needs to match; one match at a time. */
struct regex_scratch {
	pcre2_match_context *context; /* owns; the limits */
	pcre2_match_data *data;       /* owns */
	pcre2_jit_stack *jit_stack;   /* owns */
};

bool regex_scratch_init(struct regex_scratch *scratch);
void regex_scratch_fini(struct regex_scratch *scratch);

/*
 * NULL when it does not compile: the reason and the place are appended to `error`.
 * `fold`: case does not matter.
 */
pcre2_code *regex_new(struct view pattern, bool fold, struct arena *arena, struct str *error);

enum regex_result {
	REGEX_NO,
	REGEX_YES,
	REGEX_GAVE_UP, /* it reached a limit: nobody knows */
};

enum regex_result regex_match(const pcre2_code *regex, struct regex_scratch *scratch,
			      struct view subject);

/* Where the last match stands in its subject. */
void regex_span(const struct regex_scratch *scratch, struct view subject, size_t *from, size_t *to);

/* Part of the last subject that matched; empty when the group took no part. */
struct view regex_group(const struct regex_scratch *scratch, struct view subject, unsigned group);

#endif
