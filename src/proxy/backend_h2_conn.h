/* SPDX-License-Identifier: MIT */
/*
 * Private to backend_h2*.c: one HTTP/2 connection to a backend and the streams
 * on it.
 *
 *   backend_h2.c       which connection a request takes; a worker's life
 *   backend_h2_conn.c  one connection: bytes, deadlines, its end
 *   backend_h2_send.c  requests
 *   backend_h2_recv.c  responses
 */
#ifndef WEIR_PROXY_BACKEND_H2_CONN_H
#define WEIR_PROXY_BACKEND_H2_CONN_H

#include "backend_h2.h"
#include "exchange.h"

#include "weir/http/h2_client.h"

#define H2_CONN_MAGIC 0x48325550
/* Streams of a connection, even if the backend allows more. */
#define H2_CONN_STREAMS_MAX 1000

struct backend_stream {
	void *slab_link; /* only while free */
	struct h2_client_stream st;
	struct list link; /* of the connection: waiting or streams */
	struct list news; /* of the connection: something to tell */
	struct h2_conn *conn;
	struct attempt *at;
	int32_t id;            /* 0: not sent yet */
	struct buf *out;       /* of the request body, not framed yet; owns */
	struct buf *out_tail;  /* its trailers as text; owns */
	struct buf_queue held; /* of the response body, while the client is slow; owns */
	struct buf *held_tail; /* its trailers; owns */
	uint64_t left;         /* of the response body; UINT64_MAX: not announced */
	uint32_t owed;         /* bytes of it whose window was not given back */
	uint32_t code;         /* with `closed` */
	bool out_end;          /* `out` is the last of it */
	bool body_over;        /* and was framed */
	bool paused;
	bool held_end;
	bool ended;      /* the backend has sent all of its answer with the head */
	bool drained;    /* news: `out` is empty now */
	bool closed;     /* news: there are no further events */
	enum h2_end end; /* with `closed` */
};

/*
 *               TCP, TLS             SETTINGS          GOAWAY, retired, used up
 *   CONNECTING ----------> GREETING ----------> OPEN ------------------------> CLOSING
 *       |                     |                   |                              |  |
 *       +---------------------+-------------------+--- broken, out of order -----+  |
 *                             v                                                     |
 *                           DEAD --------------> closed <----- last stream done ----+
 *
 *   CONNECTING  requests wait for it             each has its own timeouts.connect
 *   GREETING    bytes can be sent, requests not yet: they wait for the backend's SETTINGS,
 *               which it sends as soon as it accepts; so no stream is opened that it
 *               would refuse, nor on what is no HTTP/2 at all              the same
 *               Who comes later than timeouts.connect does not wait for it in either: as long
 *               as there was one more it would not end, and others were not opened
 *   OPEN        takes requests (backend_local->shared)         keepalive.ping, keepalive.idle
 *   CLOSING     takes no further one             keepalive.ping
 *   DEAD        nothing can be sent or received; whoever is left on it is told at the end of
 *               the turn
 *
 * Without a stream it is closed at the end of the turn in CLOSING and DEAD, and after
 * keepalive.idle in OPEN; nobody waiting for it any more kills one that is not open yet.
 */
enum h2_conn_state {
	H2_CONN_CONNECTING,
	H2_CONN_GREETING,
	H2_CONN_OPEN,
	H2_CONN_CLOSING,
	H2_CONN_DEAD,
};

