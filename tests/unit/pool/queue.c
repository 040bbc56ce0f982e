/* SPDX-License-Identifier: MIT */
/* The pool queue: order, bounds, and that nobody is forgotten. */
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

static void on_ready(struct waiter *waiter, struct lease *lease)
{
	struct guest *g = container_of(waiter, struct guest, waiter);
	cr_assert_eq(g->served, 0, "served twice");
	cr_assert(!list_is_linked(&waiter->link));
	g->lease = *lease;
	g->served = ++n_served;
}

static void on_shed(struct waiter *waiter)
{
	struct guest *g = container_of(waiter, struct guest, waiter);
	cr_assert(!list_is_linked(&waiter->link));
	g->shed++;
}

/* One that may be let go, of a class. */
static enum err wait_as(struct guest *g, unsigned class, uint64_t since)
{
	*g =
	    (struct guest){.waiter = {.ready = on_ready, .shed = on_shed, .class = (uint8_t)class}};
	return pool_queue_push(&gen.views[0], &g->waiter, since);
}

static enum err wait_on(unsigned worker, struct guest *g, const struct pool_tried *tried,
			uint64_t since)
{
	*g = (struct guest){.waiter = {.ready = on_ready, .tried = tried}};
	return pool_queue_push(&gen.views[worker], &g->waiter, since);
}

static enum pool_verdict take(unsigned worker, struct lease *lease)
{
	return pool_take(&gen.views[worker], &world.pws[worker], NULL, 0, lease);
}

/* One slot each of `n_backends`, all taken into `held`. */
static void full_world(unsigned n_workers, size_t n_backends, struct lease *held)
{
	n_served = 0;
	world_init(&world, n_workers, n_backends);
	world.conf.limits.requests = 1;
	world_build(&world, &gen);
	for (size_t i = 0; i < n_backends; i++)
		cr_assert_eq(take(0, &held[i]), POOL_TAKEN);
}

static void finish(void)
{
	cr_expect_eq(atomic_load(&gen.pool.state->n_queued), 0);
	for (uint32_t i = 0; i < gen.pool.n; i++)
		cr_expect_eq(in_flight_of(&gen, i), 0);
	for (unsigned i = 0; i < world.n_workers; i++)
		cr_expect_eq(atomic_load(&gen.pool.state->local[i]->head_rank), 0);
	world_release(&world, &gen);
	world_fini(&world);
}

Test(pool_queue, first_in_first_out)
{
	struct lease held;
	struct guest guests[5];
	full_world(1, 1, &held);
	for (unsigned i = 0; i < 5; i++)
		cr_assert_eq(wait_on(0, &guests[i], NULL, 100 + i), ERR_OK);
	world_turn(&world);
	cr_expect_eq(n_served, 0);
	cr_expect_eq(atomic_load(&gen.pool.state->n_queued), 5);
	lease_drop(&held, false, 0);
	for (int i = 0; i < 5; i++) {
		world_turn(&world);
		cr_expect_eq(n_served, i + 1);
		cr_expect_eq(guests[i].served, i + 1);
		lease_drop(&guests[i].lease, false, 0);
	}
	finish();
}

Test(pool_queue, length_counts_over_all_workers)
{
	struct lease held;
	struct guest guests[4];
	full_world(2, 1, &held);
	world.conf.queue.length = 3;
	for (unsigned i = 0; i < 3; i++)
		cr_expect_eq(wait_on(i % 2, &guests[i], NULL, 100 + i), ERR_OK);
	cr_expect_eq(wait_on(0, &guests[3], NULL, 103), ERR_FULL);
	cr_expect_eq(wait_on(1, &guests[3], NULL, 103), ERR_FULL);
	pool_queue_remove(&guests[1].waiter);
	cr_expect_eq(wait_on(1, &guests[3], NULL, 103), ERR_OK);
	pool_queue_remove(&guests[0].waiter);
	pool_queue_remove(&guests[2].waiter);
	pool_queue_remove(&guests[3].waiter);
	lease_drop(&held, false, 0);
	world_turn(&world);
	cr_expect_eq(n_served, 0);
	finish();
}

Test(pool_queue, off_takes_nobody)
{
	struct lease held;
	struct guest guest;
	full_world(1, 1, &held);
	world.conf.queue.on = false;
	cr_expect_eq(wait_on(0, &guest, NULL, 100), ERR_FULL);
	cr_expect_eq(atomic_load(&gen.pool.state->n_queued), 0);
	lease_drop(&held, false, 0);
	finish();
}

Test(pool_queue, a_slot_that_came_free_before_the_push_is_found)
{
	struct lease held;
	struct guest guest;
	full_world(2, 1, &held);
	lease_drop(&held, false, 0); /* nobody waits yet: nobody is woken */
	cr_expect_eq(wait_on(1, &guest, NULL, 100), ERR_OK);
	world_turn(&world);
	cr_expect_eq(guest.served, 1);
	lease_drop(&guest.lease, false, 0);
	finish();
}

