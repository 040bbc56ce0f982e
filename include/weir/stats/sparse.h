/* SPDX-License-Identifier: MIT */
/*
 * Numbers by bucket of a histogram where most are 0: 32 of them at a time, as long as one of
 * them is used, in as many bytes as the largest has needed.  For one thread, which may read what
 * is not there as zeroes.
 *
 *   if (!sparse_add(&s, bucket, 1)) ...        // no memory
 *   n = sparse_get(&s, bucket);
 *
 * Zeroed memory is an empty one.
 */
#ifndef WEIR_STATS_SPARSE_H
#define WEIR_STATS_SPARSE_H

#include <stdbool.h>
#include <stddef.h>

#include "weir/stats/hist.h"

struct sparse {
	unsigned char *numbers; /* owns; of the groups that there are, in their order */
	uint32_t groups;        /* a bit for each that there is */
	uint32_t wide[3];       /* of them, those of at least 2, 4 and 8 bytes a number */
};

/* Forgets all; empty, and nothing is left to free. */
void sparse_reset(struct sparse *sparse);
/* Of the numbers. */
size_t sparse_bytes(const struct sparse *sparse);

static inline bool sparse_has(const struct sparse *sparse, uint32_t group)
{
	return sparse->groups >> group & 1;
}

uint64_t sparse_get(const struct sparse *sparse, uint32_t bucket);
/* False without memory, and then nothing has changed. */
bool sparse_set(struct sparse *sparse, uint32_t bucket, uint64_t n);
bool sparse_add(struct sparse *sparse, uint32_t bucket, uint64_t n); /* stops at the top */

/* ---- 32 buckets at once ---- */

void sparse_load(const struct sparse *sparse, uint32_t group, uint64_t out[HIST_SUB]);
/* There is room for numbers up to `most`: a store of them cannot fail. */
bool sparse_reserve(struct sparse *sparse, uint32_t group, uint64_t most);
bool sparse_store(struct sparse *sparse, uint32_t group, const uint64_t from[HIST_SUB]);

/* ---- every bucket ---- */

void sparse_spread(const struct sparse *sparse, uint64_t out[HIST_BUCKETS]);
/* False without memory. */
bool sparse_gather(struct sparse *sparse, const uint64_t from[HIST_BUCKETS]);

#endif
