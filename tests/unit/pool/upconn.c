/* SPDX-License-Identifier: MIT */
/* Upstream connections over loopback: kept, used again, given up. */
#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "upconns.h"
#include "weir/net/socket.h"

#define SECOND UINT64_C(1000000)

/* ---- reuse ---- */

Test(upconn, last_in_first_out)
{
	upconns_begin(1);
	struct user a = user_new(0), b = user_new(0), c = user_new(0);
	cr_assert_eq(user_open(&a), ERR_OK);
	cr_assert_eq(user_open(&b), ERR_OK);
	struct upconn *first = a.up, *second = b.up;
	user_done(&a, true);
	user_done(&b, true);
	cr_expect_eq(upconns_idle(0), 2);
	cr_assert_eq(user_open(&c), ERR_OK);
	cr_expect(c.reused);
	cr_expect_eq(c.up, second);
	cr_expect(upconn_is_reused(c.up));
	a = user_new(0);
	cr_assert_eq(user_open(&a), ERR_OK);
	cr_expect_eq(a.up, first);
	cr_expect_eq(upconns_idle(0), 0);
	cr_expect_eq(counter_get(&upconns_gen.pool.backends[0]->local[0]->counters.connects), 2);
	user_done(&a, false);
	user_done(&c, false);
	upconns_finish();
}

/* They have been looked at for nothing. */
Test(upconn, those_of_the_turns_before_come_first)
{
	upconns_begin(1);
	struct user a = user_new(0), b = user_new(0), c = user_new(0);
	cr_assert_eq(user_open(&a), ERR_OK);
	cr_assert_eq(user_open(&b), ERR_OK);
	struct upconn *first = a.up, *second = b.up;
	user_done(&a, true);
	ev_run(upconns_world.loops[0].ev, EVRUN_NOWAIT);
	user_done(&b, true);
	cr_assert_eq(user_open(&c), ERR_OK);
	cr_expect_eq(c.up, first);
	a = user_new(0);
	cr_assert_eq(user_open(&a), ERR_OK);
	cr_expect_eq(a.up, second);
	user_done(&a, false);
	user_done(&c, false);
	upconns_finish();
}

Test(upconn, what_comes_before_the_next_turn_ends_a_kept_connection)
{
	upconns_begin(1);
	struct user a = user_new(0), b = user_new(0);
	cr_assert_eq(user_open(&a), ERR_OK);
	int fd = upconns_accept();
	user_done(&a, true);
	cr_assert_eq(write(fd, "x", 1), 1);
	cr_assert_eq(user_open(&b), ERR_OK);
	cr_expect_not(b.reused);
	user_done(&b, true);
	cr_expect_eq(upconns_idle(0), 1);
	close(fd);
	upconns_finish();
}

Test(upconn, workers_do_not_share)
{
	upconns_begin(2);
	struct user a = user_new(0), b = user_new(1);
	cr_assert_eq(user_open(&a), ERR_OK);
	user_done(&a, true);
	cr_assert_eq(user_open(&b), ERR_OK);
	cr_expect_not(b.reused);
	user_done(&b, true);
	cr_expect_eq(upconns_idle(0), 1);
	cr_expect_eq(upconns_idle(1), 1);
	upconns_finish();
}

Test(upconn, refused)
{
	upconns_begin(1);
	close(upconns_listener);
	upconns_listener = -1;
	struct user a = user_new(0);
	cr_expect_eq(user_open(&a), ERR_REFUSED);
	if (a.up)
		user_done(&a, false);
	upconns_finish();
}

Test(upconn, requests_per_connection)
{
	upconns_begin(1);
	upconns_world.conf.keepalive.requests = 3;
	for (int i = 0; i < 7; i++) {
		struct user a = user_new(0);
		cr_assert_eq(user_open(&a), ERR_OK);
		cr_expect_eq(a.reused, i % 3 != 0, "request %d", i);
		user_done(&a, true);
	}
	upconns_finish();
}

Test(upconn, keepalive_off)
{
	upconns_begin(1);
	upconns_world.conf.keepalive.idle_us = 0;
	struct user a = user_new(0);
	cr_assert_eq(user_open(&a), ERR_OK);
	user_done(&a, true);
	cr_expect_eq(upconns_idle(0), 0);
	upconns_finish();
}

/* ---- bounds ---- */

/* A wave is kept for two seconds, within bounds. */
Test(upconn, max_idle_over_all_workers)
{
	enum { N = 20 };
	struct user users[N];
	upconns_begin(2);
	for (uint32_t max = 0; max <= 4; max++) {
		const uint32_t wave = max * 8 < N ? max * 8 : N;
		upconns_world.conf.keepalive.max_idle = max;
		for (unsigned i = 0; i < N; i++) {
			users[i] = user_new(i % 2);
			cr_assert_eq(user_open(&users[i]), ERR_OK);
		}
		for (unsigned i = 0; i < N; i++)
			user_done(&users[i], true);
		cr_expect_eq(upconns_idle(0) + upconns_idle(1), wave, "of %u %u", max,
			     upconns_idle(0) + upconns_idle(1));
		for (unsigned w = 0; w < 2; w++)
			upconns_pass(w, 2 * SECOND + SECOND / 10);
		cr_expect_eq(upconns_idle(0) + upconns_idle(1), max, "max_idle %u keeps %u", max,
			     upconns_idle(0) + upconns_idle(1));
	}
	upconns_finish();
}

