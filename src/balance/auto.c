/* SPDX-License-Identifier: MIT */
/*
 * auto: least-request while looking at every backend is cheap, the power of two
 * choices above.  With few backends an exact look finds the idle one, which
 * p2c misses when it is not among its two; with many, p2c is as good and reads
 * two counters instead of all.
 */
#include "strategies.h"

/* Backends up to which every counter is looked at. */
#define EXACT_MAX 64

struct auto_table {
	const struct strategy *way;
	const struct strategy_table *inner;
};

static const struct strategy_table *auto_build(const struct strategy_member *members, uint32_t n,
					       struct arena *arena)
{
	struct auto_table *table = arena_zalloc(arena, sizeof(*table));
	table->way = n <= EXACT_MAX ? &strategy_least_request : &strategy_p2c;
	table->inner = table->way->build(members, n, arena);
	return (const struct strategy_table *)table;
}

static uint32_t auto_pick(const struct strategy_table *opaque, void *local,
			  const struct strategy_input *input, const uint64_t *eligible,
			  const struct strategy_loads *loads)
{
	const struct auto_table *table = (const struct auto_table *)opaque;
	return table->way->pick(table->inner, local, input, eligible, loads);
}

static void auto_dump(const struct strategy_table *opaque, const void *local, struct json *out)
{
	(void)local;
	const struct auto_table *table = (const struct auto_table *)opaque;
	json_member_text(out, "uses", table->way->keyword);
}

const struct strategy strategy_auto = {
    STRATEGY_ROW(auto),
    .build = auto_build,
    .pick = auto_pick,
    .dump = auto_dump,
};
