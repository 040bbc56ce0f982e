/* SPDX-License-Identifier: MIT */
/*
 * Between a descriptor and whoever reads and writes it: what the peer has not taken, and when it
 * goes on.
 */
#include "weir/net/stream.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "weir/base/check.h"
#include "weir/net/socket.h"

/* Moves that make sense, as bits of the next state. */
static const uint8_t moves[] = {
#define TO(state) (1u << STREAM_##state)
    [STREAM_CONNECTING] = TO(SHAKING) | TO(SHAKING_TO_WRITE) | TO(OPEN) | TO(CLOSED),
    [STREAM_SHAKING] = TO(SHAKING) | TO(SHAKING_TO_WRITE) | TO(OPEN) | TO(CLOSED),
    [STREAM_SHAKING_TO_WRITE] = TO(SHAKING) | TO(SHAKING_TO_WRITE) | TO(OPEN) | TO(CLOSED),
    [STREAM_OPEN] = TO(SHAKING) | TO(SHAKING_TO_WRITE) | TO(CLOSED),
    [STREAM_CLOSED] = 0,
#undef TO
};

static void set_state(struct stream *s, enum stream_state state)
{
	check(moves[s->state] & (1u << state));
	s->state = (uint8_t)state;
}

static bool is_shaking(const struct stream *s)
{
	return s->state == STREAM_SHAKING || s->state == STREAM_SHAKING_TO_WRITE;
}

/* The events the stream's condition asks for. */
static int wanted(const struct stream *s)
{
	int read = s->paused ? 0 : EV_READ;
	switch (s->state) {
	case STREAM_CONNECTING:
		return s->later ? 0 : EV_WRITE;
	case STREAM_SHAKING:
		return read;
	case STREAM_SHAKING_TO_WRITE:
		return s->paused ? 0 : EV_WRITE;
	default:
		return read | (s->out || s->pipe ? EV_WRITE : 0);
	}
}

void stream_feed(struct stream *s)
{
	if (!s->transport->buffered(s->transport_state))
		deferred_clear(&s->again);
	else if (!s->paused && s->state == STREAM_OPEN && ev_is_active(&s->io))
		stream_again(s);
}

/* One epoll_ctl when they change. */
static void watch(struct stream *s)
{
	int want = wanted(s);
	int have = ev_is_active(&s->io) ? s->io.events & (EV_READ | EV_WRITE) : 0;
	if (want == have)
		return;
	if (have)
		ev_io_stop(s->loop->ev, &s->io);
	if (!want)
		return;
	ev_io_set(&s->io, s->io.fd, want);
	ev_io_start(s->loop->ev, &s->io);
	if (s->transport->buffered)
		stream_feed(s);
}

static void drop_pipe(struct stream *s)
{
	pipe_put(s->pipe);
	s->pipe = NULL;
}

static enum io flush(struct stream *s)
{
	if (s->pipe) {
		enum io io = pipe_drain(s->pipe, s->io.fd);
		if (io != IO_OK)
			return io;
		drop_pipe(s);
	}
	while (s->out) {
		struct view rest = buf_view(s->out);
		size_t n;
		enum io io =
		    s->transport->write(s->io.fd, s->transport_state, rest.ptr, rest.len, &n);
		if (io != IO_OK)
			return io;
		buf_take(s->out, n);
		if (s->out->len == 0) {
			buf_put(s->bufs, s->out);
			s->out = NULL;
		}
	}
	return IO_OK;
}

static void on_writable(struct stream *s)
{
	switch (flush(s)) {
	case IO_OK:
		watch(s);
		s->on->drained(s);
		break;
	case IO_WAIT:
		break;
	default:
		s->on->broken(s);
	}
}

static void set_priority(struct stream *s, int priority)
{
	ev_io_stop(s->loop->ev, &s->io); /* libev takes no change while it is active */
	ev_set_priority(&s->io, priority);
}

