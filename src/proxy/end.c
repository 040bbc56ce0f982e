/* SPDX-License-Identifier: MIT */
/*
 * The end of an exchange.  There is one: whatever ends it lets go of its attempts,
 * tells the client when that can still be told, waits until the client has taken
 * what it was given (FLUSH), and marks it (ENDED).  Its memory goes when the client's
 * side has taken note: at the end of the loop's turn, or in the client's own code.
 */

#include "asking.h"
#include "exchange.h"
#include "hedge.h"
#include "reply.h"
#include "request.h"
#include "trace.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"

static void count_status(struct worker *w, unsigned status)
{
	if (status >= 500)
		counter_add(&w->counters.responses_5xx, 1);
	else if (status >= 400)
		counter_add(&w->counters.responses_4xx, 1);
	else if (status >= 300)
		counter_add(&w->counters.responses_3xx, 1);
	else if (status)
		counter_add(&w->counters.responses_2xx, 1);
}

/* Counted, measured, logged: what it was is known now. */
static void account(struct exchange *ex)
{
	struct worker *w = ex->worker;
	ex->last_byte_us = clock_us();
	if (unlikely(ex->is_aside)) { /* only its backend's figures */
		exchange_measure(ex);
		return;
	}
	count_status(w, ex->status);
	counter_add(&w->counters.outcomes[ex->outcome], 1);
	if (outcome_row(ex->outcome)->is_error)
		counter_add(&w->counters.errors, 1);
	counter_add(&w->counters.bytes_in, ex->bytes_in);
	counter_add(&w->counters.bytes_out, ex->bytes_out);
	exchange_measure(ex);
	if (unlikely(ex->filter_stream != NULL))
		filtered_end(ex);
	if (unlikely(ex->follower != NULL))
		ex->follower->ended(ex->follower);
	if (unlikely(ex->logged))
		access_log_write(ex);
	if (unlikely(ex->trace != NULL))
		trace_end(ex);
}

static void mark(struct exchange *ex, enum outcome outcome)
{
	ex->outcome = outcome;
	exchange_set_state(ex, EXCHANGE_ENDED);
	account(ex);
	list_push_back(&ex->worker->ended, &ex->link);
}

/* Nothing comes from backends any more. */
static void let_go(struct exchange *ex, enum outcome outcome)
{
	if (unlikely(ex->held != NULL))
		asking_cancel(ex);
	attempt_judge(ex->at, outcome);
	if (unlikely(ex->hedge != NULL))
		hedge_drop(ex, false);
	attempt_finish(ex->at, false, outcome_row(outcome)->is_error);
}

/* All that the client gets has been given, and it still has to take it. */
static void flush(struct exchange *ex, enum outcome outcome)
{
	ex->outcome = outcome;
	if (!ex->blocked_from_us)
		ex->blocked_from_us = clock_us();
	ex->unsent_mark = ex->client_ops->unsent(ex);
	exchange_set_state(ex, EXCHANGE_FLUSH);
}

void exchange_answered(struct exchange *ex, enum io io, enum outcome outcome)
{
	attempt_finish(ex->at, false, false);
	ex->resp_complete = io != IO_ERR && !ex->rest.len;
	if (io != IO_ERR && ex->client_ops->pending(ex))
		flush(ex, outcome);
	else
		mark(ex, outcome);
}

void exchange_delivered(struct exchange *ex)
{
	struct attempt *at = ex->at;
	bool keep = at->resp_keep && ex->req_complete && !at->upload_dead;
	ex->resp_complete = true;
	attempt_finish(at, keep, ex->status >= 500);
	if (likely(!ex->client_ops->pending(ex)))
		mark(ex, OUTCOME_ok);
	else
		flush(ex, OUTCOME_ok);
}

static bool can_be_told(const struct exchange *ex, enum outcome outcome)
{
	return !ex->head_relayed && ex->state != EXCHANGE_FLUSH && outcome_row(outcome)->status;
}

void exchange_refuse(struct exchange *ex, enum outcome outcome, const char *detail)
{
	if (ex->state == EXCHANGE_ENDED)
		return;
	let_go(ex, outcome);
	if (can_be_told(ex, outcome))
		exchange_answered(ex, reply_error(ex, outcome, detail), outcome);
	else if (outcome == OUTCOME_tunnel && ex->client_eof && ex->backend_eof &&
		 ex->client_ops->pending(ex))
		flush(ex, outcome); /* in order, both directions */
	else
		mark(ex, outcome);
}

void exchange_end(struct exchange *ex, enum outcome outcome)
{
	exchange_refuse(ex, outcome, NULL);
}

/* ---- its memory ---- */

void exchange_show(struct worker *w)
{
	atomic_store_explicit(&w->n_exchanges, w->exchanges.n_live, memory_order_relaxed);
}

void exchange_free(struct exchange *ex)
{
	struct worker *w = ex->worker;
	check_magic(ex, EXCHANGE_MAGIC);
	check(ex->state == EXCHANGE_ENDED);
	list_del(&ex->link);
	request_free(ex);
	asking_free(w, ex->held);
	buf_put(&w->pool.bufs, ex->note);
	buf_put(&w->pool.bufs, ex->values);
	if (unlikely(ex->second != NULL))
		slab_put(&w->attempts, ex->second);
	ex->magic = 0;
	if (unlikely(ex->pools != NULL))
		gen_put(ex->pools);
	gen_put(ex->gl);
	slab_put(&w->exchanges, ex);
	exchange_show(w);
}

void exchange_turn_end(struct worker *w)
{
	while (!list_is_empty(&w->ended)) {
		struct exchange *ex = list_first(&w->ended, struct exchange, link);
		ex->ended(ex);
	}
}