Test(upconn, limit_of_connections)
{
	upconns_begin(1);
	upconns_world.conf.limits.connections = 2;
	struct user a = user_new(0), b = user_new(0), c = user_new(0);
	cr_assert_eq(user_open(&a), ERR_OK);
	cr_assert_eq(user_open(&b), ERR_OK);
	cr_expect_eq(user_open(&c), ERR_FULL);
	cr_expect_eq(atomic_load(&upconns_gen.pool.backends[0]->n_upconns), 2);
	user_done(&a, true); /* idle, and still open */
	cr_expect_eq(atomic_load(&upconns_gen.pool.backends[0]->n_upconns), 2);
	c = user_new(0);
	cr_expect_eq(user_open(&c), ERR_OK);
	cr_expect(c.reused);
	user_done(&b, false);
	user_done(&c, false);
	upconns_finish();
}

/* Idle connections of one worker must not keep all others from the backend. */
Test(upconn, limit_of_connections_leaves_room_for_other_workers)
{
	upconns_begin(2);
	upconns_world.conf.limits.connections = 2;
	struct user a = user_new(0), b = user_new(0), other = user_new(1);
	cr_assert_eq(user_open(&a), ERR_OK);
	cr_assert_eq(user_open(&b), ERR_OK);
	user_done(&a, true);
	user_done(&b, true);
	cr_expect_eq(upconns_idle(0), 1);
	cr_assert_eq(user_open(&other), ERR_OK, "an idle backend is out of reach");
	user_done(&other, true);
	a = user_new(0);
	cr_assert_eq(user_open(&a), ERR_OK);
	cr_expect(a.reused);
	user_done(&a, false);
	upconns_finish();
}

/* So does a wave: what is kept of it is what others may not open. */
Test(upconn, limit_of_connections_leaves_the_room_of_a_wave)
{
	enum { N = 8 };
	struct user users[N];
	upconns_begin(2);
	upconns_world.conf.limits.connections = N;
	upconns_world.conf.keepalive.max_idle = 1;
	for (unsigned worker = 0; worker < 2; worker++) {
		for (unsigned i = 0; i < N - worker; i++) {
			users[i] = user_new(worker);
			cr_assert_eq(user_open(&users[i]), ERR_OK, "worker %u, %u", worker, i);
		}
		for (unsigned i = 0; i < N - worker; i++)
			user_done(&users[i], true);
	}
	upconns_finish();
}

Test(upconn, retired_backends_keep_nothing)
{
	upconns_begin(1);
	struct user a = user_new(0), b = user_new(0);
	cr_assert_eq(user_open(&a), ERR_OK);
	cr_assert_eq(user_open(&b), ERR_OK);
	user_done(&a, true);
	upconns_gen.pool.backends[0]->local[0]->retired = true;
	upconn_close_idle(&upconns_world.pws[0], upconns_gen.pool.backends[0]);
	cr_expect_eq(upconns_idle(0), 0);
	user_done(&b, true);
	cr_expect_eq(upconns_idle(0), 0);
	upconns_finish();
}

/* ---- time ---- */

struct idle_case {
	uint64_t configured, announced, learned, limit;
};

