/* SPDX-License-Identifier: MIT */
/*
 * A stream is one connected descriptor on a worker's loop: watcher, transport
 * and the bytes its peer has not taken yet.  Client connections and upstream
 * connections embed one.
 *
 * The read watcher stays armed for the stream's life unless paused; the write
 * watcher exists only between a short write and the moment everything is out.
 * What a write cannot hand to the kernel is kept in one buffer of at most
 * BUF_MAX bytes, or stays in the pipe it came by: a caller that sees IO_WAIT stops
 * its source until `drained`.
 *
 *             TCP is there       nothing to agree on, or agreed
 *   CONNECTING ------------> * ----------------------------------> OPEN --> CLOSED
 *                            |                                     ^   |      ^
 *                            +--> SHAKING <--> SHAKING_TO_WRITE ---+   |      |
 *                                    ^                                 |      |
 *                                    +----------- stream_secure -------+      |
 *                                   any of them, when it fails ---------------+
 *
 *   CONNECTING        TCP; what is written meanwhile goes ahead of all    writable
 *   SHAKING           the transport's handshake waits to read             readable
 *   SHAKING_TO_WRITE  or to write                                         writable
 *   OPEN              bytes flow                                          readable; writable
 *                                                                         while some are kept
 *   CLOSED            no descriptor
 *
 * Thread: the worker that opened it.
 */
#ifndef WEIR_NET_STREAM_H
#define WEIR_NET_STREAM_H

#include <ev.h>

#include "weir/base/buf.h"
#include "weir/base/defs.h"
#include "weir/base/err.h"
#include "weir/loop/loop.h"
#include "weir/net/pipe.h"
#include "weir/net/transport.h"

struct addr;
struct stream;

/* Callbacks; each may close the stream. */
struct stream_events {
	void (*connected)(struct stream *stream, enum err err);
	void (*readable)(struct stream *stream);
	void (*drained)(struct stream *stream);
	/* a write failed later on, out of a callback */
	void (*broken)(struct stream *stream);
};

enum stream_state {
	STREAM_CONNECTING,
	STREAM_SHAKING,
	STREAM_SHAKING_TO_WRITE,
	STREAM_OPEN,
	STREAM_CLOSED,
};

struct stream {
	ev_io io;
	struct loop *loop;
	struct buf_pool *bufs;
	const struct transport *transport;
	void *transport_state;
	const struct stream_events *on;
	struct pipe *pipe;     /* holds what is not yet written, ahead of `out`; owns */
	struct buf *out;       /* not yet written; owns */
	struct deferred again; /* `readable` in the next turn, without an event */
	int8_t priority;       /* of its events once the handshake is over */
	uint8_t state;         /* enum stream_state */
	bool paused;
	bool reset; /* the peer must see a cut, not an end */
	bool later; /* CONNECTING has not begun: see stream_connect_again */
};

/* Watches for reading from now on.  `priority` orders events within a turn. */
void stream_open(struct stream *s, struct loop *loop, struct buf_pool *bufs, int fd,
		 const struct stream_events *on, int priority);
/*
 * The same for a connect in progress: `connected` comes first.  What little is
 * written until then (a PROXY header) goes out ahead of it, and of TLS.
 */
void stream_open_connecting(struct stream *s, struct loop *loop, struct buf_pool *bufs, int fd,
			    const struct stream_events *on, int priority);

/* The same for a connect that is to be tried again (socket_connect_or_wait), so often. */
#define STREAM_AGAIN_US 10000
void stream_open_later(struct stream *s, struct loop *loop, struct buf_pool *bufs, int fd,
		       const struct stream_events *on, int priority);
/* True: not yet.  Else `connected` comes, for a failure from in here. */
bool stream_connect_again(struct stream *s, const struct addr *to);

/*
 * From here on the bytes go through `transport`, whose `state` the stream takes
 * over.  The handshake begins in the next turn at the earliest, and `connected` comes
 * when it is over: ERR_HANDSHAKE or ERR_UNTRUSTED when it failed.  On a stream that is still
 * connecting it begins after that; on one that is connected, nothing may be pending.
 */
