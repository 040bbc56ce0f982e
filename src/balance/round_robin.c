/* SPDX-License-Identifier: MIT */
/*
 * round-robin: each worker goes round on its own, from a random phase, so that
 * workers do not send their first requests to the same backend.
 *
 * Three ways with the same promise (each backend its weight's share, spread
 * evenly), chosen by what is cheapest:
 *   cycle  all weights equal: the next eligible bit after the last one
 *   scan   few backends: smooth weighted round robin; {5,1,1} gives aabacaa
 *   edf    many backends: earliest deadline first, O(log n)
 */
#include "edf.h"
#include "strategies.h"

#include "weir/base/bitset.h"
#include "weir/base/rng.h"

/* Backends up to which the smooth scan costs less than the heap. */
#define SCAN_MAX 16

/* Dry picks of a scan at most; they reach any phase of all but huge weights. */
#define PHASES_MAX 1024

enum way { WAY_CYCLE, WAY_SCAN, WAY_EDF };

struct round_table {
	enum way way;
	uint32_t n;
	uint32_t n_words;
	const uint32_t *weights;  /* [n] */
	const uint64_t *weighted; /* bitset: weight is not 0 */
};

struct cycle_local {
	uint32_t next;
};

struct scan_local {
	int64_t credit[SCAN_MAX];
};

static enum way way_of(const uint32_t *weights, uint32_t n)
{
	uint32_t first = 0;
	bool equal = true;
	for (uint32_t i = 0; i < n; i++) {
		if (first == 0)
			first = weights[i];
		else if (weights[i] && weights[i] != first)
			equal = false;
	}
	if (equal)
		return WAY_CYCLE;
	return n <= SCAN_MAX ? WAY_SCAN : WAY_EDF;
}

static const struct strategy_table *round_build(const struct strategy_member *members, uint32_t n,
						const struct strategy_options *options,
						struct arena *arena)
{
	(void)options;
	struct round_table *table = arena_zalloc(arena, sizeof(*table));
	uint32_t *weights = arena_array(arena, n, sizeof(*weights));
	table->n = n;
	table->n_words = (uint32_t)BITSET_WORDS(n);
	uint64_t *weighted = arena_array(arena, table->n_words, sizeof(*weighted));
	for (uint32_t i = 0; i < n; i++) {
		weights[i] = members[i].weight;
		bitset_assign(weighted, i, weights[i] != 0);
	}
	table->weights = weights;
	table->weighted = weighted;
	table->way = way_of(weights, n);
	return (const struct strategy_table *)table;
}

static size_t round_local_size(const struct strategy_table *opaque)
{
	const struct round_table *table = (const struct round_table *)opaque;
	switch (table->way) {
	case WAY_CYCLE:
		return sizeof(struct cycle_local);
	case WAY_SCAN:
		return sizeof(struct scan_local);
	case WAY_EDF:
		break;
	}
	return edf_size(table->n);
}

/* The first candidate at or after `from`. */
static uint32_t first_of_both(const struct round_table *table, const uint64_t *eligible,
			      uint32_t from)
{
	uint64_t mask = UINT64_MAX << (from % 64);
	for (uint32_t w = from / 64; w < table->n_words; w++) {
		uint64_t bits = eligible[w] & table->weighted[w] & mask;
		if (bits)
			return w * 64 + (uint32_t)__builtin_ctzll(bits);
		mask = UINT64_MAX;
	}
	return STRATEGY_NONE;
}

static uint32_t cycle_pick(const struct round_table *table, struct cycle_local *local,
			   const uint64_t *eligible)
{
	uint32_t i = first_of_both(table, eligible, local->next);
	if (i == STRATEGY_NONE)
		i = first_of_both(table, eligible, 0);
	if (i != STRATEGY_NONE)
		local->next = i + 1;
	return i;
}

/*
 * Smooth weighted round robin: all candidates earn their weight, the richest is
 * picked and pays what all earned together.  Whoever is not eligible neither
 * earns nor counts.
 */
static uint32_t scan_pick(const struct round_table *table, struct scan_local *local,
			  const uint64_t *eligible)
{
	uint32_t best = STRATEGY_NONE;
	int64_t total = 0;
	for (uint64_t b = table->n ? eligible[0] & table->weighted[0] : 0; b; b &= b - 1) {
		uint32_t i = (uint32_t)__builtin_ctzll(b);
		local->credit[i] += table->weights[i];
		total += table->weights[i];
		if (best == STRATEGY_NONE || local->credit[i] > local->credit[best])
			best = i;
	}
	if (best != STRATEGY_NONE)
		local->credit[best] -= total;
	return best;
}

static void scan_init(const struct round_table *table, struct scan_local *local, uint64_t random)
{
	uint64_t period = 0;
	for (uint32_t i = 0; i < table->n; i++)
		period += table->weights[i];
	if (period > PHASES_MAX)
		period = PHASES_MAX;
	uint32_t dry = rng_scale((uint32_t)(random >> 32), (uint32_t)period);
	while (dry--)
		scan_pick(table, local, table->weighted);
}

static void round_local_init(const struct strategy_table *opaque, void *local, uint64_t random)
{
	const struct round_table *table = (const struct round_table *)opaque;
	switch (table->way) {
	case WAY_CYCLE:
		((struct cycle_local *)local)->next = rng_scale((uint32_t)(random >> 32), table->n);
		break;
	case WAY_SCAN:
		scan_init(table, local, random);
		break;
	case WAY_EDF:
		edf_init(local, table->weights, table->n, random);
		break;
	}
}

static uint32_t round_pick(const struct strategy_table *opaque, void *local,
			   const struct strategy_input *input, const uint64_t *eligible,
			   const struct strategy_loads *loads)
{
	(void)input;
	(void)loads;
	const struct round_table *table = (const struct round_table *)opaque;
	switch (table->way) {
	case WAY_CYCLE:
		return cycle_pick(table, local, eligible);
	case WAY_SCAN:
		return scan_pick(table, local, eligible);
	case WAY_EDF:
		break;
	}
	return edf_pick(local, table->weights, eligible, table->weighted);
}

static void round_dump(const struct strategy_table *opaque, const struct strategy_loads *loads,
		       struct json *out)
{
	const struct round_table *table = (const struct round_table *)opaque;
	static const char *const names[] = {"cycle", "smooth", "earliest-deadline"};
	(void)loads;
	json_member_text(out, "order", names[table->way]);
}

const struct strategy strategy_round_robin = {
    STRATEGY_ROW(round_robin),      .build = round_build, .local_size = round_local_size,
    .local_init = round_local_init, .pick = round_pick,   .dump = round_dump,
};
