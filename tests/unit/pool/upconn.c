/* SPDX-License-Identifier: MIT */
/* Upstream connections over loopback: opened, kept, used again, given up. */
#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "weir/net/socket.h"
#include "world.h"

#define SECOND UINT64_C(1000000)

static struct world world;
static struct world_gen gen;
static int listen_fd;

static void begin_with(unsigned n_workers, size_t n_backends)
{
	struct addr any;
	world_init(&world, n_workers, n_backends);
	cr_assert(addr_parse(VIEW("127.0.0.1:0"), &any));
	cr_assert_eq(socket_listen(&any, false, 0, &listen_fd), ERR_OK);
	cr_assert(socket_local_addr(listen_fd, &world.backends[0].address));
	world_build(&world, &gen);
}

static void begin(unsigned n_workers)
{
	begin_with(n_workers, 1);
}

static void finish(void)
{
	for (unsigned i = 0; i < world.n_workers; i++)
		upconn_close_idle(&world.pws[i], gen.pool.backends[0]);
	cr_expect_eq(atomic_load(&gen.pool.backends[0]->n_upconns), 0);
	for (unsigned i = 0; i < world.n_workers; i++) {
		cr_expect_eq(world.pws[i].upconns.n_live, 0);
		cr_expect_eq(buf_pool_live(&world.pws[i].bufs), 0);
	}
	world_release(&world, &gen);
	world_fini(&world);
	close(listen_fd);
}

/* ---- one exchange after the other, seen from the pool ---- */

struct user {
	struct lease lease;
	struct upconn *up;
	unsigned worker;
	int connected; /* times the callback came */
	enum err err;
	bool reused;
};

static void on_connected(struct stream *stream, enum err err)
{
	struct upconn *up = container_of(stream, struct upconn, stream);
	struct user *user = up->owner;
	user->connected++;
	user->err = err;
}

static void on_other(struct stream *stream)
{
	(void)stream;
	cr_assert_fail("nothing was to happen on a busy connection");
}

static const struct stream_events events = {
    .connected = on_connected,
    .readable = on_other,
    .drained = on_other,
    .broken = on_other,
};

static const struct upconn_intro no_intro;

static enum err open_up(struct user *user)
{
	struct pool_worker *pw = &world.pws[user->worker];
	bool connected;
	cr_assert_eq(pool_take(&gen.views[user->worker], pw, NULL, 0, &user->lease), POOL_TAKEN);
	user->up = upconn_take(&gen.views[user->worker], pw, user->lease.backend, 0, &events, user);
	user->reused = user->up != NULL;
	if (user->up)
		return ERR_OK;
	enum err err = upconn_connect(pw, user->lease.backend, &gen.views[user->worker], &no_intro,
				      &events, user, &user->up, &connected);
	if (err) {
		lease_drop(&user->lease, true, 0);
		return err;
	}
	for (int i = 0; i < 200 && !connected && !user->connected; i++) {
		poll(NULL, 0, 1);
		ev_run(world.loops[user->worker].ev, EVRUN_NOWAIT);
	}
	cr_assert(connected || user->connected == 1);
	return user->err;
}

static void done(struct user *user, bool keep)
{
	if (keep)
		upconn_release(user->up, &world.conf);
	else
		upconn_close(user->up);
	lease_drop(&user->lease, false, 0);
}

static struct user begin_user(unsigned worker)
{
	return (struct user){.worker = worker};
}

static uint32_t n_idle(unsigned worker)
{
	return gen.pool.backends[0]->local[worker]->n_idle;
}

static int accept_one(void)
{
	struct addr peer;
	int fd = -1;
	for (int i = 0; i < 200 && fd < 0; i++) {
		cr_assert_eq(socket_accept(listen_fd, &peer, &fd), ERR_OK);
		if (fd < 0)
			poll(NULL, 0, 1);
	}
	cr_assert_geq(fd, 0);
	return fd;
}

