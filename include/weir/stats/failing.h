/* SPDX-License-Identifier: MIT */
/*
 * Does a pool fail, whichever backend it is?  What all backends answer since the same deploy sets
 * none of them apart, so nobody is the odd one out (stats/odd.h); answers that fail fast are quick,
 * and whose client has left has no latency at all.
 *
 *   errors      most answers are 4xx, 5xx or nothing whole, most were not, and the good ones have
 *               become fewer (who asks for what there is not beside all others has not made these
 *               fewer); or nearly all are, for minutes
 *   faults      a tenth and more are 500, 502, 503 or nothing whole
 *   redirects   nearly all are, and were not
 *   empty       the same of 2xx without a body
 *   late        clients leave unanswered after more than the objective: so many that it is missed,
 *               whatever the latency of those who stay
 *   left        clients leave before they are answered
 *   refused     weir's queue is full, or gives up
 *
 * The last seconds that hold enough are compared to hours before.
 *
 *   failing_second(&failing, totals, wall_us);    // once a second
 *   if (failing_say(&failing, text)) ... // "answers 404 to 98 % since 14:05, 1 % before: ..."
 *
 * Control thread; no I/O.
 */
#ifndef WEIR_STATS_FAILING_H
#define WEIR_STATS_FAILING_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/pack.h"
#include "weir/stats/odd.h"

/* Kinds go on behind those of answers. */
enum failing_kind { FAILING_left = N_ANSWERS, FAILING_late, FAILING_refused, N_FAILING };

/* With forgetting. */
struct failing_memory {
	double s, n, of[N_FAILING]; /* seconds, all requests, each kind */
};

#define FAILING_SPANS 4 /* 5 s, 50 s, 500 s, 6 h */

enum failing_group {
	FAILING_ERRORS,
	FAILING_FAULTS,
	FAILING_REDIRECTS,
	FAILING_EMPTY,
	FAILING_LATE,
	FAILING_LEFT,
	FAILING_REFUSED,
	N_FAILING_GROUPS
};

struct failing {
	double totals[N_FAILING]; /* at the last second */
	bool is_counted;          /* there was one */
	struct failing_memory memory[FAILING_SPANS];
	/* since then it is so much that it fails whatever was before; wall clock, 0: it is not */
	uint64_t always_us[N_FAILING_GROUPS];
	unsigned seen_s[N_FAILING_GROUPS]; /* seconds in a row that have seen a change */
	/* what it is, while it is so */
	bool on;
	enum failing_group group;
	double share, was; /* was: before, below 0: not known */
	uint64_t since_us; /* wall clock */
	unsigned kind;     /* that most of them are, N_FAILING: none is */
};

/* Once a second: how many ever, by kind.  Fewer than before: somebody has gone with his. */
void failing_second(struct failing *failing, const double totals[N_FAILING], uint64_t wall_us);

/* What is so now, and what to do; false: nothing is. */
#define FAILING_TEXT 160
bool failing_say(const struct failing *failing, char text[FAILING_TEXT]);

/* For the process that takes over. */
void failing_pack(const struct failing *failing, struct str *out);
void failing_unpack(struct unpack *in, struct failing *failing);

#endif
