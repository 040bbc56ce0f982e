/* SPDX-License-Identifier: MIT */
/*
 * The sample app server: one thread, one loop, N instances.  An instance is a
 * port with a name, defaults (struct plan), a service station and counters.
 */
#ifndef WEIR_APP_APP_H
#define WEIR_APP_APP_H

#include <ev.h>
#include <netinet/in.h>

#include "weir/base/str.h"
#include "weir/stats/hist.h"

#include "body.h"
#include "plan.h"
#include "request.h"
#include "station.h"

#define STATUS_MAX 600

struct counters {
	uint64_t connections; /* accepted, control connections apart */
	uint64_t requests;
	uint64_t bad_requests; /* bytes that made no request */
	uint64_t aborted;      /* the peer left before its answer was complete */
	uint64_t faults;       /* resets, cuts and garbage made on demand */
	uint64_t tunnels;
	uint64_t bytes_in;
	uint64_t bytes_out;
	uint64_t max_in_progress;
	uint64_t responses[STATUS_MAX];
};

struct instance {
	struct server *server;
	char name[64];
	int fd;
	uint16_t port;
	ev_io accept_io;
	struct plan defaults;
	bool is_plain; /* a plain GET can be answered with `fast` */
	struct str fast;
	struct rng rng;
	struct station station;
	struct list hanging;  /* connections whose answer waits for /_go */
	uint64_t open;        /* connections now */
	uint64_t in_progress; /* requests now */
	struct counters n;
	/* owns; from a request's head to the start of its answer; not of the fast answers */
	struct hist *took;
};

struct server {
	struct ev_loop *loop;
	struct instance *instances; /* owns */
	size_t n_instances;
	struct station shared;
	uint64_t shared_service_us;
	enum plan_dist shared_dist;
	struct rng shared_rng;
	bool has_shared;
	int rcvbuf, sndbuf; /* of accepted sockets, 0: the system's choice */
};

/*
 *  HEAD --> BODY --> SERVE --> ANSWER --> HEAD ...     (SERVE: queue, service, delays)
 *    |                           |  ^
 *    |  (early answer) ----------+  +-- DRAIN (the rest of the body after an early answer)
 *    +--> TUNNEL                 +--> LINGER --> DEAD
 *
 *  Who wakes: HEAD, BODY, DRAIN, TUNNEL the peer's bytes; SERVE a timer; ANSWER
 *  the socket's room or a timer; LINGER the peer's end or a timer.
 */
enum conn_state {
	CONN_HEAD,
	CONN_BODY,
	CONN_SERVE,
	CONN_ANSWER,
	CONN_DRAIN,
	CONN_TUNNEL,
	CONN_LINGER,
	CONN_DEAD,
};

/* Where the bytes of an answer's body come from. */
enum source { SOURCE_TEXT, SOURCE_PATTERN };

struct conn {
	uint64_t magic;
	struct instance *instance; /* shared, lives as long as the process */
	int fd;
	enum conn_state state;
	bool is_control;
	bool peer_done; /* its end of stream was seen */
	ev_io readable, writable;

	/* the request */
	struct plan plan;
	bool is_head, http10, keep_alive, chunked_ok;
	bool is_counted;     /* in in_progress */
	bool slow_read_wait; /* reads by the timer only */
	bool is_running;     /* conn_run is at work on it */
	struct body body;
	struct job job;        /* at the instance's station */
	struct job shared_job; /* at the shared one */
	struct list hanging;   /* in the instance's */
	uint64_t n_requests;
	uint64_t began_us;

	/* the answer */
	struct timer timer; /* the one delay that is due next */
	enum source source;
	struct str text;
	uint64_t body_len, body_at;
	uint64_t stop_at; /* the offset of the half-way event, PLAN_UNSET: none */
	uint64_t chunk_left;
	uint64_t allowance; /* bytes that `rate` lets go now */
	unsigned status;
	bool framing_chunked;
	bool last_chunk_sent;
	bool is_raw;      /* `text` is all of the answer, head included */
	bool breaking;    /* the timer ends in the fault that was asked for */
	struct str extra; /* header lines asked for */

	struct str in; /* bytes that wait for their turn */
	struct str out;
	size_t out_at;
	uint64_t n_in; /* bytes, taken back from the counters by a control request */
};

#define CONN_MAGIC 0x77656972636f6e6eULL

/* conn.c */
void conn_accept(struct ev_loop *loop, ev_io *io, int events);
/* Goes on after `timer` or a station: what is next depends on the state only. */
void conn_run(struct conn *conn, struct view fresh);
void conn_drop(struct conn *conn);
void conn_reset(struct conn *conn);
/* Ends the connection as the request asked for. */
void conn_fault(struct conn *conn, bool reset);
/* True when nothing is left in `out`. */
bool conn_flush(struct conn *conn);
/* Says no more, and reads on for a while so that the peer gets what was said. */
void conn_linger(struct conn *conn);
void conn_leave_stations(struct conn *conn);

/* conn_steps.c */
/* Answers what hangs. */
void conns_go(struct instance *instance);
/* True when the next step may be taken at once. */
bool conn_step(struct conn *conn, struct view *input);

/* reply.c */
void reply_prepare(struct instance *instance);
void reply_echo_head(struct conn *conn, const struct request *req);
void reply_start(struct conn *conn);
void reply_tunnel(struct conn *conn, const struct request *req);
/* A delay within the answer is over. */
void reply_timer(struct conn *conn, unsigned slices);
/* True when the answer is complete and all of it was sent. */
bool reply_pump(struct conn *conn);

/* control.c */
bool control_answer(struct conn *conn, const struct request *req);
/* False when an option is unknown or its value does not fit. */
bool options_from_request(struct conn *conn, const struct request *req);

#endif