/* The loop turns as if `us` had passed. */
static void pass_time(unsigned worker, uint64_t us)
{
	struct loop *loop = &world.loops[worker];
	loop->now_us += us;
	timer_wheel_run(&loop->timers, loop->now_us);
}

/* ---- reuse ---- */

Test(upconn, last_in_first_out)
{
	begin(1);
	struct user a = begin_user(0), b = begin_user(0), c = begin_user(0);
	cr_assert_eq(open_up(&a), ERR_OK);
	cr_assert_eq(open_up(&b), ERR_OK);
	struct upconn *first = a.up, *second = b.up;
	done(&a, true);
	done(&b, true);
	cr_expect_eq(n_idle(0), 2);
	cr_assert_eq(open_up(&c), ERR_OK);
	cr_expect(c.reused);
	cr_expect_eq(c.up, second);
	cr_expect(upconn_is_reused(c.up));
	a = begin_user(0);
	cr_assert_eq(open_up(&a), ERR_OK);
	cr_expect_eq(a.up, first);
	cr_expect_eq(n_idle(0), 0);
	cr_expect_eq(counter_get(&gen.pool.backends[0]->local[0]->counters.connects), 2);
	done(&a, false);
	done(&c, false);
	finish();
}

Test(upconn, workers_do_not_share)
{
	begin(2);
	struct user a = begin_user(0), b = begin_user(1);
	cr_assert_eq(open_up(&a), ERR_OK);
	done(&a, true);
	cr_assert_eq(open_up(&b), ERR_OK);
	cr_expect_not(b.reused);
	done(&b, true);
	cr_expect_eq(n_idle(0), 1);
	cr_expect_eq(n_idle(1), 1);
	finish();
}

Test(upconn, refused)
{
	begin(1);
	close(listen_fd);
	listen_fd = -1;
	struct user a = begin_user(0);
	cr_expect_eq(open_up(&a), ERR_REFUSED);
	if (a.up)
		done(&a, false);
	finish();
}

Test(upconn, requests_per_connection)
{
	begin(1);
	world.conf.keepalive.requests = 3;
	for (int i = 0; i < 7; i++) {
		struct user a = begin_user(0);
		cr_assert_eq(open_up(&a), ERR_OK);
		cr_expect_eq(a.reused, i % 3 != 0, "request %d", i);
		done(&a, true);
	}
	finish();
}

Test(upconn, keepalive_off)
{
	begin(1);
	world.conf.keepalive.idle_us = 0;
	struct user a = begin_user(0);
	cr_assert_eq(open_up(&a), ERR_OK);
	done(&a, true);
	cr_expect_eq(n_idle(0), 0);
	finish();
}

/* ---- bounds ---- */

/* A wave is kept for two seconds, within bounds. */
Test(upconn, max_idle_over_all_workers)
{
	enum { N = 20 };
	struct user users[N];
	begin(2);
	for (uint32_t max = 0; max <= 4; max++) {
		const uint32_t wave = max * 8 < N ? max * 8 : N;
		world.conf.keepalive.max_idle = max;
		for (unsigned i = 0; i < N; i++) {
			users[i] = begin_user(i % 2);
			cr_assert_eq(open_up(&users[i]), ERR_OK);
		}
		for (unsigned i = 0; i < N; i++)
			done(&users[i], true);
		cr_expect_eq(n_idle(0) + n_idle(1), wave, "of %u %u", max, n_idle(0) + n_idle(1));
		for (unsigned w = 0; w < 2; w++)
			pass_time(w, 2 * SECOND + SECOND / 10);
		cr_expect_eq(n_idle(0) + n_idle(1), max, "max_idle %u keeps %u", max,
			     n_idle(0) + n_idle(1));
	}
	finish();
}

