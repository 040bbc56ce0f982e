/* SPDX-License-Identifier: MIT */
/*
 * random: a draw in proportion to weight.  Knows nothing of load, so it needs
 * no shared memory at all; queues grow like log n / log log n.
 */
#include "draw.h"
#include "strategies.h"

static const struct strategy_table *random_build(const struct strategy_member *members, uint32_t n,
						 const struct strategy_options *options,
						 struct arena *arena)
{
	(void)options;
	return (const struct strategy_table *)draw_table_new(members, n, arena);
}

static uint32_t random_pick(const struct strategy_table *table, void *local,
			    const struct strategy_input *input, const uint64_t *eligible,
			    const struct strategy_loads *loads)
{
	(void)local;
	(void)loads;
	struct draws draws = draws_of(input->random);
	return draw_one((const struct draw_table *)table, eligible, STRATEGY_NONE, &draws);
}

const struct strategy strategy_random = {
    STRATEGY_ROW(random),
    .build = random_build,
    .pick = random_pick,
};
