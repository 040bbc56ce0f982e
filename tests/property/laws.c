/* SPDX-License-Identifier: MIT */
/*
 * The laws that every row of strategies.def obeys.  A new row is tested here
 * without a change to this file.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "../rounds.h"
#include "model.h"
#include "weir/base/bitset.h"

/* The points of a ring lie at random: its shares are right to a third, no better. */
static bool is_uneven(const struct strategy *s)
{
	return strcmp(s->keyword, "ring-hash") == 0;
}

/* Looks at every backend: large sets would take a minute. */
static bool is_linear(const struct strategy *s)
{
	return strcmp(s->keyword, "rendezvous") == 0;
}

#define each_strategy(s) (const struct strategy *const *s = strategies; *s; s++)

/* A pick is valid, and there is one whenever there can be. */
static void assert_pick(struct model *m)
{
	uint32_t i = model_pick(m);
	const char *who = m->strategy->keyword;
	if (i == STRATEGY_NONE) {
		cr_assert(!model_has_candidate(m), "%s found none though there is one", who);
		return;
	}
	cr_assert(i < m->n, "%s: index %u of %u", who, i, m->n);
	cr_assert(bitset_has(m->eligible, i), "%s picked %u, not eligible", who, i);
	cr_assert(m->members[i].weight != 0, "%s picked %u of weight 0", who, i);
}

Test(laws, rows_are_complete)
{
	size_t n = 0;
	for
		each_strategy(s)
		{
			cr_assert_not_null((*s)->build);
			cr_assert_not_null((*s)->pick);
			cr_assert((*s)->keyword[0] && (*s)->sentence[0]);
			cr_assert_eq(strategy_find(view_str((*s)->keyword)), *s);
			n++;
		}
	cr_assert(n >= 5, "only %zu rows", n);
}

static void flip_for_a_while(const struct strategy *s, uint32_t n, uint32_t steps, uint64_t seed)
{
	struct rng rng;
	rng_init(&rng, seed);
	uint32_t *weights = malloc(n * sizeof(*weights));
	bool equal = seed % 2;
	for (uint32_t i = 0; i < n; i++)
		weights[i] = equal ? 7 : rng_below(&rng, 5);
	struct model m;
	model_init(&m, s, weights, n, seed);
	for (uint32_t step = 0; step < steps; step++) {
		uint32_t i = rng_below(&rng, n);
		bitset_assign(m.eligible, i, !bitset_has(m.eligible, i));
		if (step % 1024 == 0) /* now and then hardly any is left */
			for (uint32_t k = 0; k < n; k++)
				bitset_assign(m.eligible, k, rng_below(&rng, n) == 0);
		m.in_flight[i] = rng_below(&rng, 4);
		assert_pick(&m);
	}
	model_fini(&m);
	free(weights);
}

/* 10^6 flips for each row, over small, middle and word-crossing sizes. */
Test(laws, never_picks_the_ineligible, .timeout = 120)
{
	static const uint32_t sizes[] = {1, 2, 3, 10, 16, 17, 63, 64, 65, 100};
	for
		each_strategy(s) for (uint32_t k = 0; k < 10; k++) for (uint64_t seed = 0; seed < 2;
									seed++)
		    flip_for_a_while(*s, sizes[k], ROUNDS(50000, 5000), 1000 + k * 2 + seed);
}

Test(laws, no_backends)
{
	for
		each_strategy(s)
		{
			struct model m;
			model_init(&m, *s, NULL, 0, 1);
			cr_assert_eq(model_pick(&m), STRATEGY_NONE, "%s", (*s)->keyword);
			model_fini(&m);
		}
}

Test(laws, nothing_eligible)
{
	static const uint32_t weights[70] = {[3] = 1, [66] = 2};
	for
		each_strategy(s)
		{
			for (int with_weights = 0; with_weights < 2; with_weights++) {
				struct model m;
				model_init(&m, *s, with_weights ? weights : NULL, 70, 2);
				for (uint32_t i = 0; i < 70; i++)
					bitset_del(m.eligible, i);
				for (int k = 0; k < 1000; k++)
					cr_assert_eq(model_pick(&m), STRATEGY_NONE, "%s",
						     (*s)->keyword);
				bitset_put(m.eligible, 66);
				for (int k = 0; k < 1000; k++)
					cr_assert_eq(model_pick(&m), 66, "%s", (*s)->keyword);
				model_fini(&m);
			}
		}
}

