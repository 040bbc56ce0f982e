/* SPDX-License-Identifier: MIT */
/* The registry: keywords, synonyms, unknown words; and the draw that others stand on. */
#include <criterion/criterion.h>

#include "balance/draw.h"
#include "weir/balance/strategy.h"
#include "weir/base/bitset.h"
#include "weir/base/rng.h"

Test(strategy_find, keywords_and_synonyms)
{
	static const struct {
		const char *accepted, *keyword;
	} rows[] = {
	    {"auto", "auto"},
	    {"least-request", "least-request"},
	    {"least-connections", "least-request"},
	    {"leastconn", "least-request"},
	    {"p2c", "p2c"},
	    {"round-robin", "round-robin"},
	    {"random", "random"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct strategy *s = strategy_find(view_str(rows[i].accepted));
		cr_assert_not_null(s, "%s", rows[i].accepted);
		cr_assert_str_eq(s->keyword, rows[i].keyword);
	}
}

Test(strategy_find, unknown_words)
{
	static const char *const words[] = {"", "P2C", "p2", "p2c ", "round_robin", "maglevv"};
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		cr_assert_null(strategy_find(view_str(words[i])), "'%s'", words[i]);
}

static const struct draw_table *table_of(const uint32_t *weights, uint32_t n, struct arena *arena)
{
	struct strategy_member members[64] = {0};
	for (uint32_t i = 0; i < n; i++)
		members[i].weight = weights[i];
	return draw_table_new(members, n, arena);
}

/* The columns hold exactly each weight's share of the whole. */
Test(draw, columns_add_up)
{
	struct rng rng;
	rng_init(&rng, 1);
	for (int set = 0; set < 1000; set++) {
		uint32_t n = 1 + rng_below(&rng, 64), weights[64];
		double total = 0, share[64] = {0};
		for (uint32_t i = 0; i < n; i++)
			total += weights[i] = rng_below(&rng, 4) * rng_below(&rng, 21845);
		struct arena *arena = arena_new();
		const struct draw_table *table = table_of(weights, n, arena);
		for (uint32_t c = 0; c < table->n_columns; c++) {
			double keep = table->columns[c].keep / 4294967296.0;
			share[table->columns[c].self] += keep;
			share[table->columns[c].other] += 1 - keep;
		}
		for (uint32_t i = 0; i < n; i++)
			cr_assert_float_eq(share[i] / (table->n_columns ? table->n_columns : 1),
					   total > 0 ? weights[i] / total : 0, 1e-8);
		arena_free(arena);
	}
}

Test(draw, never_gives_the_exception)
{
	static const uint32_t weights[4] = {1000, 1, 1, 0};
	struct arena *arena = arena_new();
	const struct draw_table *table = table_of(weights, 4, arena);
	uint64_t eligible[1] = {0xf};
	uint32_t counts[4] = {0};
	struct draws draws = draws_of(2);
	for (int t = 0; t < 10000; t++)
		counts[draw_one(table, eligible, 0, &draws)]++;
	cr_assert_eq(counts[0], 0);
	cr_assert_eq(counts[3], 0);
	cr_assert(counts[1] > 4700 && counts[2] > 4700, "%u and %u", counts[1], counts[2]);
	eligible[0] = 1;
	cr_assert_eq(draw_one(table, eligible, 0, &draws), STRATEGY_NONE);
	cr_assert_eq(draw_one(table, eligible, STRATEGY_NONE, &draws), 0);
	arena_free(arena);
}
