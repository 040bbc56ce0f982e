/* SPDX-License-Identifier: MIT */
/*
 * p2c, the power of two choices (Mitzenmacher): draw two different backends in
 * proportion to weight, take the one with fewer exchanges in flight for its
 * weight.  Two loads of shared memory however large the pool is, and a backend
 * that fails fast is seen by only about 2 in n picks.
 *
 * The loads are compared as they are, not plus one: an idle pool is a tie,
 * which keeps the first draw and so the proportion of the weights.
 */
#include "draw.h"
#include "strategies.h"

static const struct strategy_table *p2c_build(const struct strategy_member *members, uint32_t n,
					      const struct strategy_options *options,
					      struct arena *arena)
{
	(void)options;
	return (const struct strategy_table *)draw_table_new(members, n, arena);
}

static uint32_t p2c_pick(const struct strategy_table *opaque, void *local,
			 const struct strategy_input *input, const uint64_t *eligible,
			 const struct strategy_loads *loads)
{
	(void)local;
	const struct draw_table *table = (const struct draw_table *)opaque;
	uint32_t a, b;
	draw_two(table, eligible, input->random, &a, &b);
	if (b == STRATEGY_NONE)
		return a;
	uint64_t load_a = strategy_load(loads, a), load_b = strategy_load(loads, b);
	return load_b * table->weights[a] < load_a * table->weights[b] ? b : a;
}

const struct strategy strategy_p2c = {
    STRATEGY_ROW(p2c),
    .build = p2c_build,
    .pick = p2c_pick,
};
