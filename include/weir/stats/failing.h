/* SPDX-License-Identifier: MIT */
/*
 * Do most answers of a pool fail, whichever backend gives them?  What all backends answer since
 * the same deploy sets none of them apart, so nobody is the odd one out (stats/odd.h), and answers
 * that fail fast are quick.
 *
 * Kinds of answers make three groups: errors and refusals (4xx, 5xx, nothing whole), redirects,
 * and 2xx without a body.  The last seconds that hold enough are compared to hours before:
 *
 *   most are errors, they were not, and the good ones have become fewer    it fails
 *   (who asks for what there is not, beside all others, has not made these fewer)
 *   nearly all are errors, for minutes, whatever was before                it fails
 *   nearly all are redirects, or empty, and they were not                  it fails
 *
 *   failing_second(&failing, totals, wall_us);    // once a second
 *   if (failing_say(&failing, text)) ...    // "answers 404 to 98 % since 14:05, to 1 % before:
 * ..."
 *
 * Control thread; no I/O.
 */
#ifndef WEIR_STATS_FAILING_H
#define WEIR_STATS_FAILING_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/pack.h"
#include "weir/stats/odd.h"

/* Answers with forgetting. */
struct failing_memory {
	double s, n, of[N_ANSWERS]; /* seconds, all answers, each kind */
};

#define FAILING_SPANS 4 /* 5 s, 50 s, 500 s, 6 h */

enum failing_group { FAILING_ERRORS, FAILING_REDIRECTS, FAILING_EMPTY, N_FAILING_GROUPS };

struct failing {
	double totals[N_ANSWERS]; /* at the last second */
	bool is_counted;          /* there was one */
	struct failing_memory memory[FAILING_SPANS];
	uint64_t nearly_us; /* since then nearly all are errors; wall clock, 0: they are not */
	/* what it is, while it is so */
	bool on;
	enum failing_group group;
	double share, was; /* was: before, below 0: not known */
	uint64_t since_us; /* wall clock */
	unsigned answer;   /* the kind that most of them are, N_ANSWERS: no kind is */
};

/* Once a second: answers ever, by kind.  Fewer than before: somebody has gone with his. */
void failing_second(struct failing *failing, const double totals[N_ANSWERS], uint64_t wall_us);

/* What is so now, and what to do; false: nothing is. */
#define FAILING_TEXT 160
bool failing_say(const struct failing *failing, char text[FAILING_TEXT]);

/* For the process that takes over. */
void failing_pack(const struct failing *failing, struct str *out);
void failing_unpack(struct unpack *in, struct failing *failing);

#endif