Test(upconn, limit_of_connections)
{
	begin(1);
	world.conf.limits.connections = 2;
	struct user a = begin_user(0), b = begin_user(0), c = begin_user(0);
	cr_assert_eq(open_up(&a), ERR_OK);
	cr_assert_eq(open_up(&b), ERR_OK);
	cr_expect_eq(open_up(&c), ERR_FULL);
	cr_expect_eq(atomic_load(&gen.pool.backends[0]->n_upconns), 2);
	done(&a, true); /* idle, and still open */
	cr_expect_eq(atomic_load(&gen.pool.backends[0]->n_upconns), 2);
	c = begin_user(0);
	cr_expect_eq(open_up(&c), ERR_OK);
	cr_expect(c.reused);
	done(&b, false);
	done(&c, false);
	finish();
}

/* Idle connections of one worker must not keep all others from the backend. */
Test(upconn, limit_of_connections_leaves_room_for_other_workers)
{
	begin(2);
	world.conf.limits.connections = 2;
	struct user a = begin_user(0), b = begin_user(0), other = begin_user(1);
	cr_assert_eq(open_up(&a), ERR_OK);
	cr_assert_eq(open_up(&b), ERR_OK);
	done(&a, true);
	done(&b, true);
	cr_expect_eq(n_idle(0), 1);
	cr_assert_eq(open_up(&other), ERR_OK, "an idle backend is out of reach");
	done(&other, true);
	a = begin_user(0);
	cr_assert_eq(open_up(&a), ERR_OK);
	cr_expect(a.reused);
	done(&a, false);
	finish();
}

/* So does a wave: what is kept of it is what others may not open. */
Test(upconn, limit_of_connections_leaves_the_room_of_a_wave)
{
	enum { N = 8 };
	struct user users[N];
	begin(2);
	world.conf.limits.connections = N;
	world.conf.keepalive.max_idle = 1;
	for (unsigned worker = 0; worker < 2; worker++) {
		for (unsigned i = 0; i < N - worker; i++) {
			users[i] = begin_user(worker);
			cr_assert_eq(open_up(&users[i]), ERR_OK, "worker %u, %u", worker, i);
		}
		for (unsigned i = 0; i < N - worker; i++)
			done(&users[i], true);
	}
	finish();
}

/* ---- being opened ---- */

static enum pool_verdict look(unsigned worker)
{
	struct lease lease;
	enum pool_verdict verdict =
	    pool_take(&gen.views[worker], &world.pws[worker], NULL, 0, &lease);
	if (verdict == POOL_TAKEN)
		lease_drop(&lease, false, 0);
	return verdict;
}

/* Success lifts the bound: not where it is looked at. */
static void doubt(void)
{
	atomic_store(&gen.pool.backends[0]->connect_row, CONNECT_ROW_UNKNOWN);
}

Test(upconn, more_are_opened_while_they_succeed)
{
	struct user users[17];
	begin(1);
	world.conf.limits.connecting = 1;
	users[0] = begin_user(0);
	cr_assert_eq(open_up(&users[0]), ERR_OK);
	cr_expect_eq(look(0), POOL_CROWDED);
	upconn_opened(users[0].up);
	for (unsigned i = 1; i < 17; i++) {
		users[i] = begin_user(0);
		cr_expect_eq(look(0), POOL_TAKEN);
		cr_assert_eq(open_up(&users[i]), ERR_OK);
	}
	cr_expect_eq(look(0), POOL_CROWDED);
	pool_note_refused(&gen.views[0], &world.pws[0], gen.pool.backends[0]);
	cr_expect_neq(atomic_load(&gen.pool.backends[0]->connect_row), CONNECT_ROW_OPENS);
	for (unsigned i = 0; i < 17; i++)
		done(&users[i], false);
	finish();
}

