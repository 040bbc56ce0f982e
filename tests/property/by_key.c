/* SPDX-License-Identifier: MIT */
/* What the strategies that look at a key promise beyond the laws of all. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "model.h"
#include "weir/base/bitset.h"
#include "weir/base/defs.h"

static const char *const keywords[] = {"maglev", "ring-hash", "rendezvous"};

#define N_KEYWORDS 3
#define N_KEYS 20000

static const struct strategy *find(const char *keyword)
{
	return strategy_find(view_str(keyword));
}

static uint32_t owner(struct model *m, uint64_t key)
{
	struct strategy_input input = {.key = key};
	return m->strategy->pick(m->table, m->local, &input, m->eligible, &m->loads);
}

static uint64_t nth_key(const struct strategy *s, uint32_t k)
{
	char text[32];
	return strategy_key(s, view_of(text, (size_t)snprintf(text, sizeof(text), "user-%u", k)));
}

static void owners(struct model *m, uint32_t *out)
{
	for (uint32_t k = 0; k < N_KEYS; k++)
		out[k] = owner(m, nth_key(m->strategy, k));
}

Test(by_key, a_key_has_one_owner)
{
	for (int s = 0; s < N_KEYWORDS; s++) {
		struct model a, b;
		model_init(&a, find(keywords[s]), NULL, 20, 1);
		model_init(&b, find(keywords[s]), NULL, 20, 2); /* another process */
		for (uint32_t k = 0; k < N_KEYS; k++)
			cr_assert_eq(owner(&a, nth_key(a.strategy, k)),
				     owner(&b, nth_key(b.strategy, k)));
		model_fini(&a);
		model_fini(&b);
	}
}

/* One is down: its keys, and only those, move, and spread over all others; then all return. */
Test(by_key, a_flapping_backend_moves_no_other_key)
{
	static uint32_t before[N_KEYS], during[N_KEYS], after[N_KEYS];
	for (int s = 0; s < N_KEYWORDS; s++) {
		struct model m;
		uint32_t heirs[20] = {0}, orphans = 0;
		model_init(&m, find(keywords[s]), NULL, 20, 3);
		owners(&m, before);
		bitset_del(m.eligible, 7);
		owners(&m, during);
		bitset_put(m.eligible, 7);
		owners(&m, after);
		for (uint32_t k = 0; k < N_KEYS; k++) {
			cr_assert_eq(before[k], after[k]);
			if (before[k] == 7) {
				heirs[during[k]]++;
				orphans++;
			} else {
				cr_assert_eq(before[k], during[k], "%s", keywords[s]);
			}
		}
		for (uint32_t i = 0; i < 20; i++)
			cr_assert(i == 7
				      ? heirs[i] == 0
				      : heirs[i] * 19 > orphans / 3 && heirs[i] * 19 < orphans * 3,
				  "%s: %u of %u go to %u", keywords[s], heirs[i], orphans, i);
		model_fini(&m);
	}
}

/* Keys that move when one of n is gone for good; the unavoidable part is 1/n. */
Test(by_key, removing_one_moves_little)
{
	static uint32_t before[N_KEYS], after[N_KEYS];
	static const double extra[N_KEYWORDS] = {0.01, 0, 0};
	for (int s = 0; s < N_KEYWORDS; s++) {
		for (uint32_t n = 10; n <= 100; n += 90) {
			uint32_t weights[100], moved = 0;
			for (uint32_t i = 0; i < n; i++)
				weights[i] = i != 4;
			struct model a, b;
			model_init(&a, find(keywords[s]), NULL, n, 4);
			model_init(&b, find(keywords[s]), weights, n, 4);
			owners(&a, before);
			owners(&b, after);
			for (uint32_t k = 0; k < N_KEYS; k++)
				moved += before[k] != after[k] && before[k] != 4;
			cr_assert(moved <= extra[s] * N_KEYS, "%s, n %u: %u moved for nothing",
				  keywords[s], n, moved);
			model_fini(&a);
			model_fini(&b);
		}
	}
}

/* The order in the file is no part of the agreement. */
Test(by_key, order_does_not_matter)
{
	enum { N = 17 };
	for (int s = 0; s < N_KEYWORDS; s++) {
		struct model m;
		model_init(&m, find(keywords[s]), NULL, N, 5);
		struct strategy_member shuffled[N];
		for (uint32_t i = 0; i < N; i++)
			shuffled[i] = m.members[(i * 5 + 3) % N];
		const struct strategy_table *table =
		    m.strategy->build(shuffled, N, &m.options, m.arena);
		for (uint32_t k = 0; k < N_KEYS; k++) {
			struct strategy_input input = {.key = nth_key(m.strategy, k)};
			uint32_t i = m.strategy->pick(table, NULL, &input, m.eligible, &m.loads);
			cr_assert_eq((i * 5 + 3) % N, owner(&m, input.key), "%s", keywords[s]);
		}
		model_fini(&m);
	}
}

