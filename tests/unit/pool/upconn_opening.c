/* SPDX-License-Identifier: MIT */
/* How many upstream connections are opened at once, and who waits for one. */
#include <criterion/criterion.h>

#include "upconns.h"

static enum pool_verdict look(unsigned worker)
{
	struct lease lease;
	enum pool_verdict verdict =
	    pool_take(&upconns_gen.views[worker], &upconns_world.pws[worker], NULL, 0, &lease);
	if (verdict == POOL_TAKEN)
		lease_drop(&lease, false, 0);
	return verdict;
}

/* Success lifts the bound: not where it is looked at. */
static void doubt(void)
{
	atomic_store(&upconns_gen.pool.backends[0]->connect_row, CONNECT_ROW_UNKNOWN);
}

Test(upconn, more_are_opened_while_they_succeed)
{
	struct user users[17];
	upconns_begin(1);
	upconns_world.conf.limits.connecting = 1;
	users[0] = user_new(0);
	cr_assert_eq(user_open(&users[0]), ERR_OK);
	cr_expect_eq(look(0), POOL_CROWDED);
	upconn_opened(users[0].up);
	for (unsigned i = 1; i < 17; i++) {
		users[i] = user_new(0);
		cr_expect_eq(look(0), POOL_TAKEN);
		cr_assert_eq(user_open(&users[i]), ERR_OK);
	}
	cr_expect_eq(look(0), POOL_CROWDED);
	pool_note_refused(&upconns_gen.views[0], &upconns_world.pws[0],
			  upconns_gen.pool.backends[0]);
	cr_expect_neq(atomic_load(&upconns_gen.pool.backends[0]->connect_row), CONNECT_ROW_OPENS);
	for (unsigned i = 0; i < 17; i++)
		user_done(&users[i], false);
	upconns_finish();
}

Test(upconn, only_so_many_are_opened_at_once)
{
	struct user users[4];
	upconns_begin(2);
	upconns_world.conf.limits.connecting = 3;
	for (unsigned i = 0; i < 3; i++) {
		users[i] = user_new(i % 2);
		cr_assert_eq(look(i % 2), POOL_TAKEN);
		cr_assert_eq(user_open(&users[i]), ERR_OK);
	}
	cr_expect_eq(look(0), POOL_CROWDED);
	cr_expect_eq(look(1), POOL_CROWDED);
	upconn_opened(users[1].up);
	upconn_opened(users[1].up); /* again: no harm */
	doubt();
	cr_expect_eq(look(0), POOL_TAKEN);
	users[3] = user_new(0);
	cr_assert_eq(user_open(&users[3]), ERR_OK);
	cr_expect_eq(look(0), POOL_CROWDED);
	user_done(&users[0], false); /* given up: as good as opened */
	cr_expect_eq(look(0), POOL_TAKEN);
	for (unsigned i = 1; i < 4; i++)
		user_done(&users[i], false);
	cr_expect_eq(atomic_load(&upconns_gen.pool.backends[0]->n_opening), 0);
	upconns_finish();
}

/* Who was picked a moment before it was full does not open one more. */
Test(upconn, connecting_holds_for_those_who_have_a_lease)
{
	struct lease early;
	struct upconn *up;
	bool connected;
	upconns_begin(1);
	upconns_world.conf.limits.connecting = 1;
	struct user a = user_new(0);
	cr_assert_eq(pool_take(&upconns_gen.views[0], &upconns_world.pws[0], NULL, 0, &early),
		     POOL_TAKEN);
	cr_assert_eq(user_open(&a), ERR_OK);
	cr_expect_eq(upconn_connect(&upconns_world.pws[0], early.backend, &upconns_gen.views[0],
				    &user_intro, &user_events, NULL, &up, &connected),
		     ERR_BUSY);
	cr_expect_eq(atomic_load(&early.backend->n_upconns), 1);
	lease_drop(&early, false, 0);
	user_done(&a, false);
	upconns_finish();
}

/* The connections a worker has are not kept from it; another worker has none of them. */
Test(upconn, a_kept_one_serves_while_no_more_may_be_opened)
{
	upconns_begin(2);
	upconns_world.conf.limits.connecting = 1;
	struct user kept = user_new(0), opening = user_new(1), next = user_new(0);
	cr_assert_eq(user_open(&kept), ERR_OK);
	upconn_opened(kept.up);
	doubt();
	user_done(&kept, true);
	cr_assert_eq(user_open(&opening), ERR_OK);
	cr_expect_eq(look(1), POOL_CROWDED);
	cr_expect_eq(look(0), POOL_TAKEN);
	cr_assert_eq(user_open(&next), ERR_OK);
	cr_expect(next.reused);
	cr_expect_eq(look(0), POOL_CROWDED);
	user_done(&next, false);
	user_done(&opening, false);
	upconns_finish();
}