Test(upconn, only_so_many_are_opened_at_once)
{
	struct user users[4];
	begin(2);
	world.conf.limits.connecting = 3;
	for (unsigned i = 0; i < 3; i++) {
		users[i] = begin_user(i % 2);
		cr_assert_eq(look(i % 2), POOL_TAKEN);
		cr_assert_eq(open_up(&users[i]), ERR_OK);
	}
	cr_expect_eq(look(0), POOL_CROWDED);
	cr_expect_eq(look(1), POOL_CROWDED);
	upconn_opened(users[1].up);
	upconn_opened(users[1].up); /* again: no harm */
	doubt();
	cr_expect_eq(look(0), POOL_TAKEN);
	users[3] = begin_user(0);
	cr_assert_eq(open_up(&users[3]), ERR_OK);
	cr_expect_eq(look(0), POOL_CROWDED);
	done(&users[0], false); /* given up: as good as opened */
	cr_expect_eq(look(0), POOL_TAKEN);
	for (unsigned i = 1; i < 4; i++)
		done(&users[i], false);
	cr_expect_eq(atomic_load(&gen.pool.backends[0]->n_opening), 0);
	finish();
}

/* Who was picked a moment before it was full does not open one more. */
Test(upconn, connecting_holds_for_those_who_have_a_lease)
{
	struct lease early;
	struct upconn *up;
	bool connected;
	begin(1);
	world.conf.limits.connecting = 1;
	struct user a = begin_user(0);
	cr_assert_eq(pool_take(&gen.views[0], &world.pws[0], NULL, 0, &early), POOL_TAKEN);
	cr_assert_eq(open_up(&a), ERR_OK);
	cr_expect_eq(upconn_connect(&world.pws[0], early.backend, &gen.views[0], &no_intro, &events,
				    NULL, &up, &connected),
		     ERR_BUSY);
	cr_expect_eq(atomic_load(&early.backend->n_upconns), 1);
	lease_drop(&early, false, 0);
	done(&a, false);
	finish();
}

/* The connections a worker has are not kept from it; another worker has none of them. */
Test(upconn, a_kept_one_serves_while_no_more_may_be_opened)
{
	begin(2);
	world.conf.limits.connecting = 1;
	struct user kept = begin_user(0), opening = begin_user(1), next = begin_user(0);
	cr_assert_eq(open_up(&kept), ERR_OK);
	upconn_opened(kept.up);
	doubt();
	done(&kept, true);
	cr_assert_eq(open_up(&opening), ERR_OK);
	cr_expect_eq(look(1), POOL_CROWDED);
	cr_expect_eq(look(0), POOL_TAKEN);
	cr_assert_eq(open_up(&next), ERR_OK);
	cr_expect(next.reused);
	cr_expect_eq(look(0), POOL_CROWDED);
	done(&next, false);
	done(&opening, false);
	finish();
}

Test(upconn, fewer_are_opened_at_once_while_connects_fail)
{
	static const unsigned most[] = {64, 16, 4, 1, 1, 1};
	struct user users[64];
	begin(1);
	world.conf.limits.connecting = 64;
	struct backend *b = gen.pool.backends[0];
	for (unsigned row = 0; row < ARRAY_LEN(most); row++) {
		unsigned n = 0;
		for (; look(0) == POOL_TAKEN; n++) {
			users[n] = begin_user(0);
			cr_assert_eq(open_up(&users[n]), ERR_OK);
		}
		cr_expect_eq(n, most[row], "%u after %u failures", n, row);
		while (n)
			done(&users[--n], false);
		pool_note_refused(&gen.views[0], &world.pws[0], b);
	}
	users[0] = begin_user(0);
	cr_assert_eq(open_up(&users[0]), ERR_OK);
	upconn_opened(users[0].up);
	cr_expect_eq(atomic_load(&b->connect_row), CONNECT_ROW_OPENS, "one success forgives all");
	done(&users[0], false);
	finish();
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
		begin(1);
		world.conf.limits.connecting = 1;
		struct user busy = begin_user(0), opening = begin_user(0);
		cr_assert_eq(open_up(&busy), ERR_OK);
		upconn_opened(busy.up);
		doubt();
		cr_assert_eq(open_up(&opening), ERR_OK);
		cr_assert_eq(look(0), POOL_CROWDED);
		cr_assert_eq(pool_queue_push(&gen.views[0], &g.waiter, 1), ERR_OK);
		world_turn(&world);
		cr_assert(!g.served);
		if (way == 0)
			upconn_opened(opening.up);
		else if (way == 1)
			done(&opening, false);
		else
			done(&busy, true);
		world_turn(&world);
		cr_expect(g.served, "way %d wakes nobody", way);
		lease_drop(&g.lease, false, 0);
		if (way != 1)
			done(&opening, false);
		if (way != 2)
			done(&busy, false);
		finish();
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
	begin_with(1, 2);
	world.conf.limits.connecting = 1;
	world.conf.queue.length = 1;
	gen.pool.limited = true;
	gen.pool.max_requests[1] = 1;
	pool_view_refresh(&gen.views[0]);
	struct pool_view *view = &gen.views[0];
	struct pool_worker *pw = &world.pws[0];
	cr_assert_eq(pool_take_pinned(view, pw, 1, &slot), POOL_TAKEN);
	struct user opening = begin_user(0);
	cr_assert_eq(open_up(&opening), ERR_OK);
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
	done(&opening, false);
	finish();
}

