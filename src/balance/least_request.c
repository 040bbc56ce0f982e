/* SPDX-License-Identifier: MIT */
/*
 * least-request: the backend with the fewest exchanges in flight for its
 * weight, counted exactly over all workers.
 *
 * Idle backends come first whatever their weight, so that an idle light one is
 * used before a busy heavy one; among busy ones the smallest (in flight + 1) /
 * weight wins.  A tie is broken by a draw in proportion to weight: "first in
 * the list" would give one backend all traffic of a quiet pool, and "first from
 * a random start" favours whoever stands behind a run of busy ones.
 *
 * A look at every counter costs a cache line each, mostly dirty in another
 * core.  Therefore a few weighted draws come first: if one hits an idle
 * backend, that is the answer, with the same distribution as the full look
 * (rejection sampling among the idle ones).
 */
#include "draw.h"
#include "strategies.h"

#include "weir/base/bitset.h"

/* Draws before the full look; a busy pool pays for them with cache lines it needs anyway. */
#define IDLE_TRIES 3

static const struct strategy_table *least_build(const struct strategy_member *members, uint32_t n,
						const struct strategy_options *options,
						struct arena *arena)
{
	(void)options;
	return (const struct strategy_table *)draw_table_new(members, n, arena);
}

struct best {
	uint32_t index;
	uint64_t load;   /* 0 when idle, else in flight + 1 */
	uint64_t weight; /* of index */
	uint64_t tied;   /* weight of all that are as good, index included */
};

/*
 * Takes backend i into account.  On a tie the newcomer replaces the best with
 * the probability weight / tied, which makes the final one a weighted draw.
 */
static inline void best_consider(struct best *best, uint32_t i, uint64_t load, uint64_t weight,
				 uint64_t *lcg)
{
	uint64_t mine = load * best->weight, theirs = best->load * weight;
	if (mine > theirs)
		return;
	if (mine < theirs) {
		*best = (struct best){i, load, weight, weight};
		return;
	}
	best->tied += weight;
	/* the high half of an LCG is random enough to break ties, and costs a multiplication */
	*lcg = *lcg * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	if ((*lcg >> 32) * best->tied >> 32 < weight) {
		best->index = i;
		best->load = load;
		best->weight = weight;
	}
}

static uint32_t least_of_all(const struct draw_table *table, const uint64_t *eligible,
			     const struct strategy_loads *loads, uint64_t random)
{
	/* worse than anything: load 1 for the weight 0 */
	struct best best = {.index = STRATEGY_NONE, .load = 1};
	for (uint32_t w = 0; w < table->n_words; w++) {
		for (uint64_t b = eligible[w] & table->weighted[w]; b; b &= b - 1) {
			uint32_t i = w * 64 + (uint32_t)__builtin_ctzll(b);
			uint64_t load = strategy_load(loads, i);
			load += load != 0;
			best_consider(&best, i, load, table->weights[i], &random);
		}
	}
	return best.index;
}

static uint32_t least_pick(const struct strategy_table *opaque, void *local,
			   const struct strategy_input *input, const uint64_t *eligible,
			   const struct strategy_loads *loads)
{
	(void)local;
	const struct draw_table *table = (const struct draw_table *)opaque;
	struct draws draws = draws_of(input->random);
	if (table->n_columns == 0)
		return STRATEGY_NONE;
	for (int try = 0; try < IDLE_TRIES; try++) {
		uint32_t i = draw_any(table, draws_next(&draws));
		if (bitset_has(eligible, i) && strategy_load(loads, i) == 0)
			return i;
	}
	return least_of_all(table, eligible, loads, draws_next(&draws));
}

const struct strategy strategy_least_request = {
    STRATEGY_ROW(least_request),
    .build = least_build,
    .pick = least_pick,
};