Test(upconn, fewer_are_opened_at_once_while_connects_fail)
{
	static const unsigned most[] = {64, 16, 4, 1, 1, 1};
	struct user users[64];
	upconns_begin(1);
	upconns_world.conf.limits.connecting = 64;
	struct backend *b = upconns_gen.pool.backends[0];
	for (unsigned row = 0; row < ARRAY_LEN(most); row++) {
		unsigned n = 0;
		for (; look(0) == POOL_TAKEN; n++) {
			users[n] = user_new(0);
			cr_assert_eq(user_open(&users[n]), ERR_OK);
		}
		cr_expect_eq(n, most[row], "%u after %u failures", n, row);
		while (n)
			user_done(&users[--n], false);
		pool_note_refused(&upconns_gen.views[0], &upconns_world.pws[0], b);
	}
	users[0] = user_new(0);
	cr_assert_eq(user_open(&users[0]), ERR_OK);
	upconn_opened(users[0].up);
	cr_expect_eq(atomic_load(&b->connect_row), CONNECT_ROW_OPENS, "one success forgives all");
	user_done(&users[0], false);
	upconns_finish();
}

struct guest {
	struct waiter waiter;
	struct lease lease;
	bool served;
};

static void on_ready(struct waiter *waiter, struct lease *lease)
{
	struct guest *g = container_of(waiter, struct guest, waiter);
	g->lease = *lease;
	g->served = true;
}

/* What ends the wait: a connection that is open, one that failed, one that was kept. */
Test(upconn, who_waits_for_a_connection_is_woken)
{
	for (int way = 0; way < 3; way++) {
		struct guest g = {.waiter = {.ready = on_ready}};
		upconns_begin(1);
		upconns_world.conf.limits.connecting = 1;
		struct user busy = user_new(0), opening = user_new(0);
		cr_assert_eq(user_open(&busy), ERR_OK);
		upconn_opened(busy.up);
		doubt();
		cr_assert_eq(user_open(&opening), ERR_OK);
		cr_assert_eq(look(0), POOL_CROWDED);
		cr_assert_eq(pool_queue_push(&upconns_gen.views[0], &g.waiter, 1), ERR_OK);
		world_turn(&upconns_world);
		cr_assert(!g.served);
		if (way == 0)
			upconn_opened(opening.up);
		else if (way == 1)
			user_done(&opening, false);
		else
			user_done(&busy, true);
		world_turn(&upconns_world);
		cr_expect(g.served, "way %d wakes nobody", way);
		lease_drop(&g.lease, false, 0);
		if (way != 1)
			user_done(&opening, false);
		if (way != 2)
			user_done(&busy, false);
		upconns_finish();
	}
}

/*
 * queue.length is for those who lack a place, also while others wait for nothing but a
 * connection; and so it is for those who step back behind a line.
 */
Test(upconn, the_length_of_the_queue_is_not_for_the_crowded)
{
	struct guest guests[3] = {{.waiter = {.ready = on_ready}},
				  {.waiter = {.ready = on_ready}},
				  {.waiter = {.ready = on_ready, .only = 2}}};
	struct lease slot, lease;
	upconns_begin_with(1, 2);
	upconns_world.conf.limits.connecting = 1;
	upconns_world.conf.queue.length = 1;
	upconns_gen.pool.limited = true;
	upconns_gen.pool.max_requests[1] = 1;
	pool_view_refresh(&upconns_gen.views[0]);
	struct pool_view *view = &upconns_gen.views[0];
	struct pool_worker *pw = &upconns_world.pws[0];
	cr_assert_eq(pool_take_pinned(view, pw, 1, &slot), POOL_TAKEN);
	struct user opening = user_new(0);
	cr_assert_eq(user_open(&opening), ERR_OK);
	for (unsigned i = 0; i < 2; i++) {
		enum pool_verdict why = pool_take(view, pw, NULL, 0, &lease);
		cr_expect_eq(why, POOL_CROWDED, "%u", i);
		guests[i].waiter.crowded = why == POOL_CROWDED;
		cr_expect_eq(pool_queue_push(view, &guests[i].waiter, 1), ERR_OK);
	}
	cr_expect_eq(pool_take_pinned(view, pw, 1, &lease), POOL_FULL);
	cr_expect_eq(pool_queue_push(view, &guests[2].waiter, 1), ERR_FULL);
	for (unsigned i = 0; i < 2; i++)
		pool_queue_remove(&guests[i].waiter);
	lease_drop(&slot, false, 0);
	user_done(&opening, false);
	upconns_finish();
}
