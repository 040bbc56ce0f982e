/* SPDX-License-Identifier: MIT */
/* A pool whose slots are all taken, and guests who wait for one. */
#ifndef TESTS_UNIT_POOL_QUEUE_GUESTS_H
#define TESTS_UNIT_POOL_QUEUE_GUESTS_H

#include <criterion/criterion.h>

#include "world.h"

static struct world world;
static struct world_gen gen;

struct guest {
	struct waiter waiter;
	struct lease lease;
	int served; /* the how-manieth, from 1 */
	int shed;
};

static int n_served;

static inline void on_ready(struct waiter *waiter, struct lease *lease)
{
	struct guest *g = container_of(waiter, struct guest, waiter);
	cr_assert_eq(g->served, 0, "served twice");
	cr_assert(!list_is_linked(&waiter->link));
	g->lease = *lease;
	g->served = ++n_served;
}

static inline void on_shed(struct waiter *waiter)
{
	struct guest *g = container_of(waiter, struct guest, waiter);
	cr_assert(!list_is_linked(&waiter->link));
	g->shed++;
}

/* One that may be let go, of a class. */
static inline enum err wait_as(struct guest *g, unsigned class, uint64_t since)
{
	*g =
	    (struct guest){.waiter = {.ready = on_ready, .shed = on_shed, .class = (uint8_t)class}};
	return pool_queue_push(&gen.views[0], &g->waiter, since);
}

static inline enum err wait_on(unsigned worker, struct guest *g, const struct pool_tried *tried,
			       uint64_t since)
{
	*g = (struct guest){.waiter = {.ready = on_ready, .tried = tried}};
	return pool_queue_push(&gen.views[worker], &g->waiter, since);
}

static inline enum pool_verdict take(unsigned worker, struct lease *lease)
{
	return pool_take(&gen.views[worker], &world.pws[worker], NULL, 0, lease);
}

/* One slot each of `n_backends`, all taken into `held`. */
static inline void full_world(unsigned n_workers, size_t n_backends, struct lease *held)
{
	n_served = 0;
	world_init(&world, n_workers, n_backends);
	world.conf.limits.requests = 1;
	world_build(&world, &gen);
	for (size_t i = 0; i < n_backends; i++)
		cr_assert_eq(take(0, &held[i]), POOL_TAKEN);
}

static inline void finish(void)
{
	cr_expect_eq(atomic_load(&gen.pool.state->n_queued), 0);
	for (uint32_t i = 0; i < gen.pool.n; i++)
		cr_expect_eq(in_flight_of(&gen, i), 0);
	for (unsigned i = 0; i < world.n_workers; i++)
		cr_expect_eq(atomic_load(&gen.pool.state->local[i]->head_rank), 0);
	world_release(&world, &gen);
	world_fini(&world);
}

#endif
