/* SPDX-License-Identifier: MIT */
/* Subsets of nodes: as many as asked for, every backend used, small changes. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "pool/subset.h"
#include "weir/base/bitset.h"

#define BACKENDS 200
#define NODES 60
#define WANT 40

static struct conf_backend *make(struct arena *arena, size_t n)
{
	struct conf_backend *rows = arena_array(arena, n, sizeof(*rows));
	for (size_t i = 0; i < n; i++)
		rows[i].name = view_str(arena_printf(arena, "10.0.%zu.%zu:80", i / 250, i % 250));
	return rows;
}

static void choose(const struct conf_backend *rows, size_t n, unsigned node, struct arena *arena,
		   uint64_t *chosen)
{
	memset(chosen, 0, (BITSET_WORDS(BACKENDS) + 1) * sizeof(*chosen));
	pool_subset(rows, n, view_str(arena_printf(arena, "node-%u", node)), WANT, arena, chosen);
}

static unsigned count(const uint64_t *chosen, size_t n)
{
	unsigned sum = 0;
	for (uint32_t i = 0; i < n; i++)
		sum += bitset_has(chosen, i);
	return sum;
}

Test(subset, each_node_has_as_many_and_each_backend_its_share_of_nodes)
{
	struct arena *arena = arena_new();
	struct conf_backend *rows = make(arena, BACKENDS);
	uint64_t chosen[BITSET_WORDS(BACKENDS) + 1];
	unsigned nodes_of[BACKENDS] = {0};
	for (unsigned node = 0; node < NODES; node++) {
		choose(rows, BACKENDS, node, arena, chosen);
		cr_assert_eq(count(chosen, BACKENDS), WANT);
		for (uint32_t i = 0; i < BACKENDS; i++)
			nodes_of[i] += bitset_has(chosen, i);
	}
	/* 12 on the average, by chance: a spread of the root of 12 * 0.8 */
	double mean = (double)NODES * WANT / BACKENDS, squares = 0;
	for (size_t i = 0; i < BACKENDS; i++) {
		squares += (nodes_of[i] - mean) * (nodes_of[i] - mean);
		cr_expect(nodes_of[i] >= 1 && nodes_of[i] < 3 * mean, "backend %zu has %u", i,
			  nodes_of[i]);
	}
	double spread = sqrt(squares / BACKENDS);
	cr_expect(spread < 1.25 * sqrt(mean * 0.8), "spread %.2f", spread);
	arena_free(arena);
}

/* One backend less, wherever it was: who had it takes one other, who had it not changes nothing. */
Test(subset, a_change_of_one_moves_at_most_one)
{
	struct arena *arena = arena_new();
	struct conf_backend *rows = make(arena, BACKENDS);
	uint64_t before[BITSET_WORDS(BACKENDS) + 1], after[BITSET_WORDS(BACKENDS) + 1];
	for (unsigned node = 0; node < NODES; node++) {
		uint32_t gone = node * 7 % BACKENDS;
		choose(rows, BACKENDS, node, arena, before);
		rows[gone].member = CONF_MEMBER_GONE;
		choose(rows, BACKENDS, node, arena, after);
		rows[gone].member = 0;
		unsigned new = 0;
		for (uint32_t i = 0; i < BACKENDS; i++) {
			new += i != gone &&bitset_has(after, i) && !bitset_has(before, i);
			if (i != gone)
				cr_expect(!bitset_has(before, i) || bitset_has(after, i));
		}
		cr_expect_eq(new, bitset_has(before, gone), "node %u", node);
	}
	arena_free(arena);
}

Test(subset, of_few_all_are_used_and_of_each_priority_as_many)
{
	struct arena *arena = arena_new();
	struct conf_backend *rows = make(arena, BACKENDS);
	uint64_t chosen[BITSET_WORDS(BACKENDS) + 1];
	choose(rows, WANT, 1, arena, chosen);
	cr_expect_eq(count(chosen, WANT), WANT);
	for (size_t i = 0; i < BACKENDS; i++)
		rows[i].priority = i % 2;
	choose(rows, BACKENDS, 1, arena, chosen);
	cr_expect_eq(count(chosen, BACKENDS), 2 * WANT);
	arena_free(arena);
}
