/* SPDX-License-Identifier: MIT */
/*
 * Distributed tracing, a worker's half: the trace an exchange belongs to (W3C
 * Trace Context), which goes on to the backend with the id of the attempt's
 * span, and the account of a sampled exchange, put into a ring that the control
 * thread empties (boot/tracer.c).  A full ring drops the account and counts it:
 * a slow collector never holds up a worker.
 *
 *   trace_begin     the head is here: continue the client's trace, or begin one
 *   trace_put       traceparent into the head that is put together
 *   trace_attempt   one try begins: its span id goes into that head
 *   trace_*         facts of the attempt
 *   trace_end       the account, if the trace is sampled
 *
 * An exchange has a struct trace only while tracing is on, so what is off costs
 * the look at one pointer.
 *
 * Thread: the worker of the exchange, unless a function says otherwise.
 */
#ifndef WEIR_PROXY_TRACE_H
#define WEIR_PROXY_TRACE_H

#include "weir/base/ring.h"
#include "weir/http/trace_context.h"
#include "weir/proxy/exchange.h"

/* Bytes of accounts a worker may be ahead of the exporter. */
#define TRACE_RING_BYTES (4u << 20)
/* Attempts with a span of their own; what follows is counted only. */
#define TRACE_ATTEMPTS_MAX 12

struct trace_attempt {
	uint8_t span_id[8];
	bool h2;
	bool reused;      /* the connection served others before */
	bool replaced;    /* it was closed already; sent again on a fresh one */
	bool hedge;       /* a second one beside the first */
	uint16_t status;  /* of the answer; 0: none came */
	uint16_t outcome; /* enum outcome that ended it early; N_OUTCOMES: nothing did */
	uint64_t from_us, connected_us, sent_us, first_us, end_us; /* monotonic; 0: not reached */
};

/* ---- what a ring holds: this, then n_attempts struct trace_attempt, then texts ---- */

enum trace_text {
	/* noted while the request is at hand */
	TRACE_METHOD,
	TRACE_TARGET,
	TRACE_HOST,
	TRACE_SCHEME,
	TRACE_CLIENT, /* address, as far as proxies are trusted */
	TRACE_PEER,   /* who connected */
	TRACE_AGENT,
	TRACE_STATE, /* tracestate */
	TRACE_SENT,  /* target as sent to the backend */
	/* known at the end */
	TRACE_LISTENER,
	TRACE_ROUTE,
	TRACE_ROUTE_PATH, /* what its match says of the path */
	TRACE_POOL,
	TRACE_REQUEST_ID,
	N_TRACE_TEXTS,
	N_TRACE_NOTED = TRACE_LISTENER,
};

/* Texts are a uint16_t length and bytes: the ones above, then name and address of
 * the backend of each attempt. */
struct trace_record {
	uint32_t len; /* all of it */
	uint8_t n_attempts, n_lost;
	bool has_parent, h2; /* h2: what the client speaks */
	bool backend_tls;
	uint8_t version_minor;
	struct trace_context context; /* the span id is the server's */
	uint8_t parent_id[8];
	uint16_t status, outcome, retries;
	uint64_t start_us, end_us; /* monotonic */
	uint64_t queue_us, connect_us, client_us;
	uint64_t bytes_in, bytes_out;
};

#define TRACE_RECORD_MAX (16 * 1024)

/* ---- of an exchange ---- */

struct trace {
	void *slab_link; /* only while free */
	struct trace_context context;
	uint8_t parent_id[8];
	bool has_parent, sampled, has_sent, h2;
	uint8_t n_attempts, n_lost;
	uint16_t stamp_at; /* where in the head the span id is, 0: nowhere */
	struct buf *note;  /* texts, with `sampled`; owns */
	struct backend *backends[TRACE_ATTEMPTS_MAX]; /* borrowed while ex->gl is held */
	struct trace_attempt attempts[TRACE_ATTEMPTS_MAX];
};

/* Takes traceparent out of `msg`; ex->trace stays NULL without memory. */
void trace_begin(struct exchange *ex, const struct exchange_request *req, struct message *msg);
void trace_put(struct exchange *ex, struct h1_out *out);
void trace_attempt(struct attempt *at);
void trace_connected(struct attempt *at);
void trace_replaced(struct attempt *at);
void trace_outcome(struct attempt *at, enum outcome outcome);
void trace_status(struct attempt *at, unsigned status);
/* The attempt is over: before what it knows is forgotten.  Any number of times. */
void trace_attempt_end(struct attempt *at);
/* Gives the memory back. */
void trace_end(struct exchange *ex);

#endif
