/* SPDX-License-Identifier: MIT */
/*
 * rendezvous, highest random weight: every backend has a score for every key,
 * the best eligible one wins.  No table, perfectly even by the logarithm method,
 * and whoever goes leaves only its own keys, spread over all others; but a pick
 * looks at every backend, so it is for pools of up to some hundred.
 */
#include "hashed.h"
#include "strategies.h"

static const struct strategy_table *rendezvous_build(const struct strategy_member *members,
						     uint32_t n,
						     const struct strategy_options *options,
						     struct arena *arena)
{
	struct hashed *hashed = arena_zalloc(arena, sizeof(*hashed));
	hashed_init(hashed, members, n, options, arena);
	return (const struct strategy_table *)hashed;
}

static uint32_t rendezvous_pick(const struct strategy_table *table, void *local,
				const struct strategy_input *input, const uint64_t *eligible,
				const struct strategy_loads *loads)
{
	(void)local;
	const struct hashed *hashed = (const struct hashed *)table;
	return hashed_best(hashed, eligible, loads, input->key,
			   hashed_cap(hashed, eligible, loads));
}

const struct strategy strategy_rendezvous = {
    STRATEGY_ROW(rendezvous),
    .build = rendezvous_build,
    .pick = rendezvous_pick,
};
