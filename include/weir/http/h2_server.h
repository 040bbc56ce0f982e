/* SPDX-License-Identifier: MIT */
/*
 * The server's end of an HTTP/2 connection: nghttp2 behind events and calls that
 * fit the exchange.  Pure: no descriptor, no clock (the caller gives the time).
 *
 *   h2_server_open(&s, codec, &settings, &events)
 *   h2_server_recv(&s, bytes, n, now)   -> events request, data, trailers, end
 *   h2_server_respond / _data / ...     -> frames into s.gather
 *   h2_server_pump(&s)                  frames as far as windows and room go
 *   the caller sends s.gather when it likes (event `flush` when it is full)
 *   h2_server_settle(&s)                -> events drained, closed; never inside a call
 *   h2_server_close(&s)
 *
 * Events come out of h2_server_recv, except drained and closed, which come out of
 * h2_server_settle alone, where every call is allowed.  Inside the events of
 * h2_server_recv calls only take note: pump afterwards.
 *
 * What one connection may take, at most: per stream H2_WINDOW_FIRST towards a slow
 * backend and BUF_MAX towards a slow client, over all streams window_bytes more
 * towards slow backends, BUF_MAX of frames that wait for the socket, and some 26 KB
 * of nghttp2's own.
 *
 * Thread: one worker's; a codec belongs to a worker.
 */
#ifndef WEIR_HTTP_H2_SERVER_H
#define WEIR_HTTP_H2_SERVER_H

#include "weir/base/buf.h"
#include "weir/base/err.h"
#include "weir/base/list.h"
#include "weir/http/h2.h"
#include "weir/http/h2_code.h"
#include "weir/http/h2_window.h"

/* Frames are gathered up to here before they have to be sent: one of payload and one of anything
 * else may still come. */
#define H2_GATHER_FULL (BUF_MAX - 2 * (H2_FRAME_HEAD + H2_FRAME_MAX))

/* Seconds' worth of a kind that may come at once. */
#define H2_FLOOD_BURST 10

enum h2_flood {
#define FLOOD(name, per_second, sentence) H2_FLOOD_##name,
#include "weir/tbl/h2_floods.def"
#undef FLOOD
	H2_N_RATES,
	H2_LAST_RATE = H2_N_RATES - 1,
#define FLOOD(name, per_second, sentence)
#define BOUND(name, sentence) H2_FLOOD_##name,
#include "weir/tbl/h2_floods.def"
#undef FLOOD
	H2_N_FLOODS,
};

struct h2_server;

/* One request and its response; embedded in what the caller keeps about it. */
struct h2_stream {
	struct list link;  /* h2_server.streams */
	struct list event; /* h2_server.events, when something is to be told */
	struct h2_window window;
	int32_t id;
	uint32_t code;      /* with `closed` */
	bool closed;        /* nghttp2 has forgotten it */
	bool end;           /* nothing follows what is pending */
	bool end_sent;      /* END_STREAM is in `gather` */
	bool head_queued;   /* a final head was given */
	bool deferred;      /* nghttp2 waits for h2_server_data */
	bool waits;         /* `drained` is to come */
	bool reset;         /* we asked for RST_STREAM ourselves */
	bool malformed;     /* with `closed`: HTTP/2 does not allow how the request went on */
	bool request_ended; /* END_STREAM has come */
	uint32_t now_len;
	const char *now;      /* of the call under way; borrowed */
	struct buf *out;      /* what could not go yet; owns */
	struct buf *trailers; /* lines, sent behind `out`; owns */
	uint64_t never;       /* of the trailers: see message.h */
};

/* A request and what of its body came right behind it. */
struct h2_request {
	struct message *msg;
	enum reject why; /* whether it was refused */
	bool end;        /* that is all */
	uint32_t weight; /* of the head, for budgets: see h2_head_weight */
	char *ptr;       /* payload in the bytes given to h2_server_recv, or NULL */
	size_t len;
};

struct h2_server_events {
	/* A stream begins: where to keep it (h2_stream_init), NULL: REFUSED_STREAM. */
	struct h2_stream *(*open)(struct h2_server *s);
	/* A request that HTTP/2 itself does not allow (RFC 9113 8.1.1) was reset. */
	void (*malformed)(struct h2_server *s);
	/* Its head; to be answered in any case. */
	void (*request)(struct h2_stream *st, const struct h2_request *req);
	/* Payload in the bytes given to h2_server_recv; `last`: END_STREAM comes with it. */
	void (*data)(struct h2_stream *st, char *ptr, size_t len, bool last);
	void (*trailers)(struct h2_stream *st, struct message *msg, enum reject why);
	/* END_STREAM without trailers; after `data` with `last` not again. */
	void (*end)(struct h2_stream *st);
	/* Everything given has gone to `gather`. */
	void (*drained)(struct h2_stream *st);
	/* st->closed is true now; the caller gives its memory back. */
	void (*closed)(struct h2_stream *st);
	/* `gather` is full: true when it was taken and more may come. */
	bool (*flush)(struct h2_server *s);
	/* 24 characters for Sec-WebSocket-Key */
	struct view (*key)(struct h2_server *s);
};

