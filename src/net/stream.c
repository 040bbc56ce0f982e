/* SPDX-License-Identifier: MIT */
#include "weir/net/stream.h"

#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "weir/base/check.h"
#include "weir/net/socket.h"

/* The events the stream's condition asks for; one epoll_ctl when they change. */
static void watch(struct stream *s)
{
	int want = s->connecting ? EV_WRITE : (s->paused ? 0 : EV_READ) | (s->out ? EV_WRITE : 0);
	int have = ev_is_active(&s->io) ? s->io.events & (EV_READ | EV_WRITE) : 0;
	if (want == have)
		return;
	if (have)
		ev_io_stop(s->loop->ev, &s->io);
	if (!want)
		return;
	ev_io_set(&s->io, s->io.fd, want);
	ev_io_start(s->loop->ev, &s->io);
}

static enum io flush(struct stream *s)
{
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

static void on_io(struct ev_loop *ev, ev_io *w, int revents)
{
	struct stream *s = container_of(w, struct stream, io);
	(void)ev;
	if (unlikely(revents & EV_WRITE)) {
		if (s->connecting) {
			s->connecting = false;
			enum err err = socket_connect_result(w->fd);
			watch(s);
			s->on->connected(s, err);
			return;
		}
		if (s->out)
			on_writable(s);
		if (!ev_is_active(&s->io) || s->paused)
			return;
	}
	if (likely(revents & EV_READ))
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
	s->paused = false;
	s->connecting = false;
	ev_io_init(&s->io, on_io, fd, 0);
}

void stream_open(struct stream *s, struct loop *loop, struct buf_pool *bufs, int fd,
		 const struct stream_events *on, int priority)
{
	open_with(s, loop, bufs, fd, on);
	ev_set_priority(&s->io, priority);
	watch(s);
}

void stream_open_connecting(struct stream *s, struct loop *loop, struct buf_pool *bufs, int fd,
			    const struct stream_events *on, int priority)
{
	open_with(s, loop, bufs, fd, on);
	ev_set_priority(&s->io, priority);
	s->connecting = true;
	watch(s);
}

void stream_close(struct stream *s)
{
	if (s->io.fd < 0)
		return;
	ev_io_stop(s->loop->ev, &s->io);
	s->transport->fini(s->transport_state);
	buf_put(s->bufs, s->out);
	s->out = NULL;
	close(s->io.fd);
	s->io.fd = -1;
}

enum io stream_write(struct stream *s, const void *ptr, size_t len)
{
	size_t n = 0;
	if (len == 0)
		return s->out ? IO_WAIT : IO_OK;
	if (likely(!s->out && !s->connecting)) {
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

void stream_shutdown(struct stream *s)
{
	check(!s->out);
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
	if (s->io.fd >= 0)
		watch(s);
}

size_t stream_unsent(const struct stream *s)
{
	int queued = 0;
	if (ioctl(s->io.fd, SIOCOUTQ, &queued) || queued < 0)
		queued = 0;
	return stream_pending(s) + (size_t)queued;
}
