/* SPDX-License-Identifier: MIT */
/* Pipes between sockets: nothing is lost, ends are told from waits, and there is a bound. */
#include "fixture.h"

#include "weir/net/pipe.h"

#define PIECE 50000

static int in[2], out[2];
static char sent[PIECE], got[PIECE];

static void make_sockets(void)
{
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, in), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, out), 0);
	for (size_t i = 0; i < PIECE; i++)
		sent[i] = (char)(i * 31 + i / 251);
}

static void close_sockets(void)
{
	for (int i = 0; i < 2; i++) {
		close(in[i]);
		close(out[i]);
	}
}

Test(pipe, bytes_arrive_as_they_were)
{
	struct pipe_pool pool;
	size_t n, have = 0;
	make_sockets();
	pipe_pool_init(&pool, 1);
	struct pipe *pipe = pipe_get(&pool);
	cr_assert_eq(write(in[1], sent, PIECE), PIECE);
	while (have < PIECE) {
		cr_assert_eq(pipe_fill(pipe, in[0], PIECE - have, &n), IO_OK);
		cr_assert_eq(pipe->held, n);
		cr_assert_eq(pipe_drain(pipe, out[0]), IO_OK);
		ssize_t k;
		for (size_t part = 0; part < n; part += (size_t)k)
			cr_assert_gt(k = read(out[1], got + have + part, n - part), 0);
		have += n;
	}
	cr_expect_arr_eq(got, sent, PIECE);
	pipe_put(pipe);
	pipe_pool_fini(&pool);
	close_sockets();
}

Test(pipe, no_more_is_taken_than_asked_for)
{
	struct pipe_pool pool;
	size_t n;
	make_sockets();
	pipe_pool_init(&pool, 1);
	struct pipe *pipe = pipe_get(&pool);
	cr_assert_eq(write(in[1], "abcdef", 6), 6);
	cr_assert_eq(pipe_fill(pipe, in[0], 4, &n), IO_OK);
	cr_expect_eq(n, 4);
	cr_expect_eq(read(in[0], got, 10), 2, "the rest is still there");
	cr_expect_eq(pipe_drain(pipe, out[0]), IO_OK);
	pipe_put(pipe);
	pipe_pool_fini(&pool);
	close_sockets();
}

Test(pipe, nothing_there_the_end_and_a_break)
{
	struct pipe_pool pool;
	size_t n = 7;
	make_sockets();
	pipe_pool_init(&pool, 1);
	struct pipe *pipe = pipe_get(&pool);
	cr_expect_eq(pipe_fill(pipe, in[0], 100, &n), IO_WAIT);
	cr_expect_eq(n, 0);
	shutdown(in[1], SHUT_WR);
	cr_expect_eq(pipe_fill(pipe, in[0], 100, &n), IO_EOF);
	cr_expect_eq(pipe_fill(pipe, -1, 100, &n), IO_ERR);
	cr_expect_eq(pipe->held, 0);
	pipe_put(pipe);
	pipe_pool_fini(&pool);
	close_sockets();
}

Test(pipe, a_bound_and_no_leftovers)
{
	struct pipe_pool pool;
	size_t n;
	make_sockets();
	pipe_pool_init(&pool, 2);
	struct pipe *a = pipe_get(&pool), *b = pipe_get(&pool);
	cr_assert(a && b);
	cr_expect_null(pipe_get(&pool), "the bound");
	pipe_put(b);
	cr_expect_eq(pipe_get(&pool), b, "it is used again");
	cr_assert_eq(write(in[1], "abc", 3), 3);
	cr_assert_eq(pipe_fill(a, in[0], 3, &n), IO_OK);
	pipe_put(a);
	cr_expect_eq(atomic_load(&pool.n), 1, "one with bytes in it is of no use to others");
	pipe_put(b);
	pipe_put(NULL);
	pipe_pool_fini(&pool);
	cr_expect_eq(atomic_load(&pool.n), 0);
	close_sockets();
}

Test(pipe, none_at_all)
{
	struct pipe_pool pool;
	pipe_pool_init(&pool, 0);
	cr_expect_null(pipe_get(&pool));
	pipe_pool_fini(&pool);
}

/* ---- by a stream ---- */

/* Until the peer's socket is full and a pipe is left with bytes in it; how many went in. */
static size_t fill_the_peer(struct pipe_pool *pool)
{
	size_t n, all = 0;
	enum io io = IO_OK;
	while (io == IO_OK) {
		struct pipe *pipe = pipe_get(pool);
		cr_assert_eq(write(in[1], sent, 20000), 20000);
		cr_assert_eq(pipe_fill(pipe, in[0], 20000, &n), IO_OK);
		all += n;
		io = stream_write_pipe(&fx.s, pipe);
	}
	cr_assert_eq(io, IO_WAIT);
	return all;
}

Test(pipe, what_a_stream_cannot_write_stays_in_its_pipe)
{
	struct pipe_pool pool;
	size_t have = 0, want;
	fixture_pair();
	make_sockets();
	pipe_pool_init(&pool, 8);
	want = fill_the_peer(&pool);
	cr_expect_gt(stream_pending(&fx.s), 0);
	cr_expect_eq(stream_write(&fx.s, "end", 3), IO_WAIT, "what comes behind waits behind");
	for (int i = 0; i < 1000 && !fx.n_drained; i++) {
		have += peer_read(got, sizeof(got));
		fixture_turn();
	}
	have += peer_read(got, sizeof(got));
	cr_expect_eq(fx.n_drained, 1);
	cr_expect_eq(stream_pending(&fx.s), 0);
	cr_expect_eq(have, want + 3);
	fixture_fini();
	pipe_pool_fini(&pool);
	close_sockets();
}

Test(pipe, a_closed_stream_lets_go_of_its_pipe)
{
	struct pipe_pool pool;
	fixture_pair();
	make_sockets();
	pipe_pool_init(&pool, 8);
	fill_the_peer(&pool);
	stream_close(&fx.s);
	fixture_fini();
	pipe_pool_fini(&pool);
	close_sockets();
}
