/* SPDX-License-Identifier: MIT */
/* The pool queue: order, bounds, and that nobody is forgotten. */
#include "queue_guests.h"

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
