/* SPDX-License-Identifier: MIT */
/*
 * A stream is one connected descriptor on a worker's loop: watcher, transport
 * and the bytes its peer has not taken yet.  Client connections and upstream
 * connections embed one.
 *
 * The read watcher stays armed for the stream's life unless paused; the write
 * watcher exists only between a short write and the moment everything is out.
 * What a write cannot hand to the kernel is kept in one buffer of at most
 * BUF_MAX bytes: a caller that sees IO_WAIT stops its source until `drained`.
 *
 * Thread: the worker that opened it.
 */
#ifndef WEIR_NET_STREAM_H
#define WEIR_NET_STREAM_H

#include <ev.h>

#include "weir/base/buf.h"
#include "weir/base/err.h"
#include "weir/loop/loop.h"
#include "weir/net/transport.h"

struct stream;

/* Callbacks; each may close the stream. */
struct stream_events {
	void (*connected)(struct stream *stream, enum err err);
	void (*readable)(struct stream *stream);
	void (*drained)(struct stream *stream);
	/* a write failed later on, out of a callback */
	void (*broken)(struct stream *stream);
};

struct stream {
	ev_io io;
	struct loop *loop;
	struct buf_pool *bufs;
	const struct transport *transport;
	void *transport_state;
	const struct stream_events *on;
	struct buf *out; /* not yet written; owns */
	bool connecting;
	bool paused;
};

/* Watches for reading from now on.  `priority` orders events within a turn. */
void stream_open(struct stream *s, struct loop *loop, struct buf_pool *bufs, int fd,
		 const struct stream_events *on, int priority);
/* The same for a connect in progress: `connected` comes first. */
void stream_open_connecting(struct stream *s, struct loop *loop, struct buf_pool *bufs, int fd,
			    const struct stream_events *on, int priority);

/* Closes and drops what was not written.  Safe to call twice. */
void stream_close(struct stream *s);

static inline int stream_fd(const struct stream *s)
{
	return s->io.fd;
}

static inline bool stream_is_open(const struct stream *s)
{
	return s->io.fd >= 0;
}

static inline size_t stream_pending(const struct stream *s)
{
	return s->out ? s->out->len : 0;
}

static inline enum io stream_read(struct stream *s, void *ptr, size_t cap, size_t *n)
{
	return s->transport->read(s->io.fd, s->transport_state, ptr, cap, n);
}

/* Bytes the peer has not acknowledged: pending here and in the kernel's queue.  A
 * system call: for timeouts, not for requests. */
size_t stream_unsent(const struct stream *s);

/*
 * IO_OK: all of it went to the kernel.  IO_WAIT: the rest is kept, `drained`
 * will come.  IO_ERR: broken, or more than BUF_MAX would have to be kept.
 */
enum io stream_write(struct stream *s, const void *ptr, size_t len);

/* Ends our direction at once; only when nothing is pending. */
void stream_shutdown(struct stream *s);

void stream_pause(struct stream *s);
void stream_resume(struct stream *s);

#endif
