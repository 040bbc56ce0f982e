/* SPDX-License-Identifier: MIT */
/*
 * Private to stats/: distributions of the last seconds and minutes.  Each span is kept as two
 * halves, the one that grows and the one before it, so that what is older than two spans is
 * gone at once and does not fade for long.
 */
#ifndef WEIR_STATS_RECENT_H
#define WEIR_STATS_RECENT_H

#include "weir/stats/scaling.h"

/* Begins a new half where it is time: what is added next is of the time since `last_us`. */
void recents_turn(struct recent *recents, size_t n, const double *spans_s, uint64_t last_us,
		  uint64_t now_us);
/* Per second. */
double recent_rate(const struct recent *recent, uint64_t now_us);
void recents_add(struct recent *recents, size_t n, uint32_t bucket, uint32_t count);
void recents_forget(struct recent *recents, size_t n);
void recents_fini(struct recent *recents, size_t n);
/* The shortest span with at least `want` samples, or the longest; its index. */
size_t recents_pick(const struct recent *recents, size_t n, double want, struct spread *out);

#endif
