/* SPDX-License-Identifier: MIT */
/* Tries of a backend that is left alone (weir/pool/odd.h): a worker's side. */
#include <criterion/criterion.h>

#include "world.h"

#define SECOND 1000000

static struct world world;
static struct world_gen gen;
static uint64_t now;

static void set_now(uint64_t us)
{
	now = us;
	world.loops[0].now_us = us;
}

static void start(void)
{
	world_init(&world, 1, 3);
	world_build(&world, &gen);
	set_now(100 * SECOND);
}

static void finish(void)
{
	world_release(&world, &gen);
	world_fini(&world);
}

static void let_try_from(uint64_t us)
{
	atomic_store(&gen.pool.backends[1]->state, BACKEND_ejected);
	atomic_store(&gen.pool.backends[1]->odd.try_us, us);
	pool_view_refresh(&gen.views[0]);
}

/* Takes; true when it is a try of the one that is left alone. */
static bool takes_try(struct lease *lease)
{
	cr_assert_eq(pool_take(&gen.views[0], &world.pws[0], NULL, 0, lease), POOL_TAKEN);
	cr_assert_eq(lease->is_try, lease->index == 1);
	return lease->is_try;
}

static bool is_tried(void)
{
	struct lease lease;
	bool is_try = takes_try(&lease);
	lease_drop(&lease, false, 1000);
	return is_try;
}

Test(tries, one_at_its_time, .init = start, .fini = finish)
{
	struct lease lease;
	let_try_from(now + SECOND);
	cr_expect_not(is_tried());
	set_now(now + SECOND);
	cr_assert(takes_try(&lease));
	cr_expect_not(is_tried(), "one alone");
	lease_drop(&lease, false, 0);
}

/* A try is under way while the worker looks at the pool anew: the next one is no later for it. */
Test(tries, a_refresh_meanwhile_delays_nothing, .init = start, .fini = finish)
{
	struct lease lease;
	let_try_from(now);
	cr_assert(takes_try(&lease));
	pool_view_refresh(&gen.views[0]);
	lease_drop(&lease, false, 0);
	/* the watcher's decision */
	atomic_store(&gen.pool.backends[1]->odd.try_us, now + SECOND);
	cr_expect_not(is_tried());
	set_now(now + SECOND + ODD_LOOK_US);
	cr_expect(is_tried());
}
