/* SPDX-License-Identifier: MIT */
/* Streams: short writes, pauses, closing inside callbacks, peers that break. */
#include "fixture.h"

#include "weir/base/addr.h"

static char sent[BUF_MAX * 2], got[BUF_MAX * 2];

static void fill(void)
{
	for (size_t i = 0; i < sizeof(sent); i++)
		sent[i] = (char)(i * 31 + i / 251);
}

/* ---- writing ---- */

Test(stream, a_short_write_is_kept_and_goes_out_in_order)
{
	fill();
	fixture_pair();
	cr_assert_eq(stream_write(&fx.s, sent, 60000), IO_WAIT);
	cr_assert_gt(stream_pending(&fx.s), 0);
	/* what comes behind waits behind */
	cr_assert_eq(stream_write(&fx.s, sent + 60000, 5), IO_WAIT);
	size_t n = 0;
	for (int i = 0; i < 1000 && !fx.n_drained; i++) {
		n += peer_read(got + n, sizeof(got) - n);
		fixture_turn();
	}
	n += peer_read(got + n, sizeof(got) - n);
	cr_expect_eq(fx.n_drained, 1);
	cr_assert_eq(n, 60005);
	cr_expect_arr_eq(got, sent, n);
	cr_expect_eq(buf_pool_live(&fx.bufs), 0, "an empty buffer is given back at once");
	/* the write watcher is gone: a turn with room to write brings nothing */
	fixture_turn();
	cr_expect_eq(fx.n_drained, 1);
	fixture_fini();
}

Test(stream, what_the_kernel_takes_needs_no_buffer)
{
	fixture_pair();
	for (int i = 0; i < 10; i++) {
		cr_expect_eq(stream_write(&fx.s, "hello", 5), IO_OK);
		cr_expect_eq(peer_read(got, sizeof(got)), 5);
	}
	cr_expect_eq(buf_pool_live(&fx.bufs), 0);
	cr_expect_eq(stream_write(&fx.s, "", 0), IO_OK);
	fixture_turn();
	cr_expect_eq(fx.n_drained, 0);
	fixture_fini();
}

Test(stream, no_more_than_BUF_MAX_is_kept)
{
	fill();
	fixture_pair();
	cr_assert_eq(stream_write(&fx.s, sent, BUF_MAX), IO_WAIT);
	size_t pending = stream_pending(&fx.s);
	errno = 0;
	cr_expect_eq(stream_write(&fx.s, sent, BUF_MAX - pending + 1), IO_ERR);
	cr_expect_eq(errno, ENOBUFS);
	cr_expect_eq(stream_pending(&fx.s), pending, "all or nothing");
	cr_expect_eq(stream_write(&fx.s, sent, BUF_MAX - pending), IO_WAIT);
	cr_expect_eq(stream_pending(&fx.s), BUF_MAX);
	cr_expect_eq(stream_write(&fx.s, "", 0), IO_WAIT);
	fixture_fini();
}

Test(stream, no_memory)
{
	fill();
	fixture_pair();
	struct buf *all[4] = {0};
	for (int i = 0; i < 4; i++)
		cr_assert(all[i] = buf_get(&fx.bufs, BUF_MAX));
	cr_expect_eq(stream_write(&fx.s, sent, BUF_MAX), IO_ERR);
	for (int i = 0; i < 4; i++)
		buf_put(&fx.bufs, all[i]);
	fixture_fini();
}

Test(stream, unsent_counts_the_kernels_queue)
{
	fill();
	fixture_pair();
	cr_expect_eq(stream_unsent(&fx.s), 0);
	cr_assert_eq(stream_write(&fx.s, sent, 50000), IO_WAIT);
	size_t before = stream_unsent(&fx.s);
	cr_expect_gt(before, stream_pending(&fx.s));
	cr_assert_gt(peer_read(got, 1000), 0);
	peer_read(got, sizeof(got));
	cr_expect_lt(stream_unsent(&fx.s), before, "a peer that reads is seen");
	fixture_fini();
}