Test(pool_queue, the_oldest_of_all_workers_goes_first)
{
	struct lease held;
	struct guest late, early;
	full_world(2, 1, &held);
	cr_assert_eq(wait_on(0, &late, NULL, 200), ERR_OK);
	cr_assert_eq(wait_on(1, &early, NULL, 100), ERR_OK);
	world_turn(&world);
	lease_drop(&held, false, 0);
	world_turn(&world);
	cr_expect_eq(early.served, 1);
	cr_expect_eq(late.served, 0);
	lease_drop(&early.lease, false, 0);
	world_turn(&world);
	cr_expect_eq(late.served, 2);
	lease_drop(&late.lease, false, 0);
	finish();
}

/* The slot was offered to a worker whose only waiter is gone: the next one gets it. */
Test(pool_queue, who_leaves_passes_the_slot_on)
{
	struct lease held;
	struct guest gone, other;
	full_world(2, 1, &held);
	cr_assert_eq(wait_on(0, &gone, NULL, 100), ERR_OK);
	cr_assert_eq(wait_on(1, &other, NULL, 200), ERR_OK);
	world_turn(&world);
	lease_drop(&held, false, 0);
	pool_queue_remove(&gone.waiter);
	world_turn(&world);
	cr_expect_eq(gone.served, 0);
	cr_assert_eq(other.served, 1, "nobody told the other worker");
	lease_drop(&other.lease, false, 0);
	finish();
}

/* Both drops choose the worker with the oldest waiter, which needs one slot only. */
Test(pool_queue, two_slots_serve_two_workers)
{
	struct lease held[2];
	struct guest first, second;
	full_world(2, 2, held);
	cr_assert_eq(wait_on(0, &first, NULL, 100), ERR_OK);
	cr_assert_eq(wait_on(1, &second, NULL, 200), ERR_OK);
	world_turn(&world);
	lease_drop(&held[0], false, 0);
	lease_drop(&held[1], false, 0);
	world_turn(&world);
	cr_assert_neq(first.served, 0);
	cr_assert_neq(second.served, 0, "a slot lies idle while somebody waits");
	lease_drop(&first.lease, false, 0);
	lease_drop(&second.lease, false, 0);
	finish();
}

Test(pool_queue, who_comes_now_goes_behind)
{
	struct lease held, mine;
	struct guest guest;
	full_world(2, 1, &held);
	cr_assert_eq(wait_on(1, &guest, NULL, 100), ERR_OK);
	world_turn(&world);
	lease_drop(&held, false, 0);
	/* the letter to worker 1 is under way: the slot is not for others */
	cr_expect_eq(take(0, &mine), POOL_FULL);
	world_turn(&world);
	cr_expect_eq(guest.served, 1);
	atomic_store(&gen.pool.backends[0]->state, BACKEND_down);
	pool_view_refresh(&gen.views[0]);
	cr_expect_eq(take(0, &mine), POOL_EMPTY);
	lease_drop(&guest.lease, false, 0);
	finish();
}

Test(pool_queue, nobody_eligible_is_said_at_once_even_when_others_wait)
{
	struct lease held, mine;
	struct guest guest;
	full_world(1, 1, &held);
	cr_assert_eq(wait_on(0, &guest, NULL, 100), ERR_OK);
	atomic_store(&gen.pool.backends[0]->state, BACKEND_down);
	pool_view_refresh(&gen.views[0]);
	cr_expect_eq(take(0, &mine), POOL_EMPTY);
	pool_queue_remove(&guest.waiter);
	lease_drop(&held, false, 0);
	world_turn(&world);
	finish();
}

/* A retry that may not use the free backend does not hold up those behind it. */
Test(pool_queue, a_retry_at_the_head_lets_others_pass)
{
	struct lease held[2];
	struct guest retry, plain;
	full_world(1, 2, held);
	struct pool_tried tried = {.index = {held[0].index}, .n = 1};
	cr_assert_eq(wait_on(0, &retry, &tried, 100), ERR_OK);
	cr_assert_eq(wait_on(0, &plain, NULL, 200), ERR_OK);
	world_turn(&world);
	lease_drop(&held[0], false, 0);
	world_turn(&world);
	cr_expect_eq(retry.served, 0);
	cr_assert_eq(plain.served, 1);
	lease_drop(&held[1], false, 0);
	world_turn(&world);
	cr_assert_eq(retry.served, 2);
	lease_drop(&retry.lease, false, 0);
	lease_drop(&plain.lease, false, 0);
	finish();
}