static void shake(struct stream *s)
{
	bool to_write = s->state == STREAM_SHAKING_TO_WRITE;
	enum io io = s->transport->handshake(s->io.fd, s->transport_state, &to_write);
	enum err err = errno == EKEYREJECTED ? ERR_UNTRUSTED : ERR_HANDSHAKE;
	if (io == IO_WAIT) {
		set_state(s, to_write ? STREAM_SHAKING_TO_WRITE : STREAM_SHAKING);
		watch(s);
		return;
	}
	set_state(s, STREAM_OPEN); /* or it failed: who hears of that closes it */
	set_priority(s, s->priority);
	watch(s);
	s->on->connected(s, io == IO_OK ? ERR_OK : err);
}

static void begin_shaking(struct stream *s)
{
	set_state(s, s->transport->speaks_first ? STREAM_SHAKING_TO_WRITE : STREAM_SHAKING);
	s->priority = (int8_t)ev_priority(&s->io);
	/* what is begun comes before what is new */
	set_priority(s, s->priority - 1);
	watch(s);
}

/* It is small, and the kernel's buffer is empty: not to be taken whole means trouble. */
static bool send_ahead(struct stream *s)
{
	struct view all = buf_view(s->out);
	bool whole = send(s->io.fd, all.ptr, all.len, MSG_NOSIGNAL) == (ssize_t)all.len;
	buf_put(s->bufs, s->out);
	s->out = NULL;
	return whole;
}

static void tcp_connected(struct stream *s)
{
	enum err err = socket_connect_result(s->io.fd);
	if (!err && s->out && !send_ahead(s))
		err = ERR_IO;
	if (!err && s->transport->handshake) {
		begin_shaking(s);
		return;
	}
	set_state(s, STREAM_OPEN);
	watch(s);
	s->on->connected(s, err);
}

static void on_io(struct ev_loop *ev, ev_io *w, int revents)
{
	struct stream *s = container_of(w, struct stream, io);
	(void)ev;
	if (unlikely(s->state != STREAM_OPEN)) {
		if (is_shaking(s))
			shake(s);
		else
			tcp_connected(s);
		return;
	}
	if (unlikely(revents & EV_WRITE)) {
		if (s->out || s->pipe)
			on_writable(s);
		if (!ev_is_active(&s->io) || s->paused)
			return;
	}
	if (unlikely(!(revents & EV_READ)) || unlikely(deferred_is_set(&s->again)))
		return;
	if (unlikely(s->transport->buffered != NULL)) /* in case the callback leaves some */
		stream_feed(s);
	s->on->readable(s);
}

void stream_catch_up(struct stream *s)
{
	if (!ev_is_active(&s->io))
		return;
	struct pollfd fd = {
	    .fd = s->io.fd,
	    .events = (short)((s->io.events & EV_READ ? POLLIN : 0) |
			      (s->io.events & EV_WRITE ? POLLOUT : 0)),
	};
	if (poll(&fd, 1, 0) != 1)
		return;
	int broken = fd.revents & (POLLERR | POLLHUP) ? EV_READ | EV_WRITE : 0;
	int revents = (fd.revents & POLLIN ? EV_READ : 0) | (fd.revents & POLLOUT ? EV_WRITE : 0);
	on_io(s->loop->ev, &s->io, (revents | broken) & s->io.events);
}

bool stream_is_spoilt(struct stream *s)
{
	char byte;
	size_t n;
	return stream_read(s, &byte, 1, &n) != IO_WAIT ||
	       (s->transport->unread && s->transport->unread(s->transport_state));
}

/* Paused meanwhile, it comes when reading goes on: see watch. */
static void on_again(struct deferred *again)
{
	struct stream *s = container_of(again, struct stream, again);
	if (!s->paused && s->state == STREAM_OPEN && ev_is_active(&s->io))
		s->on->readable(s);
}

static void open_with(struct stream *s, struct loop *loop, struct buf_pool *bufs, int fd,
		      const struct stream_events *on)
{
	s->loop = loop;
	s->bufs = bufs;
	s->transport = &transport_plain;
	s->transport_state = NULL;
	s->on = on;
	s->out = NULL;
	s->pipe = NULL;
	s->paused = s->reset = s->later = false;
	s->state = STREAM_OPEN;
	deferred_init(&s->again, on_again);
	ev_io_init(&s->io, on_io, fd, 0);
}

