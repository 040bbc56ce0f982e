/* SPDX-License-Identifier: MIT */
/*
 * Attempts: from a pool to a backend to a connection, and what to do when that
 * fails.  A retry is a second attempt on another backend; a kept connection that
 * turns out to be closed is replaced on the same backend and is no retry.
 */
#include "backend_h2.h"
#include "deadline.h"
#include "hedge.h"
#include "pin.h"
#include "room.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/base/log.h"
#include "weir/http/retry_after.h"
#include "weir/proxy/exchange.h"
#include "weir/proxy/trace.h"

/* A line a minute and backend tells the operator; a line a request would be a flood. */
#define REFUSED_LOG_US 60000000

/* How soon a backend that asked to be left alone is looked at again. */
#define ASKED_LOOK_US 100000

/* As many times the pool's median without a byte of an answer is a fault, whoever gave up. */
#define HANGS_TIMES 10

/* The connection could not be opened. */
static void connect_failed(struct attempt *at, enum outcome outcome)
{
	struct worker *w = at->ex->worker;
	struct backend *b = at->lease.backend;
	struct backend_local *bl = at->local;
	counter_add(&bl->counters.connect_failures, 1);
	if (pool_note_refused(at->lease.view, &w->pool, b)) {
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
	attempt_failed(at, outcome);
}

static enum outcome outcome_of(enum err err)
{
	switch (err) {
	case ERR_REFUSED:
		return OUTCOME_connect_refused;
	case ERR_TIMEOUT:
		return OUTCOME_connect_timeout;
	case ERR_UNTRUSTED:
		return OUTCOME_tls_untrusted;
	case ERR_HANDSHAKE:
		return OUTCOME_tls_failed;
	case ERR_PROTOCOL:
		return OUTCOME_http2_failed;
	default:
		return OUTCOME_connect_failed;
	}
}

/* What the handshake came to, for the API; logged when it changes. */
static void note_tls(struct attempt *at, enum err err)
{
	struct backend *b = at->lease.backend;
	bool failed = err == ERR_UNTRUSTED || err == ERR_HANDSHAKE;
	const char *why = failed ? stream_why(&at->up->stream) : NULL;
	if (why && !*why)
		why = "the backend did not choose a protocol that was offered (ALPN)";
	const char *before = atomic_load_explicit(&b->tls_error, memory_order_relaxed);
	if (why == before || (err && !failed))
		return;
	atomic_store_explicit(&b->tls_error, why, memory_order_relaxed);
	if (why)
		log_warn("backend " VIEW_FMT "/" VIEW_FMT " (" VIEW_FMT "): TLS: %s",
			 VIEW_ARG(b->pool_name), VIEW_ARG(b->name), VIEW_ARG(b->address_text), why);
}

void attempt_connected(struct attempt *at, enum err err)
{
	if (likely(at == at->ex->at))
		at->ex->connect_us += clock_us() - at->connect_from_us;
	at->connect_from_us = 0;
	if (unlikely(at->ex->trace != NULL && err == ERR_OK))
		trace_connected(at);
	if (unlikely(at->up && at->up->tls_id))
		note_tls(at, err);
	if (err) {
		connect_failed(at, outcome_of(err));
		return;
	}
	pool_note_connected(at->local);
	upconn_opened(at->up);
	at->ops->send(at);
}

static void wait_for_slot(struct exchange *ex);
static void connect_or_reuse(struct attempt *at, bool may_reuse);

/*
 * As many connections to it are being opened as may be, which the pick did not see
 * (limits.connecting).  Once it goes back into the queue, which wakes it when there
 * is a way.
 */
static void step_back(struct attempt *at)
{
	struct exchange *ex = at->ex;
	if (at != ex->at || at->stepped_back || !ex->view->pool->conf->queue.on) {
		attempt_failed(at, OUTCOME_connect_limit);
		return;
	}
	at->stepped_back = true;
	lease_drop(&at->lease, false, 0);
	wait_for_slot(ex);
}

/* A connect has begun, or could not. */
static void connecting(struct attempt *at, enum err err, bool connected)
{
	struct exchange *ex = at->ex;
	if (!exchange_keep_request(ex)) {
		reply_error(ex, OUTCOME_no_memory, NULL);
	} else if (err == ERR_OK && connected) {
		attempt_connected(at, ERR_OK);
	} else if (err == ERR_OK) {
		if (likely(at == ex->at)) /* a second one changes no state */
			exchange_set_state(ex, EXCHANGE_CONNECTING);
	} else if (unlikely(err == ERR_FDS) && !at->made_room && room_make(ex->worker)) {
		at->made_room = true;
		connect_or_reuse(at, true);
	} else if (unlikely(err == ERR_BUSY)) {
		step_back(at);
	} else if (err == ERR_FULL) {
		attempt_failed(at, OUTCOME_connect_limit);
	} else if (err == ERR_NOMEM || err == ERR_FDS) {
		attempt_failed(at, OUTCOME_no_memory);
	} else {
		connect_failed(at, err == ERR_REFUSED ? OUTCOME_connect_refused
						      : OUTCOME_connect_failed);
	}
}

/* A stream of a shared connection, which may have to be opened first. */
static void connect_h2(struct attempt *at, bool may_reuse)
{
	bool connected = false;
	enum err err = backend_h2_take(at, may_reuse, &connected);
	at->ops = err ? NULL : &backend_h2_ops;
	if (err == ERR_OK && connected && at->reused) {
		counter_add(&at->local->counters.reuses, 1);
		at->ops->send(at);
		return;
	}
	at->connect_from_us = clock_us();
	connecting(at, err, connected);
}

/* `protocol: auto` is what the backend chose the last time; HTTP/2 until that is known. */
static bool wants_h2(const struct attempt *at)
{
	const struct exchange *ex = at->ex;
	const struct backend_local *local = at->local;
	if (ex->view->pool->conf->protocol == CONF_PROTOCOL_H2)
		return true;
	if (!ex->view->tls || local->speaks == BACKEND_SPEAKS_HTTP1)
		return false;
	return !ex->wants_upgrade ||
	       (local->speaks == BACKEND_SPEAKS_H2 && local->h2_tunnels && ex->wants_websocket);
}

static void connect_or_reuse(struct attempt *at, bool may_reuse)
{
	struct exchange *ex = at->ex;
	struct worker *w = ex->worker;
	struct backend *b = at->lease.backend;
	struct upconn_intro intro;
	bool connected = false;
	if (likely(at == ex->at))
		ex->backend = b;
	at->local = b->local[w->pool.id];
	if (unlikely(ex->client_deadline) && !deadline_stamp(ex)) {
		reply_error(ex, OUTCOME_deadline_passed, NULL);
		return;
	}
	if (unlikely(ex->trace != NULL))
		trace_attempt(at);
	at->unsent = true;
	const struct conf_pool *conf = ex->view->pool->conf;
	if (unlikely(conf->protocol != CONF_PROTOCOL_HTTP1) && wants_h2(at)) {
		connect_h2(at, may_reuse);
		return;
	}
	intro.key = 0;
	intro.only_http1 = conf->protocol != CONF_PROTOCOL_HTTP1 && ex->wants_upgrade;
	if (unlikely(conf->send_proxy))
		send_proxy_intro(ex, &intro);
	if (may_reuse && (at->up = upconn_take(ex->view, &w->pool, b, intro.key, &backend_h1_events,
					       at)) != NULL) {
		at->ops = &backend_h1_ops;
		at->reused = true;
		counter_add(&at->local->counters.reuses, 1);
		backend_h1_send(at);
		return;
	}
	at->reused = false;
	at->connect_from_us = clock_us();
	enum err err = upconn_connect(&w->pool, b, ex->view, &intro, &backend_h1_events, at,
				      &at->up, &connected);
	at->ops = at->up ? &backend_h1_ops : NULL;
	connecting(at, err, connected);
}

void attempt_move(struct attempt *at)
{
	const struct backend_ops *ops = at->ops;
	if (at->connect_from_us && at == at->ex->at)
		at->ex->connect_us += clock_us() - at->connect_from_us;
	at->connect_from_us = 0;
	at->ops = NULL;
	ops->finish(at, false);
	connect_or_reuse(at, true);
}

/* Out of the queue with a lease. */
static void on_lease(struct waiter *waiter, struct lease *lease)
{
	struct exchange *ex = container_of(waiter, struct exchange, waiter);
	check_magic(ex, EXCHANGE_MAGIC);
	ex->at->lease = *lease;
	/* QUEUED means a place in the queue, which is gone */
	exchange_set_state(ex, EXCHANGE_CONNECTING);
	connect_or_reuse(ex->at, true);
}

bool attempt_elsewhere(struct exchange *ex)
{
	if (!pin_take_elsewhere(ex))
		return false;
	exchange_set_state(ex, EXCHANGE_CONNECTING);
	connect_or_reuse(ex->at, true);
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
	return pool_take(ex->view, &ex->worker->pool, &ex->tried, ex->hash_key, &ex->at->lease);
}

/* False when nobody is there; else the exchange may have ended already. */
static bool go_or_wait(struct exchange *ex)
{
	enum pool_verdict verdict = take(ex);
	if (likely(verdict == POOL_TAKEN))
		connect_or_reuse(ex->at, true);
	else if (verdict == POOL_FULL)
		wait_for_slot(ex);
	return verdict != POOL_EMPTY;
}

void attempt_begin(struct exchange *ex)
{
	if (go_or_wait(ex))
		return;
	counter_add(&ex->view->sl->counters.no_backend, 1);
	reply_error(ex, ex->pin ? OUTCOME_pin_lost : OUTCOME_no_backend, NULL);
}

/* 2xx, and nothing in it. */
static bool is_empty(const struct exchange *ex)
{
	return ex->resp_complete && ex->status / 100 == 2 && ex->method != METHOD_HEAD;
}

/* Strategies, limits and the watcher learn what it said about the backend, if anything. */
static void drop_lease(struct attempt *at, bool error)
{
	const struct exchange *ex = at->ex;
	bool blamed = (error && at->lease.faulty) || at->mark == ATTEMPT_BUSY;
	at->lease.served = ex->resp_complete && !error;
	if (unlikely(ex->body_out == 0) && at->lease.answer == ANSWER_full && is_empty(ex))
		at->lease.answer = ANSWER_empty;
	at->lease.stratum = ex->stratum;
	if (blamed && error)
		counter_add(&at->local->counters.errors, 1);
	uint64_t from = at->sent_us ? at->sent_us : ex->start_us;
	uint64_t now = ex->worker->loop.now_us;
	/* a client that leaves before the answer says nothing, nor does what weir itself
	 * lacked; one that is late takes at least so long */
	uint64_t to = at->first_byte_us                    ? at->first_byte_us
		      : blamed || at->mark == ATTEMPT_LATE ? now
							   : 0;
	if (unlikely(ex->view->pool->adaptive) && at->sent_us && (!blamed || !ex->resp_complete) &&
	    to)
		lease_note(&at->lease, blamed, to > from ? to - from : 1);
	lease_drop(&at->lease, blamed, to > from ? to - from : to ? 1 : 0);
}

void attempt_finish(struct attempt *at, bool keep, bool error)
{
	if (unlikely(at->ex->trace != NULL))
		trace_attempt_end(at);
	if (at->ops) {
		const struct backend_ops *ops = at->ops;
		at->ops = NULL;
		ops->finish(at, keep);
	}
	if (at->lease.backend)
		drop_lease(at, error);
}

static unsigned retry_kind(enum outcome outcome)
{
	switch (outcome) {
	case OUTCOME_connect_refused:
	case OUTCOME_connect_failed:
	case OUTCOME_connect_timeout:
	case OUTCOME_connect_limit:
	case OUTCOME_tls_untrusted:
	case OUTCOME_tls_failed:
	case OUTCOME_http2_failed:
		return CONF_RETRY_CONNECT;
	case OUTCOME_backend_closed:
	case OUTCOME_backend_reset:
		return CONF_RETRY_RESET;
	case OUTCOME_backend_timeout:
		return CONF_RETRY_TIMEOUT;
	case OUTCOME_refused_stream:
		return CONF_RETRY_REFUSED_STREAM;
	default:
		return 0;
	}
}

static unsigned status_kind(unsigned status)
{
	switch (status) {
	case 500:
		return CONF_RETRY_500;
	case 502:
		return CONF_RETRY_502;
	case 503:
		return CONF_RETRY_503;
	case 504:
		return CONF_RETRY_504;
	default:
		return 0;
	}
}

/* Sending it a second time can do no harm. */
static bool may_repeat(const struct attempt *at)
{
	const struct exchange *ex = at->ex;
	return ex->replayable && !at->resp_started &&
	       (at->unsent || method_is_idempotent(ex->method));
}

/* Another attempt is provided for, and has not been made yet. */
static bool has_tries_left(const struct exchange *ex)
{
	const struct conf_pool *conf = ex->view->pool->conf;
	return conf->retry.on && ex->n_retries < conf->retry.attempts &&
	       ex->tried.n < POOL_TRIED_MAX;
}

static bool may_retry(const struct attempt *at, enum outcome outcome)
{
	const struct exchange *ex = at->ex;
	return has_tries_left(ex) && (ex->view->pool->conf->retry.on_what & retry_kind(outcome)) &&
	       may_repeat(at);
}

/* It will be repeated: what it took is kept apart. */
static void attempt_over(struct attempt *at)
{
	if (at->sent_us)
		at->ex->failed_wait_us += clock_us() - at->sent_us;
	else if (at->send_from_us)
		at->ex->upload_us += clock_us() - at->send_from_us;
	at->sent_us = at->send_from_us = 0;
}

/* With `retry: off` no byte of a request is sent a second time. */
static bool may_replace(const struct attempt *at)
{
	bool was_sent = !at->unsent || at->counted;
	return may_repeat(at) && (at->ex->view->pool->conf->retry.on || !was_sent);
}

/* The kept connection was closed already: the same backend, a fresh connection. */
static bool replace_stale(struct attempt *at, enum outcome outcome)
{
	unsigned kind = retry_kind(outcome);
	if ((kind != CONF_RETRY_RESET && kind != CONF_RETRY_REFUSED_STREAM) || !at->ops ||
	    !at->reused || at->stale_retried || !may_replace(at))
		return false;
	const struct backend_ops *ops = at->ops;
	at->ops = NULL;
	counter_add(&at->local->counters.stale_reuses, 1);
	at->ex->n_replaced++;
	attempt_over(at);
	ops->finish(at, false);
	if (unlikely(at->ex->trace != NULL))
		trace_replaced(at);
	at->stale_retried = true;
	connect_or_reuse(at, false);
	return true;
}

/* Lets go of what failed, and of all that is known of it. */
static void retry_finish(struct attempt *at)
{
	if (unlikely(at->ex->trace != NULL))
		trace_attempt_end(at);
	attempt_over(at);
	attempt_finish(at, false, true);
	at->stepped_back = at->stale_retried = at->counted = at->resp_started = at->upload_dead =
	    false;
	at->first_byte_us = 0;
	at->n_interim = 0;
	at->mark = ATTEMPT_UNMARKED;
	at->ex->waited_us = 0;
}

static void count_retry(struct exchange *ex, struct backend_local *bl)
{
	ex->n_retries++;
	counter_add(&bl->counters.retries, 1);
	counter_add(&ex->view->sl->counters.retries, 1);
}

/* Others have failed, too: no hurry to add to it. */
static void retry_later(struct attempt *at, enum outcome outcome)
{
	struct exchange *ex = at->ex;
	struct backend_local *bl = at->local;
	retry_finish(at);
	count_retry(ex, bl);
	ex->outcome = outcome; /* in case there is nobody left to try */
	exchange_set_state(ex, EXCHANGE_BACKOFF);
}

/*
 * On another backend at once, if there is one.  The one that failed is let go
 * only when there is: until then its answer may still be relayed.
 */
static bool retry_now(struct attempt *at)
{
	struct exchange *ex = at->ex;
	struct lease old = at->lease;
	struct backend_local *bl = at->local;
	enum pool_verdict verdict = take(ex);
	struct lease new = at->lease;
	at->lease = old;
	if (verdict == POOL_EMPTY)
		return false;
	retry_finish(at);
	at->lease = new;
	count_retry(ex, bl);
	if (verdict == POOL_TAKEN)
		connect_or_reuse(at, true);
	else
		wait_for_slot(ex);
	return true;
}

/*
 * The exchange's time is over, and this backend has not begun to answer.  Clients
 * may be in a hurry: only one that took much longer than the pool's answers do is
 * to blame.
 */
static bool hangs(struct attempt *at)
{
	const struct exchange *ex = at->ex;
	const struct pool_state *state = ex->view->pool->state;
	uint64_t typical = atomic_load_explicit(&state->typical_us, memory_order_relaxed);
	uint64_t waited = at->sent_us ? clock_us() - at->sent_us : 0;
	if (at->first_byte_us || waited <= typical)
		return false;
	if (!typical) /* the operator's own bound still says something */
		return !ex->client_deadline && waited > (ex->total_deadline_us - ex->start_us) / 2;
	at->mark = ATTEMPT_LATE;
	return waited > HANGS_TIMES * typical;
}

static bool is_to_blame(struct attempt *at, const struct outcome_row *row)
{
	switch (row->fault) {
	case OUTCOME_FAULT_ALWAYS:
		return true;
	case OUTCOME_FAULT_WHOLE:
		return at->unsent || (at->ex->req_complete && at->sent_us);
	case OUTCOME_FAULT_LATE:
		return hangs(at);
	default:
		return false;
	}
}

/* Client, limits and memory are not the backend's doing. */
void attempt_judge(struct attempt *at, enum outcome outcome)
{
	const struct outcome_row *row = outcome_row(outcome);
	if (unlikely(at->ex->trace != NULL))
		trace_outcome(at, outcome);
	if (!at->lease.backend)
		return;
	if (is_to_blame(at, row))
		lease_fault(&at->lease, row->sentence, 0);
}

/* Elsewhere, now or soon, if the budget allows. */
static bool retry(struct attempt *at, enum outcome outcome)
{
	struct exchange *ex = at->ex;
	struct pool_state *state = ex->view->pool->state;
	bool soon = ex->n_retries > 0 && ex->view->pool->conf->retry.backoff_us > 0;
	/* the budget first: a pick that is not used would skew the strategy */
	if (!pool_retry_allowed(state)) {
		counter_add(&ex->view->sl->counters.retries_denied, 1);
		return false;
	}
	ex->tried.index[ex->tried.n++] = at->lease.index;
	if (soon && exchange_keep_request(ex)) {
		retry_later(at, outcome);
		return true;
	}
	if (retry_now(at))
		return true;
	ex->tried.n--;
	pool_retry_unused(state);
	return false;
}

void attempt_again(struct exchange *ex)
{
	if (!go_or_wait(ex))
		reply_error(ex, ex->outcome, NULL);
}

void attempt_failed(struct attempt *at, enum outcome outcome)
{
	struct exchange *ex = at->ex;
	if (replace_stale(at, outcome))
		return;
	attempt_judge(at, outcome);
	if (unlikely(ex->hedge != NULL) && hedge_took_over(at))
		return;
	if (may_retry(at, outcome) && retry(at, outcome))
		return;
	attempt_finish(at, false, true);
	if (ex->head_relayed)
		exchange_end(ex, outcome);
	else
		reply_error(ex, outcome, NULL);
}

bool attempt_moves_on(struct attempt *at)
{
	attempt_judge(at, OUTCOME_backend_timeout);
	return has_tries_left(at->ex) && may_repeat(at) && retry(at, OUTCOME_backend_timeout);
}

void attempt_connect(struct attempt *at)
{
	connect_or_reuse(at, true);
}

/* It wants to be left alone. */
static void note_retry_after(struct attempt *at, struct message *resp)
{
	struct worker *w = at->ex->worker;
	struct header *h = message_find(resp, HDR_RETRY_AFTER);
	uint64_t seconds = h ? retry_after_s(h->value, clock_wall_us() / 1000000) : 0;
	if (seconds == 0)
		return;
	if (seconds > POOL_ASKED_MAX_US / 1000000)
		seconds = POOL_ASKED_MAX_US / 1000000;
	pool_note_asked(at->ex->view, &w->pool, at->lease.backend, seconds * 1000000);
	worker_refresh_later(w, ASKED_LOOK_US);
}

bool attempt_retries_status(struct attempt *at, struct message *resp)
{
	struct exchange *ex = at->ex;
	const struct conf_pool *conf = ex->view->pool->conf;
	unsigned kind = status_kind(resp->status);
	if (!conf->retry.on || !(conf->retry.on_what & kind))
		return false;
	if (kind == CONF_RETRY_503)
		note_retry_after(at, resp);
	return has_tries_left(ex) && ex->replayable && ex->req_complete &&
	       method_is_idempotent(ex->method) && retry(at, OUTCOME_backend_refused);
}

/* ---- what every version does with what comes back ---- */

void attempt_sent(struct attempt *at)
{
	at->sent_us = clock_us();
	if (unlikely(at->send_from_us))
		at->ex->upload_us += at->sent_us - at->send_from_us;
	if (unlikely(at != at->ex->at))
		return;
	if (unlikely(at->ex->view->pool->conf->retry.hedge.on))
		at->ex->hedge_us = hedge_delay(at->ex);
	exchange_set_state(at->ex, EXCHANGE_WAITING);
}

void attempt_answered(struct attempt *at)
{
	if (at->resp_started)
		return;
	at->resp_started = true;
	at->first_byte_us = clock_us();
	if (unlikely(at->ex->hedge != NULL))
		hedge_settle(at);
}

/* 429, but not to the clients that are bound to it: they may be what it has too much of. */
static bool minds_load(const struct attempt *at, unsigned status)
{
	return (status == 429 && !at->lease.bound) ||
	       (status == 503 && message_find(&at->ex->worker->resp, HDR_RETRY_AFTER));
}

/* It speaks of the request, not of the server: whoever asks so gets it from any. */
static bool is_of_request(unsigned status)
{
	switch (status) {
	case 501: /* the method is not known */
	case 505:
	case 506:
	case 507: /* the client's own quota, in WebDAV */
	case 508:
	case 510:
	case 511:
		return true;
	default:
		return false;
	}
}

/* As Envoy counts: any 5xx; but 503 with Retry-After is a backend that minds its load. */
static void judge_status(struct attempt *at, unsigned status)
{
	if (minds_load(at, status))
		at->mark = ATTEMPT_BUSY;
	else if (status >= 500 && !is_of_request(status))
		lease_fault(&at->lease, NULL, (uint16_t)status);
	else if (status == 101 || (status >= 200 && lease_is_usual(&at->lease)))
		lease_prove(&at->lease);
}

void attempt_count_status(struct attempt *at, unsigned status)
{
	if (unlikely(at->ex->trace != NULL))
		trace_status(at, status);
	lease_answered(&at->lease, status, at->ex->worker->resp.body == BODY_LENGTH);
	if (unlikely(status >= 500 || status == 429 || status == 101 || at->lease.on_trial))
		judge_status(at, status);
	struct backend_counters *c = &at->local->counters;
	struct counter *const classes[] = {&c->responses_1xx, &c->responses_2xx, &c->responses_3xx,
					   &c->responses_4xx, &c->responses_5xx};
	counter_add(classes[status / 100 - 1], 1);
}

bool attempt_interim(struct attempt *at)
{
	struct exchange *ex = at->ex;
	struct worker *w = ex->worker;
	if (at->n_interim++ >= ex->view->pool->conf->limits.interim_responses) {
		counter_add(&w->counters.rejects[REJECT_TOO_MANY_INTERIM], 1);
		attempt_failed(at, OUTCOME_bad_response);
		return false;
	}
	policy_response(ex, &w->resp);
	if (ex->client_ops->interim(ex, &w->resp) != IO_ERR)
		return true;
	exchange_client_gone(ex);
	return false;
}

static void response_done(struct attempt *at)
{
	struct exchange *ex = at->ex;
	bool keep = at->resp_keep && ex->req_complete && !at->upload_dead;
	ex->resp_complete = true;
	attempt_finish(at, keep, ex->status >= 500);
	if (ex->client_ops->pending(ex)) {
		ex->outcome = OUTCOME_ok;
		if (!ex->blocked_from_us)
			ex->blocked_from_us = clock_us();
		ex->unsent_mark = ex->client_ops->unsent(ex);
		exchange_set_state(ex, EXCHANGE_FLUSH);
	} else {
		exchange_end(ex, OUTCOME_ok);
	}
}

bool attempt_relayed(struct attempt *at, enum io io, bool end)
{
	struct exchange *ex = at->ex;
	if (unlikely(io == IO_ERR)) {
		exchange_client_gone(ex);
		return false;
	}
	if (end) {
		response_done(at);
		return false;
	}
	if (io == IO_WAIT) {
		ex->write_blocked = true;
		ex->blocked_from_us = clock_us();
		ex->unsent_mark = ex->client_ops->unsent(ex);
		at->ops->pause(at);
	}
	if (ex->state == EXCHANGE_WAITING || ex->state == EXCHANGE_SENDING)
		exchange_set_state(ex, EXCHANGE_TRANSFER);
	else
		exchange_arm(ex);
	return io == IO_OK;
}