Test(upconn, retired_backends_keep_nothing)
{
	begin(1);
	struct user a = begin_user(0), b = begin_user(0);
	cr_assert_eq(open_up(&a), ERR_OK);
	cr_assert_eq(open_up(&b), ERR_OK);
	done(&a, true);
	gen.pool.backends[0]->local[0]->retired = true;
	upconn_close_idle(&world.pws[0], gen.pool.backends[0]);
	cr_expect_eq(n_idle(0), 0);
	done(&b, true);
	cr_expect_eq(n_idle(0), 0);
	finish();
}

/* ---- time ---- */

struct idle_case {
	uint64_t configured, announced, learned, limit;
};

static bool kept_after(const struct idle_case *c, uint64_t us)
{
	begin(1); /* anew: the clock of a world only goes forward */
	world.conf.keepalive.idle_us = c->configured;
	if (c->learned)
		atomic_store(&gen.pool.backends[0]->learned_idle_us, c->learned);
	struct user a = begin_user(0);
	cr_assert_eq(open_up(&a), ERR_OK);
	if (c->announced)
		a.up->idle_limit_us = c->announced;
	done(&a, true);
	pass_time(0, us);
	bool kept = n_idle(0) == 1;
	finish();
	return kept;
}

Test(upconn, idle_limits)
{
	static const struct idle_case cases[] = {
	    {30 * SECOND, 0, 0, 30 * SECOND},
	    /* half a second before the backend does */
	    {30 * SECOND, 5 * SECOND, 0, 4500000},
	    {30 * SECOND, 0, 5 * SECOND, 4500000},
	    {30 * SECOND, 5 * SECOND, 3 * SECOND, 2500000},
	    {30 * SECOND, 3 * SECOND, 5 * SECOND, 2500000},
	    {2 * SECOND, 5 * SECOND, 9 * SECOND, 2 * SECOND},
	    /* a very short one: half of it */
	    {30 * SECOND, 1 * SECOND, 0, 500000},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		cr_expect(kept_after(&cases[i], cases[i].limit - 20000), "case %zu", i);
		cr_expect_not(kept_after(&cases[i], cases[i].limit + 20000), "case %zu", i);
	}
}

/* The peer closes; `waited_us` after the connection became idle. */
static void peer_closes_after(uint64_t waited_us)
{
	struct user a = begin_user(0);
	cr_assert_eq(open_up(&a), ERR_OK);
	int fd = accept_one();
	done(&a, true);
	cr_assert_eq(n_idle(0), 1);
	struct upconn *up =
	    list_first(&gen.pool.backends[0]->local[0]->idle, struct upconn, idle_link);
	up->idle_since_us -= waited_us;
	close(fd);
	for (int i = 0; i < 200 && n_idle(0); i++) {
		poll(NULL, 0, 1);
		ev_run(world.loops[0].ev, EVRUN_NOWAIT);
	}
	cr_expect_eq(n_idle(0), 0, "a closed connection is not kept");
}

