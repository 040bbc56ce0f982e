/* SPDX-License-Identifier: MIT */
/*
 * Several nodes before the same backends: what each knows of the others' load is the mean of
 * the time before it was told, and as old as the next telling allows; less of it counts the
 * older it gets (cluster/cluster.c).
 */
#include "nodes.h"

#include <math.h>
#include <stdlib.h>

#include "weir/balance/strategy.h"
#include "weir/base/arena.h"
#include "weir/base/bitset.h"
#include "weir/base/check.h"
#include "weir/base/rng.h"

#define NODES_MAX 8
#define BACKENDS 16
#define SLOTS 4 /* workers of a backend */
#define SERVICE_US 10000.0
#define TTL_US 5e6
#define REQUESTS 60000
#define WARM_UP 10 /* the first tenth is not counted */

struct node {
	_Atomic uint64_t in_flight[BACKENDS];
	_Atomic uint32_t others[BACKENDS];
	double area[BACKENDS], since_us; /* what it has in flight, over time, since it told last */
	double told[BACKENDS];           /* the mean that it told last */
	const _Atomic uint64_t *in_flights[BACKENDS];
	const _Atomic uint32_t *other_flights[BACKENDS];
	struct strategy_memory memory[BACKENDS], *memories[BACKENDS];
	struct strategy_loads loads;
	void *local;
};

struct event {
	double at, since;
	uint32_t node, backend;
};

struct world {
	const struct node_world *of;
	struct node nodes[NODES_MAX];
	const struct strategy_table *table;
	struct arena *arena;
	uint64_t eligible[1];
	double free_at[BACKENDS][SLOTS];
	struct event *events; /* sorted by insertion: few are under way */
	uint32_t n_events;
	struct rng rng;
	double now, told_us, folded_us;
	double *latencies;
};

static double exponential(struct rng *rng, double mean)
{
	return -log(((double)(rng_next(rng) >> 11) + 0.5) / 9007199254740992.0) * mean;
}

static void add_flight(struct node *node, uint32_t backend, double now, int change)
{
	/* the area up to now is that of the count until now */
	node->area[backend] += (double)change * (node->since_us - now);
	node->in_flight[backend] += (uint64_t)(int64_t)change;
}

/* Each tells the mean since it told last. */
static void tell(struct world *w)
{
	for (uint32_t n = 0; n < w->of->n_nodes; n++) {
		struct node *node = &w->nodes[n];
		double passed = w->now - node->since_us;
		for (uint32_t b = 0; b < BACKENDS; b++) {
			double whole = (double)node->in_flight[b] * passed + node->area[b];
			node->told[b] = whole / passed;
			node->area[b] = 0;
		}
		node->since_us = w->now;
	}
	w->told_us = w->now;
}

static void fold(struct world *w)
{
	double fresh = fmax(0, 1 - (w->now - w->told_us) / TTL_US);
	for (uint32_t n = 0; n < w->of->n_nodes; n++) {
		for (uint32_t b = 0; b < BACKENDS; b++) {
			double sum = 0;
			for (uint32_t o = 0; o < w->of->n_nodes; o++)
				sum += o == n ? 0 : w->nodes[o].told[b] * fresh * w->of->part;
			w->nodes[n].others[b] = (uint32_t)(sum + 0.5);
		}
	}
	w->folded_us = w->now;
}

static void share(struct world *w)
{
	double every = w->of->age_s * 1e6;
	if (every > 0 && w->now - w->told_us >= every)
		tell(w);
	if (every > 0 && w->now - w->folded_us >= fmin(every, 1e6))
		fold(w);
}

static void end_until(struct world *w, double now)
{
	while (w->n_events && w->events[0].at <= now) {
		struct event e = w->events[0];
		w->n_events--;
		for (uint32_t i = 0; i < w->n_events; i++)
			w->events[i] = w->events[i + 1];
		struct node *node = &w->nodes[e.node];
		add_flight(node, e.backend, e.at, -1);
		if (w->of->strategy->done)
			w->of->strategy->done(
			    w->table, node->local, &node->loads, e.backend,
			    &(struct strategy_result){false, (uint64_t)(e.at - e.since) + 1,
						      (uint64_t)e.at, 0});
	}
}

