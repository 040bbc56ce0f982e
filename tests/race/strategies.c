/* SPDX-License-Identifier: MIT */
/*
 * Every strategy under four workers that share in-flight counts, memory and
 * tables, while the control thread takes backends out and in, lowers shares and
 * starts ramps.  No pick of weight 0, and nothing is in flight in the end.
 */
#include <pthread.h>
#include <stdio.h>

#include "../unit/pool/world.h"

#define WORKERS 4
#define BACKENDS 70
#define STEPS 10000
#define HELD 20

static struct world world;
static struct world_gen gen;
static _Atomic int n_failures;
static _Atomic int n_running;

static void expect(bool ok, const char *what)
{
	if (!ok && atomic_fetch_add(&n_failures, 1) < 10)
		fprintf(stderr, "FAIL: %s: " VIEW_FMT "\n", what, VIEW_ARG(world.conf.balance));
}

static void end_one(struct lease *held, uint32_t *n_held, struct rng *rng)
{
	struct lease *lease = &held[rng_below(rng, *n_held)];
	if (rng_below(rng, 20) == 0)
		pool_note_report(lease->backend, VIEW("named_metrics.rif=3, eps=0"),
				 lease->view->sl->pw->loop->now_us);
	lease_drop(lease, rng_below(rng, 10) == 0, rng_below(rng, 5000));
	*lease = held[--*n_held];
}

static void *work(void *arg)
{
	struct pool_worker *pw = arg;
	struct pool_view *view = &gen.views[pw->id];
	struct lease held[HELD + 1];
	uint32_t n_held = 0;
	struct rng rng;
	rng_init(&rng, pw->id + 1);
	for (int step = 0; step < STEPS; step++) {
		pw->loop->now_us += rng_below(&rng, 2000);
		if (step % 100 == 0)
			pool_view_refresh(view);
		uint64_t key = rng_below(&rng, 3) ? rng_next(&rng) | 1 : 0;
		struct lease *lease = &held[n_held];
		if (pool_take(view, pw, NULL, key, lease) == POOL_TAKEN) {
			expect(lease->index % 10 != 9, "weight 0 was picked");
			n_held++;
		}
		while (n_held > HELD || (n_held && rng_below(&rng, 2)))
			end_one(held, &n_held, &rng);
	}
	while (n_held)
		end_one(held, &n_held, &rng);
	atomic_fetch_sub(&n_running, 1);
	return NULL;
}

/* What the control thread writes while workers read. */
static void disturb(struct rng *rng)
{
	struct backend *b = gen.pool.backends[rng_below(rng, BACKENDS)];
	atomic_store_explicit(&b->state, rng_below(rng, 3) ? BACKEND_up : BACKEND_down,
			      memory_order_relaxed);
	atomic_store_explicit(&b->health_share, (uint16_t)rng_below(rng, SHARE_FULL + 1),
			      memory_order_relaxed);
	atomic_store_explicit(&b->ramp_from_us, rng_below(rng, 10000000) + 1, memory_order_relaxed);
}

static void run(const struct strategy *strategy)
{
	pthread_t threads[WORKERS];
	struct rng rng;
	rng_init(&rng, 99);
	world_init(&world, WORKERS, BACKENDS);
	world.conf.balance = view_str(strategy->keyword);
	world.conf.hash.fallback = VIEW("auto");
	world.conf.hash.bound = 1.25;
	world.conf.slow_start_us = 5000000;
	for (int i = 0; i < BACKENDS; i++) {
		world.backends[i].weight = i % 10 == 9 ? 0 : 1 + (uint32_t)i % 3;
		world.backends[i].priority = i >= 60;
	}
	world_build(&world, &gen);
	atomic_store(&n_running, WORKERS);
	for (int w = 0; w < WORKERS; w++)
		check(pthread_create(&threads[w], NULL, work, &world.pws[w]) == 0);
	while (atomic_load(&n_running) > 0)
		disturb(&rng);
	for (int w = 0; w < WORKERS; w++)
		pthread_join(threads[w], NULL);
	for (uint32_t i = 0; i < BACKENDS; i++)
		expect(in_flight_of(&gen, i) == 0, "something is in flight in the end");
	expect(atomic_load(&gen.pool.state->in_flight) == 0, "the total is not 0 in the end");
	world_release(&world, &gen);
	world_fini(&world);
}

int main(void)
{
	for (size_t s = 0; strategies[s]; s++)
		run(strategies[s]);
	return atomic_load(&n_failures) != 0;
}
