/* SPDX-License-Identifier: MIT */
/*
 * What the hashing strategies share: from the owner of a key to a backend that
 * may take it.
 *
 * Tables are built of all that is configured, so a backend that goes down and
 * comes back moves its own keys and no others.  Who takes them meanwhile is
 * asked of the same table, with the key hashed again: every process with the
 * same configuration agrees on that, too, and the keys of one spread over all.
 *
 * Bounded load (Mirrokni, Thorup, Zadimoghaddam): with options.bound a backend
 * that has more than that part of the mean in flight passes keys on in the same
 * way.
 */
#ifndef WEIR_BALANCE_HASHED_H
#define WEIR_BALANCE_HASHED_H

#include "weir/balance/strategy.h"

struct hashed {
	uint32_t n, n_words;
	uint32_t n_weighted;      /* backends with a weight */
	uint64_t total_weight;    /* theirs */
	uint32_t bound_percent;   /* 0: none */
	const uint32_t *weights;  /* [n] */
	const uint64_t *weighted; /* bitset: weight is not 0 */
	const uint64_t *ids;      /* [n] hashes of the names */
	bool equal;               /* all weights are the same */
};

void hashed_init(struct hashed *hashed, const struct strategy_member *members, uint32_t n,
		 const struct strategy_options *options, struct arena *arena);

/* The owner of a key among all with a weight; there is one. */
typedef uint32_t hashed_owner(const struct strategy_table *table, uint64_t key);

uint32_t hashed_pick(const struct hashed *hashed, const struct strategy_table *table,
		     hashed_owner *owner, const struct strategy_input *input,
		     const uint64_t *eligible, const struct strategy_loads *loads);

/* What one unit of weight may have in flight; UINT64_MAX without a bound. */
uint64_t hashed_cap(const struct hashed *hashed, const uint64_t *eligible,
		    const struct strategy_loads *loads);

/*
 * By rendezvous (Thaler and Ravishankar): every backend has a score for every
 * key, and the best eligible one with room wins; looks at all.
 */
uint32_t hashed_best(const struct hashed *hashed, const uint64_t *eligible,
		     const struct strategy_loads *loads, uint64_t key, uint64_t cap);

#endif