Test(upconn, learns_when_the_backend_closes_idle_connections)
{
	begin(1);
	_Atomic uint64_t *learned = &gen.pool.backends[0]->learned_idle_us;
	peer_closes_after(0);
	cr_expect_eq(atomic_load(learned), UINT64_MAX, "a close at once is no timeout");
	peer_closes_after(5 * SECOND);
	cr_expect_geq(atomic_load(learned), 5 * SECOND);
	cr_expect_lt(atomic_load(learned), 6 * SECOND);
	peer_closes_after(4 * SECOND); /* open_up would find none left: the limit is 4.5 s */
	cr_expect_lt(atomic_load(learned), 5 * SECOND);
	uint64_t now = atomic_load(learned);
	peer_closes_after(5 * SECOND);
	cr_expect_eq(atomic_load(learned), now, "the shortest counts");
	finish();
}

Test(upconn, what_was_learned_fades)
{
	begin(1);
	_Atomic uint64_t *learned = &gen.pool.backends[0]->learned_idle_us;
	atomic_store(learned, 5 * SECOND);
	uint64_t now = 0;
	for (int i = 0; i < 45; i++)
		pool_registry_tick(&world.reg, now += SECOND);
	cr_expect_geq(atomic_load(learned), 9 * SECOND);
	cr_expect_leq(atomic_load(learned), 11 * SECOND);
	for (int i = 0; i < 600; i++)
		pool_registry_tick(&world.reg, now += SECOND);
	cr_expect_eq(atomic_load(learned), UINT64_MAX);
	finish();
}

/* ---- peers ---- */

Test(upconn, bytes_nobody_asked_for_end_a_kept_connection)
{
	begin(1);
	struct user a = begin_user(0);
	cr_assert_eq(open_up(&a), ERR_OK);
	int fd = accept_one();
	done(&a, true);
	cr_assert_eq(write(fd, "HTTP/1.1 408 Request Timeout\r\n\r\n", 32), 32);
	for (int i = 0; i < 200 && n_idle(0); i++) {
		poll(NULL, 0, 1);
		ev_run(world.loops[0].ev, EVRUN_NOWAIT);
	}
	cr_expect_eq(n_idle(0), 0);
	close(fd);
	finish();
}

Test(upconn, unsent_bytes_are_not_kept)
{
	static char lots[65536];
	begin(1);
	struct user a = begin_user(0);
	cr_assert_eq(open_up(&a), ERR_OK);
	int small = 4096;
	setsockopt(stream_fd(&a.up->stream), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	for (int i = 0; i < 200 && !stream_pending(&a.up->stream); i++)
		stream_write(&a.up->stream, lots, 8000);
	cr_assert_gt(stream_pending(&a.up->stream), 0);
	done(&a, true);
	cr_expect_eq(n_idle(0), 0);
	finish();
}

Test(upconn, a_paused_connection_listens_again_when_kept)
{
	begin(1);
	struct user a = begin_user(0);
	cr_assert_eq(open_up(&a), ERR_OK);
	int fd = accept_one();
	stream_pause(&a.up->stream);
	done(&a, true);
	close(fd);
	for (int i = 0; i < 200 && n_idle(0); i++) {
		poll(NULL, 0, 1);
		ev_run(world.loops[0].ev, EVRUN_NOWAIT);
	}
	cr_expect_eq(n_idle(0), 0, "the close was not seen");
	finish();
}

Test(upconn, no_memory_gives_all_back)
{
	begin(1);
	world.pws[0].upconns.max = 1;
	struct user a = begin_user(0), b = begin_user(0);
	cr_assert_eq(open_up(&a), ERR_OK);
	cr_expect_eq(open_up(&b), ERR_NOMEM);
	cr_expect_eq(atomic_load(&gen.pool.backends[0]->n_upconns), 1);
	done(&a, false);
	finish();
}

Test(upconn, closing_twice_ends_the_process, .signal = SIGABRT)
{
	begin(1);
	struct user a = begin_user(0);
	cr_assert_eq(open_up(&a), ERR_OK);
	upconn_close(a.up);
	upconn_close(a.up);
}
