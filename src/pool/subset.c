/* SPDX-License-Identifier: MIT */
/* The backends of a node: those that its name likes best. */
#include "subset.h"

#include <stdlib.h>

#include "weir/base/bitset.h"
#include "weir/base/hash.h"

#define SEED 0x73756273 /* the same at every node */

struct liking {
	uint64_t hash;
	uint32_t index;
	uint8_t priority;
};

static int by_hash(const void *a, const void *b)
{
	const struct liking *x = a, *y = b;
	if (x->priority != y->priority)
		return x->priority < y->priority ? -1 : 1;
	if (x->hash != y->hash)
		return x->hash > y->hash ? -1 : 1;
	return x->index < y->index ? -1 : 1;
}

void pool_subset(const struct conf_backend *backends, size_t n, struct view node, uint32_t want,
		 struct arena *arena, uint64_t *chosen)
{
	struct liking *rows = arena_array(arena, n, sizeof(*rows));
	uint64_t seed = hash_view(node, SEED);
	size_t n_rows = 0, taken = 0;
	for (size_t i = 0; i < n; i++)
		if (backends[i].member != CONF_MEMBER_GONE)
			rows[n_rows++] = (struct liking){
			    .hash = hash_view(backends[i].name, seed),
			    .index = (uint32_t)i,
			    .priority = backends[i].priority,
			};
		else
			bitset_put(chosen, (uint32_t)i); /* what is under way there ends in peace */
	if (n_rows)
		qsort(rows, n_rows, sizeof(*rows), by_hash);
	for (size_t i = 0; i < n_rows; i++) {
		taken = i && rows[i].priority == rows[i - 1].priority ? taken + 1 : 0;
		if (taken < want)
			bitset_put(chosen, rows[i].index);
	}
}