Test(laws, one_backend)
{
	for
		each_strategy(s)
		{
			struct model m;
			model_init(&m, *s, NULL, 1, 3);
			for (int k = 0; k < 1000; k++)
				cr_assert_eq(model_hold(&m, 100), 0, "%s", (*s)->keyword);
			model_fini(&m);
		}
}

Test(laws, all_of_weight_zero)
{
	static const uint32_t weights[20] = {0};
	for
		each_strategy(s)
		{
			struct model m;
			model_init(&m, *s, weights, 20, 4);
			for (int k = 0; k < 100; k++)
				cr_assert_eq(model_pick(&m), STRATEGY_NONE, "%s", (*s)->keyword);
			model_fini(&m);
		}
}

Test(laws, weight_zero_gets_nothing)
{
	static const uint32_t weights[5] = {0, 3, 0, 1, 0};
	for
		each_strategy(s)
		{
			struct model m;
			model_init(&m, *s, weights, 5, 5);
			for (int k = 0; k < 10000; k++)
				assert_pick(&m);
			model_fini(&m);
		}
}

static void assert_all_are_reached(const struct strategy *s, const uint32_t *weights)
{
	static uint32_t counts[4096];
	uint32_t n = is_linear(s) ? 500 : ROUNDS(4096, 500);
	struct model m;
	model_init(&m, s, weights, n, 6);
	memset(counts, 0, sizeof(counts));
	for (int k = 0; k < (int)n * 60; k++)
		counts[model_hold(&m, n)]++;
	for (uint32_t i = 0; i < n; i++)
		cr_assert(counts[i] != 0, "%s never picks %u of %u", s->keyword, i, n);
	for (uint32_t i = 0; i < n; i++)
		bitset_assign(m.eligible, i, i % 97 == 5);
	for (int k = 0; k < 2000; k++)
		assert_pick(&m);
	model_fini(&m);
}

Test(laws, many_backends, .timeout = 120)
{
	static uint32_t weights[4096];
	for (uint32_t i = 0; i < 4096; i++)
		weights[i] = 1 + i % 3;
	for
		each_strategy(s)
		{
			assert_all_are_reached(*s, NULL);
			assert_all_are_reached(*s, weights);
		}
}

/* Exchanges are held and end at random, as in a busy pool. */
Test(laws, shares_follow_weights)
{
	static const uint32_t weights[3] = {1, 2, 4};
	for
		each_strategy(s)
		{
			struct model m;
			model_init(&m, *s, weights, 3, 7);
			uint32_t counts[3] = {0};
			for (int k = 0; k < 10000; k++) /* until enough are held */
				model_hold(&m, 700);
			for (int k = 0; k < 100000; k++)
				counts[model_hold(&m, 700)]++;
			for (int i = 0; i < 3; i++) {
				double expected = 100000.0 * weights[i] / 7;
				double off = counts[i] / expected - 1;
				double most = is_uneven(*s) ? 0.33 : 0.03;
				cr_assert(off < most && off > -most,
					  "%s: weight %u has %u picks, not %.0f", (*s)->keyword,
					  weights[i], counts[i], expected);
			}
			model_fini(&m);
		}
}

/* An idle pool is spread evenly: no backend is the first among equals. */
Test(laws, idle_shares_are_uniform_for_equal_weights)
{
	static const uint32_t sizes[] = {2, 10, 64, 100, 1000}; /* the last one is dear */
	for
		each_strategy(s)
		{
			for (int k = 0; k < ROUNDS(5, 4); k++) {
				uint32_t n = sizes[k], counts[1000] = {0};
				struct model m;
				model_init(&m, *s, NULL, n, 8);
				for (uint32_t t = 0; t < n * 200; t++)
					counts[model_pick(&m)]++;
				double chi = chi_square_uniform(counts, n, n * 200.0);
				cr_assert(is_uneven(*s) || chi_square_is_likely(chi, n - 1),
					  "%s, n %u: chi-square %.1f", (*s)->keyword, n, chi);
				model_fini(&m);
			}
		}
}