struct h2_conn {
	void *slab_link; /* only while free */
	struct timer timer;
	uint32_t magic;
	uint8_t state; /* enum h2_conn_state */
	struct backend_h2 *owner;
	struct upconn *up;           /* owns; linked in backend_local->shared while it has room */
	struct h2_client *session;   /* owns */
	struct gen_local *gl;        /* counted; set when its backend is retired */
	struct pool_state_local *sl; /* valid while its backend is not retired */
	struct list all;             /* owner->all */
	struct list dirty;           /* owner->dirty */
	struct list waiting;         /* struct backend_stream, until connected */
	struct list streams;         /* struct backend_stream */
	struct list news;
	uint32_t n_waiting;
	uint32_t n_streams; /* as the session counts */
	uint32_t n_requests, max_requests;
	int32_t asked_id;  /* the last stream that was opened */
	int32_t queued_id; /* the last whose head may be with `up->stream`, in so many bytes */
	size_t queued;
	int32_t gone_id; /* the last that had left before them */
	int32_t cut_id;  /* DEAD: in the middle of whose head or trailers the backend left; or 0 */
	uint32_t max_idle;
	uint64_t idle_us, ping_us;
	uint64_t read_us, unused_us;
	uint64_t greet_by_us; /* not open by then: nobody else begins to wait for it */
	uint64_t asked_us;    /* the first request since `read_us` */
	uint64_t bulk;        /* of bodies that are, since the last event: see bulk.h */
	enum err why;         /* DEAD: what those who wait for it are told */
	bool may_be_http1;    /* ALPN offered both */
	bool left;            /* GOAWAY has come, or is to be sent */
	bool answered;        /* it brought a response */
	bool pinged;          /* since it was silent: the next time is its end */
	bool busy;            /* others are being told: not to be freed */
};

struct backend_h2 {
	struct worker *worker;
	struct slab conns, streams;
	struct list all, dirty;
	struct area in;
	char *out; /* AREA_DATA; owns */
	struct message msg;
};

/* ---- backend_h2_conn.c ---- */

/* The only way to change its state. */
void h2_conn_set_state(struct h2_conn *conn, enum h2_conn_state state);
/* Something is to be done for it at the end of the turn. */
void h2_conn_touch(struct h2_conn *conn);
/* The stream has something to tell. */
void h2_conn_note(struct backend_stream *s);
/* No further requests; of one that is connected. */
void h2_conn_stop(struct h2_conn *conn);
/* Nothing can be sent or received any more; its streams are told later. */
void h2_conn_kill(struct h2_conn *conn);
bool h2_conn_is_unused(const struct h2_conn *conn);
/* The backend allows no streams on it. */
bool h2_conn_is_barren(const struct h2_conn *conn);
/* What the session has to say goes to the kernel, as far as that takes it. */
void h2_conn_flush(struct h2_conn *conn);
/* Must be unused. */
void h2_conn_close(struct h2_conn *conn);
/* The same without its socket, which has another owner or was never there. */
void h2_conn_drop(struct h2_conn *conn);
/* A request was sent. */
void h2_conn_asked(struct h2_conn *conn);
/* Nothing has come since then, even if nobody waits for it any more. */
static inline bool h2_conn_owes(const struct h2_conn *conn)
{
	return conn->asked_us > conn->read_us;
}
/* The timer's. */
void h2_conn_on_timer(struct timer *timer);
extern const struct stream_events h2_conn_events;
extern const struct h2_client_events h2_session_events;

/* ---- backend_h2.c ---- */

/*
 * The backend chose HTTP/1: one of those who wait gets the socket, the others open
 * their own.  `conn` may be gone.
 */
void backend_h2_turn_http1(struct h2_conn *conn);

/* ---- streams ---- */

static inline struct backend_stream *backend_stream_of(struct h2_client_stream *stream)
{
	return container_of(stream, struct backend_stream, st);
}
static inline struct buf_pool *backend_stream_bufs(const struct backend_stream *s)
{
	return &s->conn->owner->worker->pool.bufs;
}
/* It ended before its response did. */
void backend_stream_lost(struct backend_stream *s, enum outcome outcome);

/* ---- backend_h2_send.c ---- */

void backend_h2_send(struct attempt *at);
enum io backend_h2_body(struct attempt *at, const struct request_part *part);
size_t backend_h2_pending(const struct attempt *at);
size_t backend_h2_source(struct h2_client_stream *stream, char *to, size_t cap, bool *end,
			 bool *trailers);
const struct message *backend_h2_source_trailers(struct h2_client_stream *stream);

/* ---- backend_h2_recv.c ---- */

void backend_h2_head(struct h2_client_stream *stream, struct view text, char *body, size_t len,
		     bool end);
void backend_h2_data(struct h2_client_stream *stream, char *body, size_t len, bool end);
void backend_h2_trailers(struct h2_client_stream *stream, struct view text);
void backend_h2_pause(struct attempt *at);
void backend_h2_resume(struct attempt *at);

#endif