Test(stream, end_of_our_direction)
{
	fixture_pair();
	cr_assert_eq(stream_write(&fx.s, "bye", 3), IO_OK);
	stream_shutdown(&fx.s);
	cr_expect_eq(recv(fx.peer, got, 10, 0), 3);
	cr_expect_eq(recv(fx.peer, got, 10, 0), 0);
	cr_assert_eq(send(fx.peer, "yes?", 4, 0), 4); /* the other direction lives */
	fixture_until(&fx.n_readable);
	cr_expect_eq(fx.n_read, 4);
	fixture_fini();
}

Test(stream, closing_drops_what_was_not_written)
{
	fill();
	fixture_pair();
	cr_assert_eq(stream_write(&fx.s, sent, 60000), IO_WAIT);
	stream_close(&fx.s);
	cr_expect_not(stream_is_open(&fx.s));
	cr_expect_eq(buf_pool_live(&fx.bufs), 0);
	stream_close(&fx.s);
	fixture_turn();
	cr_expect_eq(fx.n_drained + fx.n_readable + fx.n_broken, 0);
	fixture_fini();
}

/* ---- reading ---- */

Test(stream, reads_and_end)
{
	fixture_pair();
	cr_assert_eq(send(fx.peer, "abc", 3, 0), 3);
	fixture_until(&fx.n_readable);
	cr_expect_eq(fx.n_read, 3);
	shutdown(fx.peer, SHUT_WR);
	fx.n_readable = 0;
	fixture_until(&fx.n_readable);
	cr_expect(fx.eof);
	cr_expect_eq(stream_write(&fx.s, "still here", 10), IO_OK);
	cr_expect_eq(peer_read(got, sizeof(got)), 10);
	fixture_fini();
}

Test(stream, paused_is_quiet)
{
	fixture_pair();
	stream_pause(&fx.s);
	stream_pause(&fx.s);
	cr_assert_eq(send(fx.peer, "abc", 3, 0), 3);
	for (int i = 0; i < 5; i++)
		fixture_turn();
	cr_expect_eq(fx.n_readable, 0);
	stream_resume(&fx.s);
	stream_resume(&fx.s);
	fixture_until(&fx.n_readable);
	cr_expect_eq(fx.n_read, 3);
	fixture_fini();
}

Test(stream, paused_still_writes)
{
	fill();
	fixture_pair();
	stream_pause(&fx.s);
	cr_assert_eq(send(fx.peer, "abc", 3, 0), 3);
	cr_assert_eq(stream_write(&fx.s, sent, 60000), IO_WAIT);
	for (int i = 0; i < 1000 && !fx.n_drained; i++) {
		peer_read(got, sizeof(got));
		fixture_turn();
	}
	cr_expect_eq(fx.n_drained, 1);
	cr_expect_eq(fx.n_readable, 0, "paused");
	stream_resume(&fx.s);
	fixture_until(&fx.n_readable);
	fixture_fini();
}

Test(stream, unread_bytes_come_again)
{
	fixture_pair();
	fx.leave_unread = true;
	cr_assert_eq(send(fx.peer, "abc", 3, 0), 3);
	fixture_until(&fx.n_readable);
	fixture_turn();
	fixture_turn();
	cr_expect_geq(fx.n_readable, 3, "level triggered");
	fixture_fini();
}

/* ---- closing inside callbacks ---- */

Test(stream, once_more_in_the_next_turn)
{
	fixture_pair();
	stream_again(&fx.s);
	stream_again(&fx.s);
	fixture_until(&fx.n_readable);
	cr_expect_eq(fx.n_readable, 1, "although nothing came");
	cr_expect_eq(fx.n_read, 0);
	cr_assert_eq(send(fx.peer, "abc", 3, 0), 3);
	stream_again(&fx.s);
	fx.n_readable = 1;
	for (int i = 0; i < 100 && !fx.n_read; i++)
		fixture_turn();
	cr_expect_eq(fx.n_readable, 2, "instead of the descriptor's own event");
	stream_again(&fx.s);
	stream_close(&fx.s);
	fixture_turn();
	cr_expect_eq(fx.n_readable, 2);
	fixture_fini();
}