Test(by_key, shares_are_the_weights)
{
	static const uint32_t weights[4] = {1, 2, 5, 0};
	static const double within[N_KEYWORDS] = {0.02, 0.2, 0.02};
	for (int s = 0; s < N_KEYWORDS; s++) {
		struct model m;
		uint32_t counts[4] = {0};
		model_init(&m, find(keywords[s]), weights, 4, 6);
		for (int k = 0; k < 400000; k++)
			counts[owner(&m, rng_next(&m.rng))]++;
		for (int i = 0; i < 4; i++)
			cr_assert(fabs(counts[i] - 50000.0 * weights[i]) <=
				      within[s] * 50000 * weights[i],
				  "%s: weight %u has %u", keywords[s], weights[i], counts[i]);
		model_fini(&m);
	}
}

/* ---- bounded load ---- */

static void assert_bound(struct model *m, uint32_t bound_percent)
{
	uint32_t total = 0, weight = 0;
	_Atomic uint32_t counted = 0;
	m->options.bound_percent = bound_percent;
	m->loads.total = &counted;
	m->table = m->strategy->build(m->members, m->n, &m->options, m->arena);
	for (uint32_t i = 0; i < m->n; i++)
		weight += m->members[i].weight;
	for (; total < 2000; total++) {
		/* all with the same few keys: without a bound two backends had everything */
		uint32_t i = owner(m, nth_key(m->strategy, total % 2));
		uint32_t cap = (uint32_t)ceil(bound_percent / 100.0 * (total + 1) *
					      m->members[i].weight / weight * 1.0001);
		cr_assert(m->in_flight[i] < (cap ? cap : 1), "%s: %u in flight of %u",
			  m->strategy->keyword, (unsigned)m->in_flight[i] + 1, total + 1);
		m->in_flight[i]++;
		counted++;
	}
}

Test(by_key, a_bound_is_kept)
{
	static const uint32_t weights[5] = {1, 3, 2, 2, 7};
	for (int s = 0; s < N_KEYWORDS; s++) {
		struct model m;
		model_init(&m, find(keywords[s]), NULL, 16, 7);
		assert_bound(&m, 125);
		model_fini(&m);
		model_init(&m, find(keywords[s]), weights, 5, 8);
		assert_bound(&m, 150);
		model_fini(&m);
	}
}

/* A bound that is never reached changes nothing. */
Test(by_key, a_wide_bound_is_none)
{
	for (int s = 0; s < N_KEYWORDS; s++) {
		struct model a, b;
		_Atomic uint32_t counted = 0;
		model_init(&a, find(keywords[s]), NULL, 10, 9);
		model_init(&b, find(keywords[s]), NULL, 10, 9);
		b.options.bound_percent = 10000;
		b.loads.total = &counted;
		b.table = b.strategy->build(b.members, 10, &b.options, b.arena);
		for (uint32_t k = 0; k < N_KEYS; k++)
			cr_assert_eq(owner(&a, nth_key(a.strategy, k)),
				     owner(&b, nth_key(b.strategy, k)));
		model_fini(&a);
		model_fini(&b);
	}
}

/* ---- golden vectors ---- */

struct golden {
	const char *key, *owner;
};

static void assert_golden(const char *keyword, const char *const names[], const uint32_t *weights,
			  const struct golden *golden, size_t n_golden)
{
	struct model m;
	uint32_t n = 0;
	while (names[n])
		n++;
	model_init(&m, find(keyword), weights, n, 10);
	for (uint32_t i = 0; i < n; i++)
		m.members[i].name = view_str(names[i]);
	m.table = m.strategy->build(m.members, n, &m.options, m.arena);
	for (size_t k = 0; k < n_golden; k++) {
		uint32_t i = owner(&m, strategy_key(m.strategy, view_str(golden[k].key)));
		cr_expect_str_eq(names[i], golden[k].owner, "%s: %s", keyword, golden[k].key);
	}
	model_fini(&m);
}