/* The neighbours of ineligible backends inherit no more than the others. */
Test(laws, the_rest_shares_evenly_when_many_are_ineligible)
{
	for
		each_strategy(s)
		{
			struct model m;
			uint32_t counts[100] = {0}, left[10], n_left = 0;
			model_init(&m, *s, NULL, 100, 9);
			for (uint32_t i = 0; i < 100; i++)
				bitset_assign(m.eligible, i, i >= 91 || i == 3);
			for (int t = 0; t < 20000; t++)
				counts[model_pick(&m)]++;
			for (uint32_t i = 0; i < 100; i++)
				if (bitset_has(m.eligible, i))
					left[n_left++] = counts[i];
			cr_assert_eq(n_left, 10);
			double chi = chi_square_uniform(left, 10, 20000);
			cr_assert(is_uneven(*s) || chi_square_is_likely(chi, 9),
				  "%s: chi-square %.1f", (*s)->keyword, chi);
			model_fini(&m);
		}
}

static void assert_replay(const struct strategy *s, const uint32_t *weights, uint32_t n)
{
	struct model a, b;
	model_init(&a, s, weights, n, 10);
	model_init(&b, s, weights, n, 10);
	for (int k = 0; k < 20000; k++) {
		uint32_t flip = (uint32_t)k % n;
		bitset_assign(a.eligible, flip, k % 3);
		bitset_assign(b.eligible, flip, k % 3);
		cr_assert_eq(model_hold(&a, 50), model_hold(&b, 50), "%s", s->keyword);
	}
	model_fini(&a);
	model_fini(&b);
}

Test(laws, same_seed_same_picks)
{
	static uint32_t weights[200];
	for (uint32_t i = 0; i < 200; i++)
		weights[i] = i % 7;
	for
		each_strategy(s)
		{
			assert_replay(*s, weights, 7);
			assert_replay(*s, weights, 200);
			assert_replay(*s, NULL, 200);
		}
}

Test(laws, pick_allocates_nothing)
{
	unsigned long before = allocations();
	char *volatile probe = malloc(10);
	free(probe);
	cr_assert(allocations() > before, "the count does not count");
	static const uint32_t weights[100] = {[0] = 3, [40] = 1, [41] = 2, [99] = 9};
	for
		each_strategy(s)
		{
			for (int with_weights = 0; with_weights < 2; with_weights++) {
				struct model m;
				model_init(&m, *s, with_weights ? weights : NULL, 100, 11);
				before = allocations();
				for (uint32_t k = 0; k < 10000; k++) {
					bitset_assign(m.eligible, k % 100, k % 7 != 0);
					model_hold(&m, 30);
				}
				cr_assert_eq(allocations(), before, "%s allocates", (*s)->keyword);
				model_fini(&m);
			}
		}
}

/* The table is shared by all workers: a pick must not write to it. */
Test(laws, pick_leaves_the_members_alone)
{
	for
		each_strategy(s)
		{
			struct model m;
			model_init(&m, *s, NULL, 50, 12);
			struct strategy_member copy[50];
			memcpy(copy, m.members, sizeof(copy));
			for (int k = 0; k < 1000; k++)
				model_pick(&m);
			cr_assert_eq(memcmp(copy, m.members, sizeof(copy)), 0);
			for (uint32_t i = 0; i < 50; i++)
				cr_assert_eq(m.in_flight[i], 0, "%s wrote to the loads",
					     (*s)->keyword);
			model_fini(&m);
		}
}

Test(laws, dump_is_members_of_an_object)
{
	static const uint32_t weights[20] = {1, 2, 3};
	for
		each_strategy(s)
		{
			if (!(*s)->dump)
				continue;
			for (uint32_t n = 0; n <= 20; n += 4) {
				struct model m;
				struct str text = STR_INIT;
				struct json json;
				model_init(&m, *s, n % 8 ? weights : NULL, n, 13);
				json_init(&json, &text, false);
				json_object_begin(&json);
				(*s)->dump(m.table, &m.loads, &json);
				json_object_end(&json);
				cr_assert_eq(json.depth, 0);
				cr_assert(text.len > 4 && text.ptr[1] == '"', "%s: %s",
					  (*s)->keyword, text.ptr);
				str_fini(&text);
				model_fini(&m);
			}
		}
}