Test(stream, bulk_is_read_after_what_is_small)
{
	fixture_pair();
	cr_expect(stream_put_off(&fx.s), "an event of the turn itself");
	fx.s.loop->running_due = true;
	cr_expect(!stream_put_off(&fx.s));
	fx.s.loop->running_due = false;
	for (int i = 0; i < 3; i++)
		fixture_turn();
	cr_expect_eq(fx.n_readable, 1, "once");
	fixture_fini();
}

/* Without a turn of the loop in between. */
Test(stream, catches_up_with_what_is_there)
{
	fixture_pair();
	stream_catch_up(&fx.s);
	cr_expect_eq(fx.n_readable, 0);
	cr_assert_eq(send(fx.peer, "abc", 3, 0), 3);
	stream_catch_up(&fx.s);
	cr_expect_eq(fx.n_read, 3);
	stream_pause(&fx.s);
	cr_assert_eq(send(fx.peer, "abc", 3, 0), 3);
	stream_catch_up(&fx.s);
	cr_expect_eq(fx.n_read, 3, "paused is paused");
	stream_resume(&fx.s);
	shutdown(fx.peer, SHUT_WR);
	stream_catch_up(&fx.s);
	stream_catch_up(&fx.s);
	cr_expect(fx.eof);
	stream_close(&fx.s);
	stream_catch_up(&fx.s);
	fixture_fini();
}

Test(stream, closed_when_readable)
{
	fixture_pair();
	fx.close_on_readable = true;
	cr_assert_eq(send(fx.peer, "abc", 3, 0), 3);
	fixture_until(&fx.n_readable);
	cr_expect_not(stream_is_open(&fx.s));
	fixture_turn();
	cr_expect_eq(fx.n_readable, 1);
	fixture_fini();
}

/* Readable and writable in one event: the close must keep the second away. */
Test(stream, closed_when_drained)
{
	fill();
	fixture_pair();
	fx.close_on_drained = true;
	cr_assert_eq(stream_write(&fx.s, sent, 5000), IO_WAIT);
	cr_assert_eq(send(fx.peer, "abc", 3, 0), 3);
	stream_pause(&fx.s);
	for (int i = 0; i < 100 && stream_pending(&fx.s) > 10; i++) {
		peer_read(got, sizeof(got));
		if (i == 0)
			stream_resume(&fx.s);
		fx.leave_unread = true;
		fixture_turn();
		if (!stream_is_open(&fx.s))
			break;
	}
	cr_expect_eq(fx.n_drained, 1);
	cr_expect_not(stream_is_open(&fx.s));
	unsigned before = fx.n_readable;
	fixture_turn();
	cr_expect_eq(fx.n_readable, before);
	fixture_fini();
}

Test(stream, a_descriptor_used_again_is_a_new_stream)
{
	fixture_pair();
	fx.close_on_readable = true;
	for (int i = 0; i < 20; i++) {
		int fds[2];
		cr_assert_eq(send(fx.peer, "abc", 3, 0), 3);
		fx.n_readable = 0;
		fixture_until(&fx.n_readable);
		close(fx.peer);
		cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
		fx.peer = fds[1];
		stream_open(&fx.s, &fx.loop, &fx.bufs, fds[0], &fixture_events, 0);
	}
	cr_expect_eq(fx.n_read, 60);
	fixture_fini();
}

/* ---- peers that break ---- */

Test(stream, a_peer_that_is_gone_breaks_the_pending_write)
{
	fill();
	fixture_pair();
	cr_assert_eq(stream_write(&fx.s, sent, 60000), IO_WAIT);
	stream_pause(&fx.s); /* so that the write meets it first */
	close(fx.peer);
	fx.peer = -1;
	fixture_until(&fx.n_broken);
	cr_expect_eq(fx.n_broken, 1);
	cr_expect_eq(fx.n_drained, 0);
	cr_expect_eq(stream_write(&fx.s, "x", 1), IO_ERR);
	fixture_fini();
}

