/* SPDX-License-Identifier: MIT */
/*
 * What a minute brought a backend or a pool: sums, a histogram of the total phase, and for
 * each number in flight its time and completions.  All of it can be added up to hours and
 * days without a loss.
 *
 *   minute_second(m, &row, windows);          // once a second
 *   minute_pack(m, levels, n, &out);          // when it is over
 *   minute_reset(m);
 *
 *   struct minute_sum sum = {0};
 *   minute_sum_add(&sum, &in);                // of bytes that minute_pack has put
 *   minute_sum_pack(&sum, &out);              // the same form
 *
 * A minute costs about as many bytes as six times its buckets in use.  Control thread.
 */
#ifndef WEIR_STATS_MINUTE_H
#define WEIR_STATS_MINUTE_H

#include "weir/base/pack.h"
#include "weir/stats/history.h"
#include "weir/stats/level.h"
#include "weir/stats/window.h"

struct minute;

/* NULL without memory. */
struct minute *minute_new(void);
void minute_free(struct minute *minute); /* NULL is fine */

/* The second that has passed; `windows` may be NULL. */
void minute_second(struct minute *minute, const struct history_row *row,
		   const struct windows *windows);
/* Whether there was anything. */
bool minute_has_traffic(const struct minute *minute);
/* levels[i]: a worker's or NULL, always of the same backend; none for a pool. */
void minute_pack(const struct minute *minute, const struct levels *const *levels, size_t n,
		 struct str *out);
/* Begins the next one; `levels` as for minute_pack. */
void minute_reset(struct minute *minute, const struct levels *const *levels, size_t n);

/* ---- of any length ---- */

struct minute_sum {
	uint64_t seconds, requests, errors;
	double in_flight_s, queued_s; /* means are these by seconds */
	struct hist_total latency;    /* of successes */
	uint64_t time_us[LEVEL_BINS]; /* what requests took that found so many in flight */
	uint64_t done[LEVEL_BINS];    /* how many requests that were */
};

/* False when it is none of these, or damaged. */
bool minute_is_whole(struct view bytes);
/* False, and nothing is added, when it is not whole. */
bool minute_sum_add(struct minute_sum *sum, struct unpack in);
void minute_sum_pack(const struct minute_sum *sum, struct str *out);

#endif