static bool kept_after(const struct idle_case *c, uint64_t us)
{
	upconns_begin(1); /* anew: the clock of a world only goes forward */
	upconns_world.conf.keepalive.idle_us = c->configured;
	if (c->learned)
		atomic_store(&upconns_gen.pool.backends[0]->learned_idle_us, c->learned);
	struct user a = user_new(0);
	cr_assert_eq(user_open(&a), ERR_OK);
	if (c->announced)
		a.up->idle_limit_us = c->announced;
	user_done(&a, true);
	upconns_pass(0, us);
	bool kept = upconns_idle(0) == 1;
	upconns_finish();
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

static void until_none_is_idle(void)
{
	for (int i = 0; i < 200 && upconns_idle(0); i++) {
		poll(NULL, 0, 1);
		ev_run(upconns_world.loops[0].ev, EVRUN_NOWAIT);
	}
	cr_expect_eq(upconns_idle(0), 0, "a closed connection is not kept");
}

/* The backend closes them all at once, when each has been idle for so long. */
static void peer_closes_all(const uint64_t *waited_us, size_t n)
{
	int fds[4];
	struct user users[4];
	for (size_t i = 0; i < n; i++) {
		users[i] = user_new(0);
		cr_assert_eq(user_open(&users[i]), ERR_OK);
		fds[i] = upconns_accept();
	}
	for (size_t i = 0; i < n; i++) {
		struct upconn *up = users[i].up;
		user_done(&users[i], true);
		up->idle_since_us -= waited_us[i];
	}
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
	until_none_is_idle();
}

/* Nothing was closed lately. */
static void another_moment(void)
{
	atomic_store(&upconns_gen.pool.backends[0]->closes.began_us, 0);
}

static void peer_closes_after(uint64_t waited_us)
{
	another_moment();
	peer_closes_all(&waited_us, 1);
}

Test(upconn, learns_when_the_backend_closes_idle_connections)
{
	upconns_begin(1);
	_Atomic uint64_t *learned = &upconns_gen.pool.backends[0]->learned_idle_us;
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
	upconns_finish();
}

Test(upconn, a_restart_of_the_backend_is_no_idle_timeout)
{
	upconns_begin(1);
	_Atomic uint64_t *learned = &upconns_gen.pool.backends[0]->learned_idle_us;
	peer_closes_all((uint64_t[]){9 * SECOND, 1 * SECOND, 3 * SECOND}, 3);
	cr_expect_eq(atomic_load(learned), UINT64_MAX, "they have no age in common");
	another_moment();
	peer_closes_all((uint64_t[]){SECOND, 0}, 2);
	cr_expect_eq(atomic_load(learned), UINT64_MAX, "one has just been used");
	another_moment();
	peer_closes_all((uint64_t[]){6 * SECOND, 5 * SECOND}, 2);
	cr_expect_geq(atomic_load(learned), 5 * SECOND, "of one burst, and a timeout");
	cr_expect_lt(atomic_load(learned), 6 * SECOND);
	uint64_t now = atomic_load(learned);
	another_moment();
	peer_closes_all((uint64_t[]){3 * SECOND, SECOND}, 2);
	cr_expect_eq(atomic_load(learned), now, "what was known before is known still");
	upconns_finish();
}

Test(upconn, what_was_learned_fades)
{
	upconns_begin(1);
	_Atomic uint64_t *learned = &upconns_gen.pool.backends[0]->learned_idle_us;
	atomic_store(learned, 5 * SECOND);
	uint64_t now = 0;
	for (int i = 0; i < 45; i++)
		pool_registry_tick(&upconns_world.reg, now += SECOND);
	cr_expect_geq(atomic_load(learned), 9 * SECOND);
	cr_expect_leq(atomic_load(learned), 11 * SECOND);
	for (int i = 0; i < 600; i++)
		pool_registry_tick(&upconns_world.reg, now += SECOND);
	cr_expect_eq(atomic_load(learned), UINT64_MAX);
	upconns_finish();
}

/* ---- peers ---- */

Test(upconn, bytes_nobody_asked_for_end_a_kept_connection)
{
	upconns_begin(1);
	struct user a = user_new(0);
	cr_assert_eq(user_open(&a), ERR_OK);
	int fd = upconns_accept();
	user_done(&a, true);
	cr_assert_eq(write(fd, "HTTP/1.1 408 Request Timeout\r\n\r\n", 32), 32);
	for (int i = 0; i < 200 && upconns_idle(0); i++) {
		poll(NULL, 0, 1);
		ev_run(upconns_world.loops[0].ev, EVRUN_NOWAIT);
	}
	cr_expect_eq(upconns_idle(0), 0);
	close(fd);
	upconns_finish();
}

Test(upconn, unsent_bytes_are_not_kept)
{
	static char lots[65536];
	upconns_begin(1);
	struct user a = user_new(0);
	cr_assert_eq(user_open(&a), ERR_OK);
	int small = 4096;
	setsockopt(stream_fd(&a.up->stream), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	for (int i = 0; i < 200 && !stream_pending(&a.up->stream); i++)
		stream_write(&a.up->stream, lots, 8000);
	cr_assert_gt(stream_pending(&a.up->stream), 0);
	user_done(&a, true);
	cr_expect_eq(upconns_idle(0), 0);
	upconns_finish();
}

Test(upconn, a_paused_connection_listens_again_when_kept)
{
	upconns_begin(1);
	struct user a = user_new(0);
	cr_assert_eq(user_open(&a), ERR_OK);
	int fd = upconns_accept();
	stream_pause(&a.up->stream);
	user_done(&a, true);
	close(fd);
	for (int i = 0; i < 200 && upconns_idle(0); i++) {
		poll(NULL, 0, 1);
		ev_run(upconns_world.loops[0].ev, EVRUN_NOWAIT);
	}
	cr_expect_eq(upconns_idle(0), 0, "the close was not seen");
	upconns_finish();
}

Test(upconn, no_memory_gives_all_back)
{
	upconns_begin(1);
	upconns_world.pws[0].upconns.max = 1;
	struct user a = user_new(0), b = user_new(0);
	cr_assert_eq(user_open(&a), ERR_OK);
	cr_expect_eq(user_open(&b), ERR_NOMEM);
	cr_expect_eq(atomic_load(&upconns_gen.pool.backends[0]->n_upconns), 1);
	user_done(&a, false);
	upconns_finish();
}

Test(upconn, closing_twice_ends_the_process, .signal = SIGABRT)
{
	upconns_begin(1);
	struct user a = user_new(0);
	cr_assert_eq(user_open(&a), ERR_OK);
	upconn_close(a.up);
	upconn_close(a.up);
}
