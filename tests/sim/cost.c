/* SPDX-License-Identifier: MIT */
#include "sim.h"

#include <stdlib.h>
#include <time.h>

#include "weir/base/arena.h"
#include "weir/base/bitset.h"
#include "weir/base/check.h"
#include "weir/base/rng.h"

#define PICKS 100000

/* As in a worker: each count on a cache line of its own, beside the memory. */
struct place {
	_Atomic uint64_t in_flight;
	struct strategy_memory memory;
} CACHE_ALIGNED;

struct bench {
	const struct strategy *strategy;
	const struct strategy_table *table;
	void *local;
	struct place *places;
	struct strategy_loads loads;
	uint64_t *eligible;
	uint32_t *held;
	uint32_t n, n_held;
	uint64_t now_us;
	struct rng rng;
};

static void place_all(struct bench *b, struct strategy_member *members, struct arena *arena)
{
	const _Atomic uint64_t **in_flight = arena_array(arena, b->n, sizeof(*in_flight));
	struct strategy_memory **memory = arena_array(arena, b->n, sizeof(*memory));
	for (uint32_t i = 0; i < b->n; i++) {
		members[i].name = view_str(arena_printf(arena, "10.0.%u.%u:80", i / 256, i % 256));
		members[i].weight = 1;
		in_flight[i] = &b->places[i].in_flight;
		memory[i] = &b->places[i].memory;
		bitset_put(b->eligible, i);
	}
	b->loads = (struct strategy_loads){.in_flight = in_flight, .memory = memory};
}

/* Picks, and ends one at random when half as many as backends are in flight. */
static void step(struct bench *b)
{
	struct strategy_input input = {rng_next(&b->rng), rng_next(&b->rng), b->now_us += 50,
				       false};
	uint32_t i = b->strategy->pick(b->table, b->local, &input, b->eligible, &b->loads);
	b->places[i].in_flight++;
	b->held[b->n_held++] = i;
	if (b->n_held <= b->n / 2)
		return;
	uint32_t k = rng_below(&b->rng, b->n_held), ended = b->held[k];
	b->held[k] = b->held[--b->n_held];
	b->places[ended].in_flight--;
	uint64_t took = ended % 50 == 1 ? 50000 : 500 + rng_below(&b->rng, 1000);
	if (b->strategy->done)
		b->strategy->done(b->table, b->local, &b->loads, ended,
				  &(struct strategy_result){false, took, b->now_us, 1});
}

static double now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

double cost_of_pick(const struct strategy *strategy, uint32_t n)
{
	struct arena *arena = arena_new();
	struct bench b = {.strategy = strategy, .n = n, .now_us = 1000000000};
	struct strategy_member *members = arena_array(arena, n, sizeof(*members));
	rng_init(&b.rng, 1);
	b.places = aligned_alloc(WEIR_CACHE_LINE, n * sizeof(*b.places));
	check(b.places);
	for (uint32_t i = 0; i < n; i++)
		b.places[i] = (struct place){0};
	b.eligible = arena_array(arena, BITSET_WORDS(n), sizeof(uint64_t));
	b.held = arena_array(arena, n + 1, sizeof(*b.held));
	place_all(&b, members, arena);
	b.table = strategy->build(members, n, &(struct strategy_options){0}, arena);
	if (strategy->local_size)
		b.local = arena_zalloc_line(arena, strategy->local_size(b.table));
	if (strategy->local_init)
		strategy->local_init(b.table, b.local, rng_next(&b.rng));
	for (int k = 0; k < PICKS; k++) /* until caches are warm and the slow ones known */
		step(&b);
	double begin = now_ns();
	for (int k = 0; k < PICKS; k++)
		step(&b);
	double each = (now_ns() - begin) / PICKS;
	arena_free(arena);
	free(b.places);
	return each;
}
