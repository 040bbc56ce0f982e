/* SPDX-License-Identifier: MIT */
/*
 * How fast a counter grows: per second over the last ten pushes, from its
 * running total.  Push once a second and it is the rate of the last 10 s.
 * Control thread only.  Zeroed memory is a valid, empty rate.
 *
 *   rate_push(&backend->rate, requests_so_far, clock_us());
 *   json_member_double(j, "rate", rate_per_s(&backend->rate));
 */
#ifndef WEIR_STATS_RATE_H
#define WEIR_STATS_RATE_H

#include <stdint.h>

#define RATE_PUSHES 11 /* ten intervals have eleven ends */

struct rate {
	uint64_t total[RATE_PUSHES];
	uint64_t at_us[RATE_PUSHES];
	uint32_t n;    /* in use */
	uint32_t next; /* where the next push goes: the oldest once full */
};

/* `total` never falls and `now_us` never goes back. */
void rate_push(struct rate *rate, uint64_t total, uint64_t now_us);

/* 0 until there are two pushes at different times. */
double rate_per_s(const struct rate *rate);

#endif
