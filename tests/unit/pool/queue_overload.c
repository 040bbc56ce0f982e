/* SPDX-License-Identifier: MIT */
/* The pool queue where not everybody can be served: classes, overload, a limit that moves. */
#include "queue_guests.h"

Test(pool_queue, classes_come_in_their_order)
{
	static const unsigned classes[] = {CONF_PRIORITY_LOW, QUEUE_CLASS_PATIENT,
					   CONF_PRIORITY_NORMAL, CONF_PRIORITY_HIGH,
					   CONF_PRIORITY_NORMAL};
	static const int order[] = {4, 5, 2, 1, 3};
	struct lease held;
	struct guest guests[5];
	full_world(1, 1, &held);
	for (unsigned i = 0; i < 5; i++)
		cr_assert_eq(wait_as(&guests[i], classes[i], 100 + i), ERR_OK);
	world_turn(&world);
	lease_drop(&held, false, 0);
	for (int served = 1; served <= 5; served++) {
		world_turn(&world);
		for (unsigned i = 0; i < 5; i++)
			if (guests[i].served == served)
				lease_drop(&guests[i].lease, false, 0);
	}
	for (unsigned i = 0; i < 5; i++)
		cr_expect_eq(guests[i].served, order[i], "class %u", classes[i]);
	finish();
}

/* Free slots are no matter of those who wait for one backend to come back. */
Test(pool_queue, who_waits_for_one_backend_holds_up_nobody)
{
	struct lease held[2], lease;
	struct guest patient = {.waiter = {.ready = on_ready,
					   .only = 1,
					   .class = QUEUE_CLASS_PATIENT}},
		     other;
	full_world(1, 2, held);
	world.conf.queue.length = 1;
	unsigned sick = held[0].index == 0 ? 0 : 1;
	lease_drop(&held[sick], false, 0);
	gen.pool.backends[0]->state = BACKEND_maintenance;
	pool_view_refresh(&gen.views[0]);
	cr_assert_eq(pool_queue_push(&gen.views[0], &patient.waiter, 100), ERR_OK);
	world_turn(&world);
	lease_drop(&held[!sick], false, 0);
	world_turn(&world);
	cr_expect_eq(n_served, 0);
	cr_assert_eq(take(0, &lease), POOL_TAKEN);
	lease_drop(&lease, false, 0);
	cr_assert_eq(pool_take_pinned(&gen.views[0], &world.pws[0], 1, &lease), POOL_TAKEN);
	lease_drop(&lease, false, 0);
	gen.pool.backends[0]->state = BACKEND_up;
	pool_view_refresh(&gen.views[0]);
	pool_queue_serve(gen.views[0].sl);
	cr_expect_eq(patient.served, 1);
	cr_expect_eq(atomic_load(&gen.pool.state->n_patient), 0);
	/* one that waits for a slot does */
	cr_assert_eq(take(0, &held[0]), POOL_TAKEN);
	cr_assert_eq(wait_on(0, &other, NULL, 200), ERR_OK);
	cr_expect_eq(take(0, &lease), POOL_FULL);
	lease_drop(&patient.lease, false, 0);
	world_turn(&world);
	cr_expect_eq(other.served, 2);
	lease_drop(&other.lease, false, 0);
	lease_drop(&held[0], false, 0);
	finish();
}

