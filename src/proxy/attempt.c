/* SPDX-License-Identifier: MIT */
/*
 * Attempts: from a pool to a backend to a connection, and what to do when that
 * fails.  A retry is a second attempt on another backend; a kept connection that
 * turns out to be closed is replaced on the same backend and is no retry.
 */
#include "deadline.h"
#include "pin.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/base/log.h"
#include "weir/proxy/exchange.h"

/* A line a minute and backend tells the operator; a line a request would be a flood. */
#define REFUSED_LOG_US 60000000

/* The connection could not be opened. */
static void connect_failed(struct exchange *ex, enum outcome outcome)
{
	struct worker *w = ex->worker;
	struct backend *b = ex->lease.backend;
	struct backend_local *bl = b->local[w->pool.id];
	counter_add(&bl->counters.connect_failures, 1);
	if (pool_note_refused(ex->view, &w->pool, b)) {
		worker_refresh_later(w, POOL_AVOID_US);
		if (bl->avoid_logged_us == 0 ||
		    w->loop.now_us - bl->avoid_logged_us > REFUSED_LOG_US) {
			bl->avoid_logged_us = w->loop.now_us;
			log_warn("backend " VIEW_FMT "/" VIEW_FMT " (" VIEW_FMT
				 "): %s, %u times in a row; tried once a second from now on",
				 VIEW_ARG(b->pool_name), VIEW_ARG(b->name),
				 VIEW_ARG(b->address_text), outcome_row(outcome)->sentence,
				 POOL_REFUSED_MAX);
		}
	}
	attempt_failed(ex, outcome);
}

void attempt_connected(struct exchange *ex, enum err err)
{
	ex->connect_us += clock_us() - ex->connect_from_us;
	ex->connect_from_us = 0;
	if (err) {
		connect_failed(ex, err == ERR_REFUSED   ? OUTCOME_connect_refused
				   : err == ERR_TIMEOUT ? OUTCOME_connect_timeout
							: OUTCOME_connect_failed);
		return;
	}
	pool_note_connected(ex->up->local);
	backend_h1_send(ex);
}

static void connect_or_reuse(struct exchange *ex, bool may_reuse)
{
	struct worker *w = ex->worker;
	struct backend *b = ex->lease.backend;
	bool connected;
	ex->backend = b;
	if (unlikely(ex->client_deadline) && !deadline_stamp(ex)) {
		reply_error(ex, OUTCOME_deadline_passed, NULL);
		return;
	}
	ex->unsent = true;
	if (may_reuse && (ex->up = upconn_take(&w->pool, b, &backend_h1_events, ex)) != NULL) {
		counter_add(&ex->up->local->counters.reuses, 1);
		backend_h1_send(ex);
		return;
	}
	if (!exchange_keep_request(ex)) {
		reply_error(ex, OUTCOME_no_memory, NULL);
		return;
	}
	ex->connect_from_us = clock_us();
	enum err err = upconn_connect(&w->pool, b, ex->view->pool->conf, &backend_h1_events, ex,
				      &ex->up, &connected);
	if (err == ERR_OK && connected) {
		attempt_connected(ex, ERR_OK);
	} else if (err == ERR_OK) {
		exchange_set_state(ex, EXCHANGE_CONNECTING);
	} else if (err == ERR_FULL) {
		attempt_failed(ex, OUTCOME_connect_limit);
	} else if (err == ERR_NOMEM || err == ERR_FDS) {
		attempt_failed(ex, OUTCOME_no_memory);
	} else {
		connect_failed(ex, err == ERR_REFUSED ? OUTCOME_connect_refused
						      : OUTCOME_connect_failed);
	}
}

/* Out of the queue with a lease. */
static void on_lease(struct waiter *waiter, struct lease *lease)
{
	struct exchange *ex = container_of(waiter, struct exchange, waiter);
	check_magic(ex, EXCHANGE_MAGIC);
	ex->lease = *lease;
	/* QUEUED means a place in the queue, which is gone */
	exchange_set_state(ex, EXCHANGE_CONNECTING);
	connect_or_reuse(ex, true);
}

bool attempt_elsewhere(struct exchange *ex)
{
	if (!pin_take_elsewhere(ex))
		return false;
	exchange_set_state(ex, EXCHANGE_CONNECTING);
	connect_or_reuse(ex, true);
	return true;
}

/* Out of the queue without one. */
static void on_shed(struct waiter *waiter)
{
	struct exchange *ex = container_of(waiter, struct exchange, waiter);
	check_magic(ex, EXCHANGE_MAGIC);
	reply_error(ex, OUTCOME_queue_shed, NULL);
}

static void wait_for_slot(struct exchange *ex)
{
	if (!exchange_keep_request(ex)) {
		reply_error(ex, OUTCOME_no_memory, NULL);
		return;
	}
	ex->waiter.ready = on_lease;
	ex->waiter.tried = &ex->tried;
	ex->waiter.key = ex->hash_key;
	ex->waiter.only = ex->pin;
	ex->waiter.shed = on_shed;
	ex->waiter.class = ex->pin_waits ? QUEUE_CLASS_PATIENT : (uint8_t)ex->route->priority;
	ex->queue_from_us = ex->worker->loop.now_us;
	if (pool_queue_push(ex->view, &ex->waiter, ex->queue_from_us)) {
		if (attempt_elsewhere(ex))
			return;
		counter_add(&ex->view->sl->counters.queue_full, 1);
		reply_error(ex, OUTCOME_queue_full, NULL);
		return;
	}
	counter_add(&ex->view->sl->counters.queued, 1);
	ex->queue_met =
	    atomic_load_explicit(&ex->view->pool->state->n_queued, memory_order_relaxed);
	exchange_set_state(ex, EXCHANGE_QUEUED);
}

