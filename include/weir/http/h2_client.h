/* SPDX-License-Identifier: MIT */
/*
 * An HTTP/2 connection as its client (RFC 9113), on nghttp2: weir towards a
 * backend.  Bytes in, events out, and the other way round; no descriptor, no
 * clock.
 *
 *   h2 = h2_client_new(&setup);
 *   id = h2_client_request(h2, &req, &stream);
 *   while ((n = h2_client_write(h2, room, cap)) > 0) send(room, n);
 *   if (!h2_client_read(h2, area, n)) the connection is broken: close it;
 *   h2_client_free(h2);
 *
 * Response heads and trailers come as HTTP/1 text, so that the one strict parser
 * judges them as it judges those of HTTP/1.
 *
 * Flow control: a stream's window is given back only by h2_client_took, the
 * connection's at once, so a stream that is not read never stops another.  It
 * grows as h2_window.h says.
 *
 * Callbacks may submit requests, reset streams and give windows back; they may
 * not read, write or free.  One thread.
 */
#ifndef WEIR_HTTP_H2_CLIENT_H
#define WEIR_HTTP_H2_CLIENT_H

#include "weir/base/buf.h"
#include "weir/http/h2_code.h"
#include "weir/http/h2_window.h"
#include "weir/http/message.h"

/*
 * A header list may take this much, in the form of HTTP/1; one that takes more costs its stream
 * (H2_END_TOO_LARGE), and the others go on.  Beyond 1 MiB as it comes, or 1024 frames, it is a
 * flood, and ends the connection.
 */
#define H2_CLIENT_HEAD_MAX (64 * 1024)
/* Frames that bring nothing (PING, SETTINGS, empty DATA, 1xx ...) between two that do. */
#define H2_CLIENT_IDLE_FRAMES 1000
/* Room that is free to write to on both sides of the bytes given to h2_client_read. */
#define H2_CLIENT_BACK 64

struct h2_client;

/* One request and its response; embedded in what the caller keeps about it. */
struct h2_client_stream {
	struct h2_window window;
	uint64_t never; /* of the fields that came: see message.h */
};

/* What ended a stream. */
enum h2_end {
	H2_END_PLAIN,
	H2_END_UNSEEN,    /* the backend says that it did nothing with it */
	H2_END_UNSENT,    /* the connection ends, and not a byte of it went out */
	H2_END_TOO_LARGE, /* its head or trailers pass H2_CLIENT_HEAD_MAX */
	H2_END_RESET,     /* by the backend */
};

struct h2_client_events {
	/*
	 * A head, final or interim, and what came with it of the body; `end`: that
	 * is all.  `body` may be changed, up to H2_CLIENT_BACK bytes behind it, too.
	 */
	void (*head)(struct h2_client_stream *stream, struct view text, char *body, size_t len,
		     bool end);
	void (*data)(struct h2_client_stream *stream, char *body, size_t len, bool end);
	/* Ends the response. */
	void (*trailers)(struct h2_client_stream *stream, struct view text);
	/*
	 * Up to `cap` bytes of the request body into `to`.  *end: there will be no
	 * more; *trailers: fields follow, whose text `trailers` is asked for.
	 */
	size_t (*source)(struct h2_client_stream *stream, char *to, size_t cap, bool *end,
			 bool *trailers);
	/* The fields, out of bytes that stay until the next write. */
	const struct message *(*source_trailers)(struct h2_client_stream *stream);
	/*
	 * The stream is over on both sides; `stream` is NULL when it was reset or
	 * let go before.
	 */
	void (*closed)(void *owner, struct h2_client_stream *stream, uint32_t code,
		       enum h2_end end);
	/* The backend's SETTINGS are here: h2_client_max_streams is what it allows. */
	void (*settings)(void *owner);
	/* GOAWAY: no further requests. */
	void (*goaway)(void *owner);
};

struct h2_client_setup {
	struct buf_pool *bufs; /* borrowed, as all of these */
	const struct h2_client_events *on;
	void *owner;
	uint64_t window_bytes;     /* what the windows of all streams may have beyond the first */
	struct h2_budget *windows; /* the worker's */
};
/* NULL without memory. */
struct h2_client *h2_client_new(const struct h2_client_setup *setup);
void h2_client_free(struct h2_client *h2);

/* False: the connection cannot go on.  Write what there is to say, then close. */
bool h2_client_read(struct h2_client *h2, char *ptr, size_t len)
    __attribute__((warn_unused_result));
/* Bytes for the wire into `to`; 0: nothing to send, negative: broken. */
ptrdiff_t h2_client_write(struct h2_client *h2, char *to, size_t cap);

/*
 * Opens a stream for the head in `req`, without what belongs to a connection.
 * Its id, or 0 when there can be no more on this connection.
 */
struct h2_client_request {
	const struct message *msg;
	struct view scheme;
	bool te_trailers;
	bool has_body; /* on->source is asked */
};
int32_t h2_client_request(struct h2_client *h2, const struct h2_client_request *req,
			  struct h2_client_stream *stream);
/* Gives back what it has of the budgets; the session must have let it go, or be over. */
void h2_client_stream_fini(struct h2_client_stream *stream);
/* on->source has more. */
void h2_client_more(struct h2_client *h2, int32_t id);
/* Bytes of a response were used: the backend may send as many again. */
void h2_client_took(struct h2_client *h2, int32_t id, struct h2_client_stream *stream, size_t len);
/* No more events for this stream; `code` tells the backend, if it still has it. */
void h2_client_reset(struct h2_client *h2, int32_t id, enum h2_code code);
void h2_client_let_go(struct h2_client *h2, int32_t id);
void h2_client_ping(struct h2_client *h2);
void h2_client_goaway(struct h2_client *h2, enum h2_code code);

/* It takes requests: GOAWAY has not come, nor is it to be sent. */
bool h2_client_is_open(const struct h2_client *h2);
/* There is nothing more to read or to write. */
bool h2_client_is_over(const struct h2_client *h2);
/*
 * It is over because of this stream, whose head was a flood: what follows on the connection
 * cannot be understood without it.  0: for other reasons.
 */
int32_t h2_client_broke_at(const struct h2_client *h2);
/* The stream of which a block of fields has begun and not ended; 0: none. */
int32_t h2_client_block_of(const struct h2_client *h2);
/* A head that is too large is coming: until its end, if there is one, nothing else can. */
bool h2_client_is_held_up(const struct h2_client *h2);
/* Streams the backend allows at once. */
uint32_t h2_client_max_streams(const struct h2_client *h2);
/* It takes this many bytes more of a stream's body. */
bool h2_client_has_window(const struct h2_client *h2, int32_t id, size_t len);

#endif