static const char *const addresses[] = {"1.1.1.1:80", "1.0.0.1:80", "1.0.0.255:80", NULL};
static const char *const letters[] = {"a", "b", "c", "d", NULL};
static const uint32_t letter_weights[] = {1, 2, 5, 0};

/* As nginx's `hash KEY consistent` decides: points of CRC-32, 160 a backend. */
Test(ring_hash, agrees_with_nginx)
{
	static const struct golden golden[] = {
	    {"test0", "1.0.0.1:80"}, {"test1", "1.1.1.1:80"},   {"test2", "1.1.1.1:80"},
	    {"test4", "1.1.1.1:80"}, {"test5", "1.0.0.255:80"}, {"test7", "1.0.0.255:80"},
	};
	assert_golden("ring-hash", addresses, NULL, golden, ARRAY_LEN(golden));
}

/*
 * These come from the algorithm written down a second time, with the xxhash module
 * of Python: who changes them moves every key of every pool in the field.
 */
Test(maglev, golden_vectors)
{
	static const struct golden equal[] = {
	    {"test0", "1.0.0.1:80"},   {"test1", "1.1.1.1:80"},    {"test2", "1.0.0.255:80"},
	    {"test3", "1.1.1.1:80"},   {"test4", "1.0.0.1:80"},    {"test5", "1.0.0.255:80"},
	    {"test6", "1.1.1.1:80"},   {"test7", "1.0.0.1:80"},    {"test8", "1.0.0.1:80"},
	    {"test9", "1.0.0.255:80"}, {"test10", "1.0.0.255:80"}, {"test11", "1.1.1.1:80"},
	};
	static const struct golden weighted[] = {
	    {"test0", "c"}, {"test1", "b"}, {"test2", "b"},  {"test3", "c"},
	    {"test4", "b"}, {"test5", "a"}, {"test6", "c"},  {"test7", "c"},
	    {"test8", "c"}, {"test9", "c"}, {"test10", "c"}, {"test11", "c"},
	};
	assert_golden("maglev", addresses, NULL, equal, ARRAY_LEN(equal));
	assert_golden("maglev", letters, letter_weights, weighted, ARRAY_LEN(weighted));
}

Test(rendezvous, golden_vectors)
{
	static const struct golden equal[] = {
	    {"test0", "1.1.1.1:80"}, {"test1", "1.0.0.255:80"},  {"test2", "1.0.0.1:80"},
	    {"test3", "1.0.0.1:80"}, {"test4", "1.0.0.1:80"},    {"test5", "1.1.1.1:80"},
	    {"test6", "1.0.0.1:80"}, {"test7", "1.1.1.1:80"},    {"test8", "1.0.0.255:80"},
	    {"test9", "1.1.1.1:80"}, {"test10", "1.0.0.255:80"}, {"test11", "1.0.0.1:80"},
	};
	static const struct golden weighted[] = {
	    {"test0", "c"}, {"test1", "a"}, {"test2", "b"},  {"test3", "b"},
	    {"test4", "c"}, {"test5", "c"}, {"test6", "c"},  {"test7", "c"},
	    {"test8", "c"}, {"test9", "c"}, {"test10", "b"}, {"test11", "c"},
	};
	assert_golden("rendezvous", addresses, NULL, equal, ARRAY_LEN(equal));
	assert_golden("rendezvous", letters, letter_weights, weighted, ARRAY_LEN(weighted));
}

static void count_slots(struct model *m, uint32_t *counts)
{
	memset(counts, 0, m->n * sizeof(*counts));
	for (uint64_t slot = 0; slot < 65537; slot++)
		counts[owner(m, slot ? slot : 65537)]++;
}

/* Equal weights: no two differ by more than one slot. */
Test(maglev, slots_are_even)
{
	static const uint32_t weights[2] = {1, 2};
	for (uint32_t n = 1; n <= 600; n = n * 3 + 1) {
		struct model m;
		uint32_t counts[600], min = UINT32_MAX, max = 0;
		model_init(&m, find("maglev"), NULL, n, 11);
		count_slots(&m, counts);
		for (uint32_t i = 0; i < n; i++) {
			min = counts[i] < min ? counts[i] : min;
			max = counts[i] > max ? counts[i] : max;
		}
		cr_assert(max - min <= 1, "n %u: %u to %u slots", n, min, max);
		model_fini(&m);
	}
	struct model m;
	uint32_t counts[2];
	model_init(&m, find("maglev"), weights, 2, 12);
	count_slots(&m, counts);
	cr_expect_eq(counts[0], 21846);
	cr_expect_eq(counts[1], 43691);
	model_fini(&m);
}
