/* SPDX-License-Identifier: MIT */
#include "fixture.h"

#include "weir/base/defs.h"

struct fixture fx;

static struct fixture *of(struct stream *s)
{
	cr_assert_eq(s, &fx.s);
	return &fx;
}

static void on_connected(struct stream *s, enum err err)
{
	of(s)->n_connected++;
	fx.err = err;
}

static void on_readable(struct stream *s)
{
	char bytes[4096];
	size_t n = 0;
	of(s)->n_readable++;
	if (fx.leave_unread)
		return;
	switch (stream_read(s, bytes, sizeof(bytes), &n)) {
	case IO_OK:
		fx.n_read += n;
		break;
	case IO_EOF:
		fx.eof = true;
		stream_pause(s);
		break;
	case IO_ERR:
		fx.read_error = true;
		stream_close(s);
		break;
	case IO_WAIT:
		break;
	}
	if (fx.close_on_readable)
		stream_close(s);
}

static void on_drained(struct stream *s)
{
	of(s)->n_drained++;
	cr_expect_eq(stream_pending(s), 0);
	if (fx.close_on_drained)
		stream_close(s);
}

static void on_broken(struct stream *s)
{
	of(s)->n_broken++;
	if (fx.close_on_broken)
		stream_close(s);
	else
		stream_pause(s);
}

const struct stream_events fixture_events = {
    .connected = on_connected,
    .readable = on_readable,
    .drained = on_drained,
    .broken = on_broken,
};

void fixture_init(void)
{
	memset(&fx, 0, sizeof(fx));
	fx.peer = -1;
	fx.s.io.fd = -1;
	fx.close_on_broken = true;
	cr_assert_eq(loop_init(&fx.loop, "test"), ERR_OK);
	buf_pool_init(&fx.bufs, 4);
}

void fixture_pair(void)
{
	int fds[2], small = 1;
	fixture_init();
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	cr_assert_eq(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	fx.peer = fds[1];
	stream_open(&fx.s, &fx.loop, &fx.bufs, fds[0], &fixture_events, 0);
}

void fixture_fini(void)
{
	stream_close(&fx.s);
	if (fx.peer >= 0)
		close(fx.peer);
	cr_expect_eq(buf_pool_live(&fx.bufs), 0, "a buffer was not given back");
	buf_pool_fini(&fx.bufs);
	loop_fini(&fx.loop);
}

void fixture_turn(void)
{
	ev_run(fx.loop.ev, EVRUN_NOWAIT);
}

void fixture_until(const unsigned *counter)
{
	for (int i = 0; i < 1000 && *counter == 0; i++) {
		fixture_turn();
		if (*counter == 0)
			poll(NULL, 0, 1);
	}
	cr_assert_gt(*counter, 0, "nothing came within a second");
}

size_t peer_read(char *out, size_t cap)
{
	size_t n = 0;
	while (n < cap) {
		ssize_t got = recv(fx.peer, out + n, cap - n, MSG_DONTWAIT);
		if (got <= 0)
			break;
		n += (size_t)got;
	}
	return n;
}