Test(stream, broken_without_a_close_does_not_spin)
{
	fill();
	fixture_pair();
	fx.close_on_broken = false;
	cr_assert_eq(stream_write(&fx.s, sent, 60000), IO_WAIT);
	stream_pause(&fx.s);
	close(fx.peer);
	fx.peer = -1;
	fixture_until(&fx.n_broken);
	stream_close(&fx.s);
	fixture_turn();
	fixture_fini();
}

/* ---- handshakes ---- */

static unsigned n_shakes;

/* As TLS when others have had this turn's share: the first call does nothing. */
static enum io shake_later(int fd, void *state, bool *to_write)
{
	(void)fd;
	(void)state;
	cr_expect(*to_write, "it has not had its first word yet");
	return n_shakes++ ? IO_OK : IO_WAIT;
}

/* The peer says nothing before it has heard something: to wait for that is to wait for ever. */
Test(stream, a_handshake_put_off_still_waits_to_write)
{
	struct transport later = transport_plain;
	later.handshake = shake_later;
	later.speaks_first = true;
	fixture_pair();
	n_shakes = 0;
	stream_secure(&fx.s, &later, NULL);
	fixture_until(&n_shakes);
	cr_expect_eq(fx.s.state, STREAM_SHAKING_TO_WRITE);
	fixture_until(&fx.n_connected);
	cr_expect_eq(n_shakes, 2);
	cr_expect_eq(fx.n_connected, 1);
	cr_expect_eq(fx.err, ERR_OK);
	fixture_fini();
}

/* ---- connecting over loopback ---- */

static int listener(const char *text, struct addr *bound)
{
	struct addr any;
	int fd;
	cr_assert(addr_parse(view_str(text), &any));
	cr_assert_eq(socket_listen(&any, false, 0, &fd), ERR_OK);
	cr_assert(socket_local_addr(fd, bound));
	return fd;
}

static void connect_to(const struct addr *addr)
{
	int fd;
	bool done;
	cr_assert_eq(socket_connect(addr, &fd, &done), ERR_OK);
	cr_assert_not(done);
	stream_open_connecting(&fx.s, &fx.loop, &fx.bufs, fd, &fixture_events, 1);
}

/* They are out when `connected` comes: a PROXY header ahead of what follows. */
Test(stream, bytes_written_while_connecting_go_ahead)
{
	struct addr bound, peer;
	fixture_init();
	int fd = listener("127.0.0.1:0", &bound);
	connect_to(&bound);
	cr_assert_eq(stream_write(&fx.s, "early", 5), IO_WAIT);
	fixture_until(&fx.n_connected);
	cr_expect_eq(fx.err, ERR_OK);
	cr_expect_eq(stream_pending(&fx.s), 0);
	for (int i = 0; i < 100 && fx.peer < 0; i++)
		cr_assert_eq(socket_accept(fd, &peer, &fx.peer), ERR_OK);
	cr_expect_eq(recv(fx.peer, got, 10, 0), 5);
	close(fd);
	fixture_fini();
}

Test(stream, connection_refused)
{
	struct addr bound;
	fixture_init();
	int fd = listener("127.0.0.1:0", &bound);
	close(fd);
	connect_to(&bound);
	fixture_until(&fx.n_connected);
	cr_expect_eq(fx.err, ERR_REFUSED);
	cr_expect_eq(fx.n_connected, 1);
	fixture_fini();
}

Test(stream, reset_by_the_peer)
{
	struct addr bound, peer;
	fixture_init();
	int fd = listener("[::1]:0", &bound);
	connect_to(&bound);
	fixture_until(&fx.n_connected);
	for (int i = 0; i < 100 && fx.peer < 0; i++)
		cr_assert_eq(socket_accept(fd, &peer, &fx.peer), ERR_OK);
	cr_expect_eq(peer.sa.sa_family, AF_INET6);
	socket_reset_on_close(fx.peer);
	close(fx.peer);
	fx.peer = -1;
	fx.n_readable = 0;
	fixture_until(&fx.n_readable);
	cr_expect(fx.read_error, "a reset is not a clean end");
	cr_expect_not(fx.eof);
	close(fd);
	fixture_fini();
}
