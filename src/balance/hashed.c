/* SPDX-License-Identifier: MIT */
/*
 * What the hashing strategies share: the bound on load, and scores that do not depend on the
 * order of backends.
 */
#include "hashed.h"

#include <math.h>

#include "weir/base/bitset.h"
#include "weir/base/check.h"
#include "weir/base/hash.h"

/* Hashes of a key that are tried before the walk over all. */
#define TRIES 20

/* A cap is what one unit of weight may have in flight, in 1/CAP_ONE. */
#define CAP_ONE 65536

void hashed_init(struct hashed *hashed, const struct strategy_member *members, uint32_t n,
		 const struct strategy_options *options, struct arena *arena)
{
	uint32_t *weights = arena_array(arena, n, sizeof(*weights));
	uint64_t *weighted = arena_array(arena, BITSET_WORDS(n), sizeof(*weighted));
	uint64_t *ids = arena_array(arena, n, sizeof(*ids));
	*hashed = (struct hashed){
	    .n = n,
	    .n_words = (uint32_t)BITSET_WORDS(n),
	    .bound_percent = options->bound_percent,
	    .weights = weights,
	    .weighted = weighted,
	    .ids = ids,
	    .equal = true,
	};
	uint32_t first = 0;
	for (uint32_t i = 0; i < n; i++) {
		weights[i] = members[i].weight;
		if (weights[i] == 0)
			continue;
		first = first ? first : weights[i];
		hashed->equal &= weights[i] == first;
		ids[i] = hash_view(members[i].name, 0);
		bitset_put(weighted, i);
		hashed->n_weighted++;
		hashed->total_weight += weights[i];
	}
}

/*
 * The mean is that of the eligible: what the others have in flight still has
 * its place in it.  Their part of the weight is taken from their number, which
 * is exact for equal weights and needs no walk.
 */
uint64_t hashed_cap(const struct hashed *hashed, const uint64_t *eligible,
		    const struct strategy_loads *loads)
{
	if (likely(hashed->bound_percent == 0))
		return UINT64_MAX;
	uint64_t n = 0;
	for (uint32_t w = 0; w < hashed->n_words; w++)
		n += bits_count(eligible[w] & hashed->weighted[w]);
	if (n == 0)
		return UINT64_MAX;
	uint64_t total = atomic_load_explicit(loads->total, memory_order_relaxed);
	uint64_t mean = (total + 1) * CAP_ONE * hashed->n_weighted / (hashed->total_weight * n);
	return mean * hashed->bound_percent / 100;
}

/* May backend i take one more? */
static bool has_room(const struct hashed *hashed, const struct strategy_loads *loads, uint32_t i,
		     uint64_t cap)
{
	if (likely(cap == UINT64_MAX))
		return true;
	uint64_t room = (cap * hashed->weights[i] + CAP_ONE - 1) / CAP_ONE;
	return strategy_load(loads, i) < (room ? room : 1);
}

/* Rendezvous: how well backend i suits a key; less is better, the shares are the weights. */
static double score(const struct hashed *hashed, uint32_t i, uint64_t key)
{
	uint64_t hash = hash_mix(key ^ hashed->ids[i]);
	if (hashed->equal)
		return (double)hash;
	return -log(((double)(hash >> 11) + 0.5) / 9007199254740992.0) / hashed->weights[i];
}

/* When nobody has room: the one with the least in flight for its weight. */
static uint32_t least_loaded(const struct hashed *hashed, const uint64_t *eligible,
			     const struct strategy_loads *loads)
{
	uint32_t best = STRATEGY_NONE;
	uint64_t best_load = 0;
	for (uint32_t w = 0; w < hashed->n_words; w++) {
		for (uint64_t b = eligible[w] & hashed->weighted[w]; b; b &= b - 1) {
			uint32_t i = w * 64 + (uint32_t)__builtin_ctzll(b);
			uint64_t load = strategy_load(loads, i);
			if (best != STRATEGY_NONE &&
			    load * hashed->weights[best] >= best_load * hashed->weights[i])
				continue;
			best = i;
			best_load = load;
		}
	}
	return best;
}

uint32_t hashed_best(const struct hashed *hashed, const uint64_t *eligible,
		     const struct strategy_loads *loads, uint64_t key, uint64_t cap)
{
	uint32_t best = STRATEGY_NONE;
	double least = 0;
	for (uint32_t w = 0; w < hashed->n_words; w++) {
		for (uint64_t b = eligible[w] & hashed->weighted[w]; b; b &= b - 1) {
			uint32_t i = w * 64 + (uint32_t)__builtin_ctzll(b);
			double mine = score(hashed, i, key);
			if ((best != STRATEGY_NONE && mine >= least) ||
			    !has_room(hashed, loads, i, cap))
				continue;
			best = i;
			least = mine;
		}
	}
	return best != STRATEGY_NONE ? best : least_loaded(hashed, eligible, loads);
}

uint32_t hashed_pick(const struct hashed *hashed, const struct strategy_table *table,
		     hashed_owner *owner, const struct strategy_input *input,
		     const uint64_t *eligible, const struct strategy_loads *loads)
{
	if (hashed->n_weighted == 0)
		return STRATEGY_NONE;
	uint64_t key = input->key, cap = hashed_cap(hashed, eligible, loads);
	for (uint32_t try = 1; try <= TRIES; try++) {
		uint32_t i = owner(table, key);
		if (bitset_has(eligible, i) && has_room(hashed, loads, i, cap))
			return i;
		key = hash_mix(input->key + try);
	}
	return hashed_best(hashed, eligible, loads, input->key, cap);
}