static void push(struct world *w, struct event e)
{
	uint32_t i = w->n_events++;
	for (; i > 0 && w->events[i - 1].at > e.at; i--)
		w->events[i] = w->events[i - 1];
	w->events[i] = e;
}

static uint32_t choose_node(struct world *w)
{
	const uint32_t n = w->of->n_nodes;
	if (!w->of->uneven)
		return rng_below(&w->rng, n);
	return rng_below(&w->rng, 10) < 4 ? 0 : 1 + rng_below(&w->rng, n - 1);
}

static double ask(struct world *w)
{
	uint32_t n = choose_node(w);
	bool by_key = w->of->uneven && n == 0;
	struct node *node = &w->nodes[n];
	struct strategy_input input = {
	    .random = rng_next(&w->rng), .key = rng_next(&w->rng), .now_us = (uint64_t)w->now};
	uint32_t b = by_key ? rng_below(&w->rng, BACKENDS / 2)
			    : w->of->strategy->pick(w->table, node->local, &input, w->eligible,
						    &node->loads);
	double *slot = &w->free_at[b][0];
	check(b < BACKENDS);
	for (uint32_t i = 1; i < SLOTS; i++)
		slot = w->free_at[b][i] < *slot ? &w->free_at[b][i] : slot;
	double end = fmax(*slot, w->now) + exponential(&w->rng, SERVICE_US);
	*slot = end;
	add_flight(node, b, w->now, 1);
	push(w, (struct event){end, w->now, n, b});
	return end - w->now;
}

static void set_up(struct world *w)
{
	struct strategy_member members[BACKENDS];
	const struct strategy *strategy = w->of->strategy;
	w->arena = arena_new();
	for (uint32_t b = 0; b < BACKENDS; b++) {
		members[b] = (struct strategy_member){
		    .name = view_str(arena_printf(w->arena, "10.0.0.%u:80", b)), .weight = 1};
		bitset_put(w->eligible, b);
	}
	w->table = strategy->build(members, BACKENDS, &(struct strategy_options){0}, w->arena);
	for (uint32_t n = 0; n < w->of->n_nodes; n++) {
		struct node *node = &w->nodes[n];
		for (uint32_t b = 0; b < BACKENDS; b++) {
			node->in_flights[b] = &node->in_flight[b];
			node->other_flights[b] = &node->others[b];
			node->memories[b] = &node->memory[b];
		}
		node->loads =
		    (struct strategy_loads){.in_flight = node->in_flights,
					    .others = w->of->age_s > 0 ? node->other_flights : NULL,
					    .memory = node->memories};
		if (strategy->local_size)
			node->local = arena_zalloc_line(w->arena, strategy->local_size(w->table));
		if (strategy->local_init)
			strategy->local_init(w->table, node->local, rng_next(&w->rng));
	}
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

double nodes_p99_ms(const struct node_world *of, uint64_t seed)
{
	struct world *w = calloc(1, sizeof(*w));
	const uint32_t warm = REQUESTS / WARM_UP, n = REQUESTS - warm;
	check(w && of->n_nodes <= NODES_MAX);
	w->of = of;
	w->events = calloc(REQUESTS + 1, sizeof(*w->events));
	w->latencies = calloc(REQUESTS, sizeof(*w->latencies));
	check(w->events && w->latencies);
	rng_init(&w->rng, seed);
	set_up(w);
	for (uint32_t k = 0; k < REQUESTS; k++) {
		w->now += exponential(&w->rng, SERVICE_US / (BACKENDS * SLOTS * of->load));
		end_until(w, w->now);
		share(w);
		w->latencies[k] = ask(w);
	}
	qsort(w->latencies + warm, n, sizeof(double), by_value);
	double p99 = w->latencies[warm + (uint32_t)(0.99 * n)] / 1000;
	arena_free(w->arena);
	free(w->events);
	free(w->latencies);
	free(w);
	return p99;
}
