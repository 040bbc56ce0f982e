/* SPDX-License-Identifier: MIT */
/*
 * Drawing backends by weight in constant time (Walker's alias method), for strategies that look
 * at few.
 */
#include "draw.h"

#include "weir/base/bitset.h"
#include "weir/base/check.h"
#include "weir/base/rng.h"

/*
 * Draws before the walk over all backends.  With half of the weight eligible
 * one pick in 256 walks.
 */
#define TRIES 8

static void copy_weights(struct draw_table *table, const struct strategy_member *members,
			 struct arena *arena)
{
	uint32_t *weights = arena_array(arena, table->n, sizeof(*weights));
	uint64_t *weighted = arena_array(arena, table->n_words, sizeof(*weighted));
	for (uint32_t i = 0; i < table->n; i++) {
		weights[i] = members[i].weight;
		if (weights[i] == 0)
			continue;
		bitset_put(weighted, i);
		table->n_columns++;
	}
	table->weights = weights;
	table->weighted = weighted;
}

/*
 * Vose's construction in integers: each backend brings weight * n_columns, each
 * column holds `total`.  A light backend's column is filled up by a heavy one.
 * `left` is what a backend still has to place; `stack` takes the light ones
 * from the front and the heavy ones from the back.
 */
static void fill_columns(struct draw_table *table, uint64_t total, struct arena *scratch)
{
	uint32_t n = table->n_columns;
	uint64_t *left = arena_array(scratch, n, sizeof(*left));
	uint32_t *stack = arena_array(scratch, n, sizeof(*stack));
	uint32_t n_light = 0, heavy = n;
	for (uint32_t i = 0, c = 0; i < table->n; i++) {
		if (table->weights[i] == 0)
			continue;
		table->columns[c] = (struct draw_column){.self = i, .other = i};
		left[c] = (uint64_t)table->weights[i] * n;
		if (left[c] < total)
			stack[n_light++] = c;
		else
			stack[--heavy] = c;
		c++;
	}
	while (n_light && heavy < n) {
		uint32_t light = stack[--n_light];
		uint32_t donor = stack[heavy];
		table->columns[light].keep = (uint32_t)((left[light] << 32) / total);
		table->columns[light].other = table->columns[donor].self;
		left[donor] -= total - left[light];
		if (left[donor] < total) {
			heavy++;
			stack[n_light++] = donor;
		}
	}
	/* whoever is left over fills its column exactly: self and other are the same */
}

const struct draw_table *draw_table_new(const struct strategy_member *members, uint32_t n,
					struct arena *arena)
{
	struct draw_table *table = arena_zalloc(arena, sizeof(*table));
	table->n = n;
	table->n_words = (uint32_t)BITSET_WORDS(n);
	copy_weights(table, members, arena);
	uint64_t total = 0;
	for (uint32_t i = 0; i < n; i++)
		total += table->weights[i];
	check(total <= UINT32_MAX);
	table->columns = arena_array(arena, table->n_columns, sizeof(*table->columns));
	struct arena *scratch = arena_new();
	fill_columns(table, total, scratch);
	arena_free(scratch);
	return table;
}

/* The candidates of one word of the sets. */
static uint64_t candidates(const struct draw_table *table, const uint64_t *eligible,
			   uint32_t except, uint32_t word)
{
	uint64_t bits = eligible[word] & table->weighted[word];
	if (except / 64 == word)
		bits &= ~((uint64_t)1 << (except % 64));
	return bits;
}

static uint32_t draw_by_walk(const struct draw_table *table, const uint64_t *eligible,
			     uint32_t except, uint64_t random)
{
	uint64_t total = 0;
	for (uint32_t w = 0; w < table->n_words; w++)
		for (uint64_t b = candidates(table, eligible, except, w); b; b &= b - 1)
			total += table->weights[w * 64 + (uint32_t)__builtin_ctzll(b)];
	if (total == 0)
		return STRATEGY_NONE;
	uint64_t at = rng_scale((uint32_t)(random >> 32), (uint32_t)total);
	for (uint32_t w = 0; w < table->n_words; w++) {
		for (uint64_t b = candidates(table, eligible, except, w); b; b &= b - 1) {
			uint32_t i = w * 64 + (uint32_t)__builtin_ctzll(b);
			if (at < table->weights[i])
				return i;
			at -= table->weights[i];
		}
	}
	return STRATEGY_NONE;
}

uint32_t draw_one(const struct draw_table *table, const uint64_t *eligible, uint32_t except,
		  struct draws *draws)
{
	if (table->n_columns == 0)
		return STRATEGY_NONE;
	for (int try = 0; try < TRIES; try++) {
		uint32_t i = draw_any(table, draws_next(draws));
		if (i != except && bitset_has(eligible, i))
			return i;
	}
	return draw_by_walk(table, eligible, except, draws_next(draws));
}
