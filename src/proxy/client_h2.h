/* SPDX-License-Identifier: MIT */
/*
 * Private to proxy/: client connections that speak HTTP/2.  One connection, many
 * streams; each stream is an exchange of its own.
 *
 * What a stream or connection may take is said in weir/http/h2_server.h.  Frames
 * of all streams of a connection are gathered while a turn of the loop lasts and
 * sent at its end.  A connection is closed only there or out of its own events,
 * never inside client_ops.
 */
#ifndef WEIR_PROXY_CLIENT_H2_H
#define WEIR_PROXY_CLIENT_H2_H

#include "client.h"

#include "weir/http/h2_server.h"

#define CLIENT_H2_MAGIC 0x434c4932

/* What a worker's HTTP/2 connections share. */
struct client_h2_worker {
	struct h2_codec codec;
	struct message trailers; /* of a request; nobody else writes there */
	struct slab conns;       /* struct client_h2 */
	struct slab streams;     /* struct client_stream */
	struct list dirty;       /* struct client_h2 with something to do at the turn's end */
	char key[24];            /* for Sec-WebSocket-Key */
};

/*
 *        drained, too old       NOTICE_US later, a time-out
 *   OPEN ----------------> NOTICED ----------------> LEFT --> closed with the last stream
 *     |                       |                       |
 *     +-----------------------+-----------------------+--> BROKEN --> closed
 *                    a write failed                     the end of the turn
 *
 *   OPEN     takes requests
 *   NOTICED  the peer is told to send no more; those that are on their way are taken
 *   LEFT     GOAWAY with the last stream is out
 */
enum client_h2_state { CLIENT_H2_OPEN, CLIENT_H2_NOTICED, CLIENT_H2_LEFT, CLIENT_H2_BROKEN };

/* What the connection's timer waits for. */
enum client_h2_wait {
	H2_WAIT_UNSET,
	H2_WAIT_NONE, /* exchanges have deadlines of their own */
	H2_WAIT_HEAD, /* the rest of a header block */
	H2_WAIT_IDLE, /* a request */
	H2_WAIT_LEAVE /* requests sent before the notice was read */
};

struct client_h2 {
	void *slab_link; /* only while free */
	uint32_t magic;
	uint8_t state;   /* enum client_h2_state */
	uint8_t wait;    /* enum client_h2_wait */
	uint32_t n_live; /* exchanges */
	struct client *conn;
	struct worker *worker;
	struct list link;       /* client_h2_worker.dirty */
	struct list todo;       /* struct client_stream whose kept body may go on */
	struct h2_budget heads; /* of requests under way */
	struct h2_server server;
};

struct client_stream {
	void *slab_link; /* only while free */
	struct h2_stream st;
	struct client_h2 *h2;
	struct exchange *ex;  /* NULL: over, or refused */
	struct list todo;     /* client_h2.todo */
	struct buf_queue in;  /* of the body or tunnel, not taken yet; owns */
	struct buf *trailers; /* lines behind `in`; owns */
	uint64_t left;        /* of a body with a length */
	uint64_t total;       /* body bytes so far */
	uint32_t held;        /* bytes given on, whose window is not given back yet */
	uint32_t weight;      /* of its head in client_h2.heads */
	char key[24];         /* tunnel: the Sec-WebSocket-Key */
	bool has_length;
	bool chunked;
	bool tunnel;  /* extended CONNECT */
	bool open;    /* it was accepted: raw bytes */
	bool paused;  /* until client_ops.resume */
	bool ended;   /* `in` is the last of it */
	bool refused; /* the body was too large */
};

struct client_h2_worker *client_h2_worker_new(struct worker *w, const struct worker_limits *limits);
void client_h2_worker_free(struct client_h2_worker *h2w);
void client_h2_watch(struct client_h2_worker *h2w, struct slab_watch *watch);
/* All that was put off to the end of the turn. */
void client_h2_turn_end(struct worker *w);

/*
 * The connection's first bytes are no HTTP/1: takes it over when they begin an
 * HTTP/2 preface and the listener allows it.  False: it does not; otherwise `c`
 * may be closed already.
 */
bool client_h2_takes(struct client *c, char *ptr, size_t len);
/* Negotiated by ALPN: speaks HTTP/2 from the first byte on. */
void client_h2_start(struct client *c);
void client_h2_abort(struct client *c);
/* GOAWAY; requests under way are finished. */
void client_h2_drain(struct client *c);

/* ---- between client_h2.c, client_h2_stream.c, client_h2_write.c and client_h2_link.c ---- */

extern const struct client_ops client_h2_ops;
extern const struct h2_server_events client_h2_events;

/* The only way to change its state. */
void client_h2_set_state(struct client_h2 *h2, enum client_h2_state state);
/* Something is to be done for it at the end of the turn. */
void client_h2_dirty(struct client_h2 *h2);
/* Hands what is gathered to the socket; false: no more for now. */
bool client_h2_send(struct h2_server *s);
/* A stream's kept body goes on. */
void client_stream_go_on(struct client_stream *cs);
void client_stream_free(struct client_stream *cs);

#endif