Test(pool_queue, a_full_queue_gives_up_a_lower_class)
{
	struct lease held;
	struct guest low[2], normal, high;
	full_world(1, 1, &held);
	world.conf.queue.length = 3;
	cr_assert_eq(wait_as(&low[0], CONF_PRIORITY_LOW, 100), ERR_OK);
	cr_assert_eq(wait_as(&low[1], CONF_PRIORITY_LOW, 101), ERR_OK);
	cr_assert_eq(wait_as(&normal, CONF_PRIORITY_NORMAL, 102), ERR_OK);
	struct guest late;
	cr_expect_eq(wait_as(&late, CONF_PRIORITY_LOW, 103), ERR_FULL);
	cr_expect_eq(wait_as(&high, CONF_PRIORITY_HIGH, 104), ERR_OK);
	cr_expect_eq(low[1].shed, 1, "the newest of the lowest goes");
	cr_expect_eq(low[0].shed + normal.shed, 0);
	cr_expect_eq(atomic_load(&gen.pool.state->n_queued), 3);
	pool_queue_remove(&low[0].waiter);
	pool_queue_remove(&normal.waiter);
	pool_queue_remove(&high.waiter);
	lease_drop(&held, false, 0);
	world_turn(&world);
	finish();
}

static void look_at(uint64_t now)
{
	world.loops[0].now_us = now;
	pool_queue_serve(gen.views[0].sl);
}

Test(pool_queue, overload_serves_the_newest_and_lets_the_oldest_go)
{
	struct lease held;
	struct guest guests[4];
	uint64_t t = 10000000;
	full_world(1, 1, &held);
	world.conf.queue.target_us = 5000;
	cr_assert_eq(wait_as(&guests[0], CONF_PRIORITY_NORMAL, t), ERR_OK);
	look_at(t + 6000); /* the first look begins an interval */
	cr_assert_eq(wait_as(&guests[1], CONF_PRIORITY_NORMAL, t + 98000), ERR_OK);
	cr_assert_eq(wait_as(&guests[2], CONF_PRIORITY_NORMAL, t + 101000), ERR_OK);
	look_at(t + 105000);
	cr_expect_eq(guests[0].shed, 0, "the interval is not over");
	look_at(t + 106000); /* it is, and nobody is let go at the first look of the next */
	cr_expect(gen.views[0].sl->codel.overloaded);
	cr_expect_eq(guests[0].shed, 0);
	look_at(t + 107000);
	cr_expect_eq(guests[0].shed, 1, "it waited 107 ms");
	cr_expect_eq(guests[1].shed, 0, "it waited 9 ms");
	look_at(t + 110000);
	cr_expect_eq(guests[1].shed, 1, "it waited 12 ms");
	cr_expect_eq(guests[2].shed, 0);
	cr_assert_eq(wait_as(&guests[3], CONF_PRIORITY_NORMAL, t + 110000), ERR_OK);
	lease_drop(&held, false, 0);
	world.loops[0].now_us = t + 110500;
	pool_queue_serve(gen.views[0].sl);
	cr_expect_eq(guests[3].served, 1, "the newest first");
	lease_drop(&guests[3].lease, false, 0);
	look_at(t + 110600);
	cr_expect_eq(guests[2].served, 2);
	lease_drop(&guests[2].lease, false, 0);
	world_turn(&world);
	finish();
}

/* Room that nobody has left, but that was made. */
Test(pool_queue, a_raised_adaptive_limit_wakes_those_who_wait)
{
	struct lease held[4];
	struct guest guests[2];
	uint64_t now = 1000000;
	n_served = 0;
	world_init(&world, 2, 1);
	world.conf.limits.adaptive = true;
	world_build(&world, &gen);
	struct backend *b = gen.pool.backends[0];
	atomic_store(&b->limit, 2);
	for (unsigned i = 0; i < 2; i++)
		cr_assert_eq(take(0, &held[i]), POOL_TAKEN);
	for (unsigned i = 0; i < 2; i++)
		cr_assert_eq(wait_on(i, &guests[i], NULL, 100 + i), ERR_OK);
	world_turn(&world);
	cr_assert_eq(n_served, 0);
	pool_registry_limits(&world.reg, now); /* to what it begins with */
	cr_assert_gt(atomic_load(&b->limit), 3);
	world_turn(&world);
	cr_expect_eq(n_served, 2);
	for (unsigned i = 0; i < 2; i++) {
		lease_drop(&held[i], false, 0);
		lease_drop(&guests[i].lease, false, 0);
	}
	finish();
}