static enum pool_verdict take(struct exchange *ex)
{
	if (unlikely(ex->pin))
		return pin_take(ex);
	return pool_take(ex->view, &ex->worker->pool, &ex->tried, ex->hash_key, &ex->lease);
}

void attempt_begin(struct exchange *ex)
{
	switch (take(ex)) {
	case POOL_TAKEN:
		connect_or_reuse(ex, true);
		break;
	case POOL_FULL:
		wait_for_slot(ex);
		break;
	case POOL_EMPTY:
		counter_add(&ex->view->sl->counters.no_backend, 1);
		reply_error(ex, ex->pin ? OUTCOME_pin_lost : OUTCOME_no_backend, NULL);
		break;
	}
}

void attempt_finish(struct exchange *ex, bool keep, bool error)
{
	if (ex->up) {
		struct upconn *up = ex->up;
		ex->up = NULL;
		if (keep)
			upconn_release(up, ex->view->pool->conf);
		else
			upconn_close(up);
	}
	if (ex->lease.backend) {
		ex->lease.served = ex->resp_complete && !error;
		struct backend_local *bl = ex->backend->local[ex->worker->pool.id];
		if (error)
			counter_add(&bl->counters.errors, 1);
		uint64_t from = ex->sent_us ? ex->sent_us : ex->start_us;
		uint64_t now = ex->worker->loop.now_us;
		/* a client that leaves before the answer says nothing about the backend */
		uint64_t to = ex->first_byte_us ? ex->first_byte_us : error ? now : 0;
		if (unlikely(ex->view->pool->adaptive) && ex->sent_us &&
		    (!error || !ex->resp_complete) && to)
			lease_note(&ex->lease, error, to > from ? to - from : 1);
		lease_drop(&ex->lease, error, to > from ? to - from : to ? 1 : 0);
	}
}

static unsigned retry_kind(enum outcome outcome)
{
	switch (outcome) {
	case OUTCOME_connect_refused:
	case OUTCOME_connect_failed:
	case OUTCOME_connect_timeout:
	case OUTCOME_connect_limit:
		return CONF_RETRY_CONNECT;
	case OUTCOME_backend_closed:
	case OUTCOME_backend_reset:
		return CONF_RETRY_RESET;
	default:
		return 0;
	}
}

/* Sending it a second time can do no harm. */
static bool may_repeat(const struct exchange *ex)
{
	return ex->replayable && !ex->resp_started &&
	       (ex->unsent || method_is_idempotent(ex->method));
}

static bool may_retry(const struct exchange *ex, enum outcome outcome)
{
	const struct conf_pool *conf = ex->view->pool->conf;
	return conf->retry.on && (conf->retry.on_what & retry_kind(outcome)) &&
	       ex->n_retries < conf->retry.attempts && ex->tried.n < POOL_TRIED_MAX &&
	       may_repeat(ex);
}

/* The kept connection was closed already: the same backend, a fresh connection. */
static bool replace_stale(struct exchange *ex, enum outcome outcome)
{
	if (retry_kind(outcome) != CONF_RETRY_RESET || !ex->up || !upconn_is_reused(ex->up) ||
	    ex->stale_retried || !may_repeat(ex))
		return false;
	counter_add(&ex->up->local->counters.stale_reuses, 1);
	exchange_attempt_over(ex);
	upconn_close(ex->up);
	ex->up = NULL;
	ex->stale_retried = true;
	connect_or_reuse(ex, false);
	return true;
}

/* On another backend, if there is one and the budget allows. */
static bool retry(struct exchange *ex)
{
	struct backend_local *bl = ex->backend->local[ex->worker->pool.id];
	struct pool_counters *counters = &ex->view->sl->counters;
	ex->tried.index[ex->tried.n++] = ex->lease.index;
	exchange_attempt_over(ex);
	attempt_finish(ex, false, true);
	ex->stale_retried = ex->counted = false;
	/* the budget first: a pick that is not used would skew the strategy */
	if (!pool_retry_allowed(ex->view->pool->state)) {
		counter_add(&counters->retries_denied, 1);
		return false;
	}
	enum pool_verdict verdict = take(ex);
	if (verdict == POOL_EMPTY) {
		pool_retry_unused(ex->view->pool->state);
		return false;
	}
	ex->n_retries++;
	counter_add(&bl->counters.retries, 1);
	counter_add(&counters->retries, 1);
	if (verdict == POOL_TAKEN)
		connect_or_reuse(ex, true);
	else
		wait_for_slot(ex);
	return true;
}

void attempt_failed(struct exchange *ex, enum outcome outcome)
{
	if (replace_stale(ex, outcome))
		return;
	if (may_retry(ex, outcome) && retry(ex))
		return;
	attempt_finish(ex, false, true);
	if (ex->head_relayed)
		exchange_end(ex, outcome);
	else
		reply_error(ex, outcome, NULL);
}
