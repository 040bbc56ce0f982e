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

#include "exchange.h"

#include "weir/proxy/trace_record.h"

/* ---- of an exchange ---- */

struct trace {
	void *slab_link; /* only while free */
	struct trace_context context;
	uint8_t parent_id[8];
	bool has_parent, sampled, has_sent, h2;
	uint8_t n_attempts, n_lost;
	uint16_t stamp_at; /* where in the head the span id is, 0: nowhere */
	struct buf *note;  /* texts, with `sampled`; owns */
	/* borrowed while ex->gl and ex->pools are held */
	struct backend *backends[TRACE_ATTEMPTS_MAX];
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