void stream_secure(struct stream *s, const struct transport *transport, void *state);

/* The protocol agreed on in the handshake: "h2", "http/1.1" or empty. */
static inline struct view stream_alpn(const struct stream *s)
{
	return s->transport->alpn ? s->transport->alpn(s->transport_state) : VIEW_NONE;
}

/* Why the handshake failed; static text, "" when nothing is known. */
static inline const char *stream_why(const struct stream *s)
{
	return s->transport->why ? s->transport->why(s->transport_state) : "";
}

/* Closes and drops what was not written.  Safe to call twice. */
void stream_close(struct stream *s);

/* What was sent is not whole, and the peer must be able to tell: close will reset. */
void stream_reset_on_close(struct stream *s);

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
	return (s->out ? s->out->len : 0) + (unlikely(s->pipe != NULL) ? s->pipe->held : 0);
}

/*
 * `readable` comes once more, in the next turn: bytes are left that no event of the
 * descriptor announces, or that are enough for this turn.  Until then the descriptor's
 * own events of this kind are passed over.
 */
static inline void stream_again(struct stream *s)
{
	loop_next_turn(s->loop, &s->again);
}

/*
 * For bulk: small things of a turn come first, and all bulk together has a share of it.
 * False when its time has come; true: `readable` comes again, nothing is to be read now.
 */
static inline bool stream_put_off(struct stream *s)
{
	if (s->loop->running_due)
		return false;
	stream_again(s);
	return true;
}

/* stream_again if bytes are left in the transport, which has some kind of buffer. */
void stream_feed(struct stream *s);

static inline enum io stream_read(struct stream *s, void *ptr, size_t cap, size_t *n)
{
	enum io io = s->transport->read(s->io.fd, s->transport_state, ptr, cap, n);
	if (unlikely(s->transport->buffered != NULL))
		stream_feed(s);
	return io;
}

/*
 * Of a stream that is watched for reading: nothing is known to have come that was not read.
 * Events that are due count, bytes that only a poll or a read can find do not.
 */
static inline bool stream_is_quiet(struct stream *s)
{
	return likely(!ev_is_pending(&s->io) && !deferred_is_set(&s->again)) &&
	       (likely(!s->transport->unread) || !s->transport->unread(s->transport_state));
}

/*
 * Of a peer that has nothing to say: it has ended, or sent bytes, be it part of a record.  A
 * system call; what is the transport's own, a session ticket, is taken in.  True: it can only be
 * closed, for what was read is lost.
 */
bool stream_is_spoilt(struct stream *s);

/*
 * Does what the descriptor's events call for right now, without waiting for the loop to
 * look: before a deadline is held against the peer.  It may close the stream.
 */
void stream_catch_up(struct stream *s);

/* Bytes the peer has not acknowledged: pending here and in the kernel's queue.  A
 * system call: for timeouts, not for requests. */
size_t stream_unsent(const struct stream *s);

/*
 * IO_OK: all of it went to the kernel.  IO_WAIT: the rest is kept, `drained`
 * will come.  IO_ERR: broken, or more than BUF_MAX would have to be kept.
 */
enum io stream_write(struct stream *s, const void *ptr, size_t len);

/* Bytes can go from one to the other by a pipe: `to` has nothing pending, nothing is encrypted. */
static inline bool stream_can_pipe(const struct stream *from, const struct stream *to)
{
	return from->transport == &transport_plain && to->transport == &transport_plain &&
	       stream_pending(to) == 0 && to->state == STREAM_OPEN;
}

/* stream_write of what is in the pipe, which the stream takes over; stream_can_pipe holds. */
enum io stream_write_pipe(struct stream *s, struct pipe *pipe);

/* Ends our direction at once; only when nothing is pending. */
void stream_shutdown(struct stream *s);

void stream_pause(struct stream *s);
void stream_resume(struct stream *s);

#endif