/* What the connections of one worker share. */
struct h2_codec {
	struct h2_mem mem;
	void *callbacks; /* nghttp2's; owns */
	void *option;
	char *lines;               /* H2_LINES_MAX; owns */
	struct buf_pool *bufs;     /* borrowed */
	struct h2_budget *windows; /* of the worker; borrowed */
	struct message *msg;       /* where requests are built; borrowed */
	struct message *trailers;  /* where these are built; borrowed */
};

enum err h2_codec_init(struct h2_codec *codec, const struct h2_codec *parts);
void h2_codec_fini(struct h2_codec *codec);

struct h2_bucket {
	int32_t tokens;
	uint32_t per_second;
	uint64_t filled_us;
};

struct h2_server {
	void *session; /* nghttp2's; owns */
	struct h2_codec *codec;
	const struct h2_server_events *on;
	struct list streams;
	struct list events;
	struct h2_budget budget; /* of the streams' windows */
	struct buf *gather;      /* frames ready to be sent; owns */
	uint64_t now_us;
	bool in_call;  /* inside h2_server_recv or _pump */
	bool dead;     /* the session is over: flush `gather`, close */
	uint8_t flood; /* enum h2_flood that ended it, H2_N_FLOODS: none */
	struct h1_limits limits;
	/* the head being read */
	struct h2_head head;
	int32_t head_id;  /* 0: none */
	int32_t reset_id; /* the last stream that the client reset */
	uint32_t block;   /* bytes of its frames so far */
	struct buf *kept; /* its lines between two reads; owns */
	/* a request that is not begun before the next frame is looked at */
	int32_t held_id;
	bool data_last;     /* the DATA frame at hand has END_STREAM */
	uint32_t data_left; /* and so many bytes left */
	uint32_t n_streams;
	struct h2_bucket buckets[H2_N_RATES];
};

struct h2_settings {
	struct h1_limits limits;
	uint32_t streams; /* at once */
	uint64_t window_bytes;
	uint32_t per_second[H2_N_RATES];
};

enum err h2_server_open(struct h2_server *s, struct h2_codec *codec,
			const struct h2_settings *settings, const struct h2_server_events *on,
			uint64_t now_us);
/* Streams still in the list are the caller's: end them before. */
void h2_server_close(struct h2_server *s);

/* False: the session is dead; what is in `gather` (a GOAWAY) should still be sent. */
bool h2_server_recv(struct h2_server *s, char *ptr, size_t len, uint64_t now_us);
/* Fills `gather`; false when the session is dead. */
bool h2_server_pump(struct h2_server *s);
void h2_server_settle(struct h2_server *s);
/* Neither side means to say anything more. */
bool h2_server_is_over(const struct h2_server *s);

void h2_stream_init(struct h2_stream *st);
/* Gives back its buffers. */
void h2_stream_fini(struct h2_server *s, struct h2_stream *st);

/*
 * A final head, with its first bytes of body.  False: no memory, or the stream is
 * closed.  Bytes that do not go at once are copied.
 */
bool h2_server_respond(struct h2_server *s, struct h2_stream *st, const struct message *msg,
		       unsigned status, struct view body, bool end);
bool h2_server_interim(struct h2_server *s, struct h2_stream *st, const struct message *msg);
bool h2_server_data(struct h2_server *s, struct h2_stream *st, struct view body, bool end);
/* The last thing of a response: trailer fields behind what is pending. */
bool h2_server_trailers(struct h2_server *s, struct h2_stream *st, const struct message *msg);
void h2_server_reset(struct h2_server *s, struct h2_stream *st, enum h2_code code);

/* Bytes given and not yet in `gather`, one more for an end. */
static inline size_t h2_stream_pending(const struct h2_stream *st)
{
	if (st->closed)
		return 0;
	return (st->out ? st->out->len : 0) + st->now_len + (st->end && !st->end_sent);
}

/* A stream has to be given up because of what the client sent: as if it had reset it. */
void h2_server_blame(struct h2_server *s);

/* `n` bytes of the request's body have been taken: the peer may send as many more. */
void h2_server_taken(struct h2_server *s, struct h2_stream *st, size_t n);

/* GOAWAY in two steps (RFC 9113 6.8): the notice; then the last stream. */
void h2_server_notice(struct h2_server *s);
void h2_server_goaway(struct h2_server *s, enum h2_code code);

#endif
