/* SPDX-License-Identifier: MIT */
#include "model.h"

#include <math.h>
#include <stdlib.h>

#include "weir/base/bitset.h"
#include "weir/base/check.h"

#define HELD_MAX 100000

void model_init(struct model *m, const struct strategy *strategy, const uint32_t *weights,
		uint32_t n, uint64_t seed)
{
	*m = (struct model){.strategy = strategy, .n = n, .held_max = HELD_MAX};
	m->arena = arena_new();
	rng_init(&m->rng, seed);
	m->members = arena_array(m->arena, n, sizeof(*m->members));
	m->eligible = arena_array(m->arena, BITSET_WORDS(n), sizeof(*m->eligible));
	m->in_flight = arena_array(m->arena, n, sizeof(*m->in_flight));
	m->pointers = arena_array(m->arena, n, sizeof(*m->pointers));
	m->held = arena_array(m->arena, HELD_MAX, sizeof(*m->held));
	for (uint32_t i = 0; i < n; i++) {
		m->members[i].name =
		    view_str(arena_printf(m->arena, "10.0.%u.%u:80", i / 256, i % 256));
		m->members[i].weight = weights ? weights[i] : 1;
		m->pointers[i] = &m->in_flight[i];
		bitset_put(m->eligible, i);
	}
	m->memory = arena_array(m->arena, n, sizeof(*m->memory));
	m->memories = arena_array(m->arena, n, sizeof(*m->memories));
	for (uint32_t i = 0; i < n; i++)
		m->memories[i] = &m->memory[i];
	m->loads = (struct strategy_loads){.in_flight = m->pointers, .memory = m->memories};
	m->table = strategy->build(m->members, n, &m->options, m->arena);
	if (strategy->local_size)
		m->local = arena_zalloc(m->arena, strategy->local_size(m->table));
	if (strategy->local_init)
		strategy->local_init(m->table, m->local, rng_next(&m->rng));
}

void model_fini(struct model *m)
{
	arena_free(m->arena);
	*m = (struct model){0};
}

uint32_t model_pick(struct model *m)
{
	/* only what the row asks for: the rest is poison */
	unsigned needs = m->strategy->needs;
	struct strategy_input input = {.random = 42, .key = 42, .now_us = 42};
	if (needs & NEEDS_RANDOM)
		input.random = rng_next(&m->rng);
	if (needs & NEEDS_KEY)
		input.key = rng_next(&m->rng);
	if (needs & NEEDS_NOW)
		input.now_us = m->now_us += 100;
	return m->strategy->pick(m->table, m->local, &input, m->eligible,
				 needs & NEEDS_LOADS ? &m->loads : NULL);
}

static void release_one(struct model *m)
{
	uint32_t at = rng_below(&m->rng, m->n_held);
	uint32_t i = m->held[at];
	m->held[at] = m->held[--m->n_held];
	m->in_flight[i]--;
	if (m->strategy->done)
		m->strategy->done(m->table, m->local, &m->loads, i,
				  &(struct strategy_result){
				      .duration_us = 500 + rng_below(&m->rng, 1000),
				      .now_us = m->now_us,
				      .others = m->in_flight[i],
				  });
}

uint32_t model_hold(struct model *m, uint32_t max)
{
	uint32_t i = model_pick(m);
	if (i == STRATEGY_NONE)
		return i;
	check(i < m->n && m->n_held < m->held_max);
	m->in_flight[i]++;
	m->held[m->n_held++] = i;
	while (m->n_held > max)
		release_one(m);
	return i;
}

bool model_has_candidate(const struct model *m)
{
	for (uint32_t i = 0; i < m->n; i++)
		if (m->members[i].weight && bitset_has(m->eligible, i))
			return true;
	return false;
}

bool chi_square_is_likely(double value, double freedom)
{
	/* Wilson and Hilferty: the cube root is nearly normal; 4.753 sigma is 1e-6 */
	double v = 2 / (9 * freedom);
	double limit = freedom * pow(1 - v + 4.753 * sqrt(v), 3);
	return value < limit;
}

double chi_square_uniform(const uint32_t *counts, uint32_t n, double total)
{
	double expected = total / n, sum = 0;
	for (uint32_t i = 0; i < n; i++)
		sum += (counts[i] - expected) * (counts[i] - expected) / expected;
	return sum;
}
