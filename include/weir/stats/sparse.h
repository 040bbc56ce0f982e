/* SPDX-License-Identifier: MIT */
/*
 * Numbers by bucket of a histogram where most are 0: 32 of them at a time, as long as one of
 * them is used.  For one thread, which may read what is not there as zeroes.
 *
 *   uint32_t *n = sparse32_make(&s, bucket >> HIST_SUB_BITS);
 *   if (n) n[bucket & (HIST_SUB - 1)]++;
 *
 * One is of sparse32_* or of sparse64_* for all its life.  Zeroed memory is an empty one.
 */
#ifndef WEIR_STATS_SPARSE_H
#define WEIR_STATS_SPARSE_H

#include <stdbool.h>
#include <stddef.h>

#include "weir/stats/hist.h"

struct sparse {
	void *numbers;   /* owns; of the groups that there are, in their order */
	uint32_t groups; /* a bit for each that there is */
};

/* Forgets all; empty, and nothing is left to free. */
void sparse_reset(struct sparse *sparse);

/* A group, [HIST_SUB]; zeroes at first; NULL without memory.  Moves all others. */
uint32_t *sparse32_make(struct sparse *sparse, uint32_t group);
uint64_t *sparse64_make(struct sparse *sparse, uint32_t group);

static inline size_t sparse_place(const struct sparse *sparse, uint32_t group)
{
	uint32_t below = sparse->groups & ((UINT32_C(1) << group) - 1);
	return (size_t)__builtin_popcount(below) * HIST_SUB;
}

static inline bool sparse_has(const struct sparse *sparse, uint32_t group)
{
	return sparse->groups >> group & 1;
}

/* NULL: there was never anything in it.  Until another group is made. */
static inline uint32_t *sparse32_find(const struct sparse *sparse, uint32_t group)
{
	return sparse_has(sparse, group) ? (uint32_t *)sparse->numbers + sparse_place(sparse, group)
					 : NULL;
}
static inline uint64_t *sparse64_find(const struct sparse *sparse, uint32_t group)
{
	return sparse_has(sparse, group) ? (uint64_t *)sparse->numbers + sparse_place(sparse, group)
					 : NULL;
}

/* Every bucket, [HIST_BUCKETS]; and back, false without memory. */
void sparse64_spread(const struct sparse *sparse, uint64_t out[HIST_BUCKETS]);
bool sparse64_gather(struct sparse *sparse, const uint64_t from[HIST_BUCKETS]);

#endif