void stream_open(struct stream *s, struct loop *loop, struct buf_pool *bufs, int fd,
		 const struct stream_events *on, int priority)
{
	open_with(s, loop, bufs, fd, on);
	ev_set_priority(&s->io, priority);
	watch(s);
}

void stream_open_later(struct stream *s, struct loop *loop, struct buf_pool *bufs, int fd,
		       const struct stream_events *on, int priority)
{
	open_with(s, loop, bufs, fd, on);
	ev_set_priority(&s->io, priority);
	s->state = STREAM_CONNECTING;
	s->later = true;
}

void stream_open_connecting(struct stream *s, struct loop *loop, struct buf_pool *bufs, int fd,
			    const struct stream_events *on, int priority)
{
	stream_open_later(s, loop, bufs, fd, on, priority);
	s->later = false;
	watch(s);
}

bool stream_connect_again(struct stream *s, const struct addr *to)
{
	bool done;
	enum err err = socket_connect_again(s->io.fd, to, &done);
	if (err == ERR_BUSY)
		return true;
	s->later = false;
	if (!err) {
		watch(s); /* it can be written to, and that says so */
		return false;
	}
	set_state(s, STREAM_OPEN);
	s->on->connected(s, err);
	return false;
}

void stream_secure(struct stream *s, const struct transport *transport, void *state)
{
	bool connecting = s->state == STREAM_CONNECTING;
	check((!s->out || connecting) && s->transport == &transport_plain);
	s->transport = transport;
	s->transport_state = state;
	if (!connecting)
		begin_shaking(s);
}

void stream_reset_on_close(struct stream *s)
{
	s->reset = true;
	socket_reset_on_close(s->io.fd);
}

void stream_close(struct stream *s)
{
	if (s->io.fd < 0)
		return;
	if (s->transport->goodbye && s->state == STREAM_OPEN && !s->out && !s->reset)
		s->transport->goodbye(s->io.fd, s->transport_state);
	ev_io_stop(s->loop->ev, &s->io);
	deferred_clear(&s->again);
	s->transport->fini(s->transport_state);
	drop_pipe(s);
	buf_put(s->bufs, s->out);
	s->out = NULL;
	close(s->io.fd);
	s->io.fd = -1;
	set_state(s, STREAM_CLOSED);
}

enum io stream_write(struct stream *s, const void *ptr, size_t len)
{
	size_t n = 0;
	if (len == 0)
		return s->out || s->pipe ? IO_WAIT : IO_OK;
	if (likely(!s->out && s->state >= STREAM_OPEN && !s->pipe)) { /* closed: an error */
		enum io io = s->transport->write(s->io.fd, s->transport_state, ptr, len, &n);
		if (likely(io == IO_OK && n == len))
			return IO_OK;
		if (io == IO_ERR)
			return IO_ERR;
	}
	if (!buf_append(s->bufs, &s->out, (const char *)ptr + n, len - n)) {
		errno = ENOBUFS;
		return IO_ERR;
	}
	watch(s);
	return IO_WAIT;
}

enum io stream_write_pipe(struct stream *s, struct pipe *pipe)
{
	check(!s->out && !s->pipe);
	s->pipe = pipe;
	enum io io = flush(s);
	if (io == IO_WAIT)
		watch(s);
	return io;
}

void stream_shutdown(struct stream *s)
{
	check(!s->out && !s->pipe);
	s->transport->shutdown(s->io.fd, s->transport_state);
}

void stream_pause(struct stream *s)
{
	s->paused = true;
	watch(s);
}

void stream_resume(struct stream *s)
{
	s->paused = false;
	if (s->io.fd < 0)
		return;
	watch(s);
}

size_t stream_unsent(const struct stream *s)
{
	int queued = 0;
	if (ioctl(s->io.fd, SIOCOUTQ, &queued) || queued < 0)
		queued = 0;
	size_t held = s->transport->held ? s->transport->held(s->transport_state) : 0;
	return stream_pending(s) + held + (size_t)queued;
}