/* The same with the retry alone on its worker. */
Test(pool_queue, a_retry_passes_the_slot_to_the_next_worker)
{
	struct lease held[2];
	struct guest retry, plain;
	full_world(3, 2, held);
	struct pool_tried tried = {.index = {held[0].index}, .n = 1};
	cr_assert_eq(wait_on(0, &retry, &tried, 100), ERR_OK);
	cr_assert_eq(wait_on(2, &plain, NULL, 200), ERR_OK);
	world_turn(&world);
	lease_drop(&held[0], false, 0);
	world_turn(&world);
	cr_expect_eq(retry.served, 0);
	cr_assert_eq(plain.served, 1);
	lease_drop(&held[1], false, 0);
	lease_drop(&plain.lease, false, 0);
	world_turn(&world);
	cr_assert_eq(retry.served, 2);
	lease_drop(&retry.lease, false, 0);
	finish();
}

Test(pool_queue, a_backend_that_comes_up_serves_the_queue)
{
	struct lease held;
	struct guest guest;
	full_world(1, 1, &held);
	world.conf.n_backends = 2;
	snprintf(world.names[1], sizeof(world.names[1]), "b1");
	world.backends[1] =
	    (struct conf_backend){.name = VIEW("b1"), .address_text = VIEW("b1"), .weight = 1};
	struct world_gen next;
	world_build(&world, &next);
	atomic_store(&next.pool.backends[1]->state, BACKEND_down);
	pool_view_refresh(&next.views[0]);
	guest = (struct guest){.waiter = {.ready = on_ready}};
	cr_assert_eq(pool_queue_push(&next.views[0], &guest.waiter, 100), ERR_OK);
	world_turn(&world);
	cr_expect_eq(guest.served, 0);
	atomic_store(&next.pool.backends[1]->state, BACKEND_up);
	pool_view_refresh(&next.views[0]);
	pool_queue_serve(next.views[0].sl);
	cr_assert_eq(guest.served, 1);
	cr_expect_eq(guest.lease.index, 1);
	lease_drop(&guest.lease, false, 0);
	lease_drop(&held, false, 0);
	world_release(&world, &next);
	finish();
}

/* Waiters of the generation before do not hold up those of the next. */
Test(pool_queue, generations_share_the_queue)
{
	struct lease held;
	struct guest old, new;
	struct world_gen next;
	full_world(1, 1, &held);
	cr_assert_eq(wait_on(0, &old, NULL, 100), ERR_OK);
	world.conf.limits.requests = 2; /* the reload raises the limit */
	world_build(&world, &next);
	new = (struct guest){.waiter = {.ready = on_ready}};
	cr_assert_eq(pool_queue_push(&next.views[0], &new.waiter, 200), ERR_OK);
	world_turn(&world);
	cr_expect_eq(old.served, 0);
	cr_assert_eq(new.served, 1);
	lease_drop(&held, false, 0);
	lease_drop(&new.lease, false, 0);
	world_turn(&world);
	cr_assert_eq(old.served, 2);
	lease_drop(&old.lease, false, 0);
	world_release(&world, &next);
	finish();
}

/* ---- a guest that fails at once and gives its slot back while being served ---- */

static void on_ready_drop(struct waiter *waiter, struct lease *lease)
{
	struct guest *g = container_of(waiter, struct guest, waiter);
	g->served = ++n_served;
	lease_drop(lease, true, 0);
}

Test(pool_queue, a_slot_given_back_while_serving_goes_on)
{
	struct lease held;
	struct guest guests[10];
	full_world(1, 1, &held);
	for (unsigned i = 0; i < 10; i++) {
		cr_assert_eq(wait_on(0, &guests[i], NULL, 100 + i), ERR_OK);
		guests[i].waiter.ready = on_ready_drop;
	}
	world_turn(&world);
	lease_drop(&held, false, 0);
	world_turn(&world);
	for (int i = 0; i < 10; i++)
		cr_expect_eq(guests[i].served, i + 1);
	finish();
}

static void on_ready_again(struct waiter *waiter, struct lease *lease)
{
	struct guest *g = container_of(waiter, struct guest, waiter);
	n_served++;
	lease_drop(lease, true, 0);
	if (++g->served < 5) /* a retry: back into the queue */
		cr_assert_eq(pool_queue_push(&gen.views[0], waiter, 500), ERR_OK);
}

Test(pool_queue, waiting_again_out_of_the_callback)
{
	struct lease held;
	struct guest guests[3];
	full_world(1, 1, &held);
	for (unsigned i = 0; i < 3; i++) {
		cr_assert_eq(wait_on(0, &guests[i], NULL, 100 + i), ERR_OK);
		guests[i].waiter.ready = on_ready_again;
	}
	lease_drop(&held, false, 0);
	world_turn(&world);
	cr_expect_eq(n_served, 15);
	finish();
}

/* ---- classes and overload ---- */

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
