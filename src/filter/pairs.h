/* SPDX-License-Identifier: MIT */
/*
 * Pairs of answers, one to a request and one to its copy: in how many status or body differ,
 * and how their latency compares.
 *
 * Latency: of pairs that met the same level, as many others in flight at their backends (none,
 * 1, 2 to 3, 4 to 7 and so on), since a backend with more to do is slower.  Both have the same
 * request, so the median of the ratios, pair by pair, is not about which requests came.
 *
 * One writer per struct pairs; a reader adds several up, of one epoch.  Who clears and who reads
 * keep out of each other's way (mirror.c).
 */
#ifndef WEIR_FILTER_PAIRS_H
#define WEIR_FILTER_PAIRS_H

#include "weir/filter/mirror.h"
#include "weir/stats/hist.h"

struct pairs {
	uint32_t epoch; /* that all of it belongs to; written by pairs_clear */
	struct counter n, status_differs, bodies, body_differs, waits;
	struct hist wait[MIRROR_SIDES], ratio; /* at the same level; ratio in thousandths */
};

struct pairs_sum {
	uint64_t n, status_differs, bodies, body_differs, waits;
	struct hist_total wait[MIRROR_SIDES], ratio;
};

/* The writer; nobody reads. */
void pairs_clear(struct pairs *pairs, uint32_t epoch);
/* Nobody uses it any more. */
void pairs_fini(struct pairs *pairs);
/* The writer: bits of enum conf_compare in which they differ. */
unsigned pairs_note(struct pairs *pairs, const struct mirror_pair *pair);
/* Any thread. */
void pairs_add(struct pairs_sum *sum, const struct pairs *pairs);
void pairs_judge(const struct pairs_sum *sum, struct mirror_view *out);

#endif
