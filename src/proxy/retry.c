/* SPDX-License-Identifier: MIT */
/*
 * What follows when an attempt is over: the exchange's side of struct
 * attempt_events.  One table says what may follow a kind of outcome, by what has been
 * sent; configuration, budget and the pool say whether it can.
 *
 * A retry is a further try on another backend.  A kept connection that turns out to
 * be closed is replaced on the same backend and is no retry.
 */
#include "body.h"
#include "hedge.h"
#include "place.h"
#include "trace.h"

#include "weir/base/clock.h"
#include "weir/base/defs.h"

/* ---- the table ---- */

enum kind { KIND_CONNECT, KIND_CLOSED, KIND_UNSEEN, KIND_TIMEOUT, KIND_STATUS, KIND_ELSE };

static enum kind kind_of(enum outcome outcome)
{
	switch (outcome) {
	case OUTCOME_connect_refused:
	case OUTCOME_connect_failed:
	case OUTCOME_connect_timeout:
	case OUTCOME_connect_limit:
	case OUTCOME_tls_untrusted:
	case OUTCOME_tls_failed:
	case OUTCOME_http2_failed:
		return KIND_CONNECT;
	case OUTCOME_backend_closed:
	case OUTCOME_backend_reset:
		return KIND_CLOSED;
	case OUTCOME_refused_stream:
		return KIND_UNSEEN;
	case OUTCOME_backend_timeout:
		return KIND_TIMEOUT;
	case OUTCOME_backend_refused:
		return KIND_STATUS;
	default:
		return KIND_ELSE;
	}
}

/* What retry.on must name for another attempt; a status was looked up before. */
static const uint8_t retry_on[] = {
    [KIND_CONNECT] = CONF_RETRY_CONNECT,
    [KIND_CLOSED] = CONF_RETRY_RESET,
    [KIND_UNSEEN] = CONF_RETRY_REFUSED_STREAM,
    [KIND_TIMEOUT] = CONF_RETRY_TIMEOUT,
    [KIND_ELSE] = 0,
};

/* How far it came. */
enum sent {
	SENT_NOTHING,  /* not a byte of the request, or the backend did nothing with it */
	SENT_SAFE,     /* sending it a second time can do no harm, and all of it is kept */
	SENT_ONCE,     /* it must not be sent again */
	SENT_ANSWERED, /* as SAFE, and an answer has begun */
	SENT_RELAYED,  /* the client has the head of an answer */
	N_SENT,
};

static enum sent sent_of(const struct attempt *at)
{
	const struct exchange *ex = at->ex;
	if (ex->head_relayed)
		return SENT_RELAYED;
	if (!ex->replayable)
		return SENT_ONCE;
	if ((at->unsent || at->unseen) && !at->resp_started)
		return SENT_NOTHING;
	if (!method_is_idempotent(ex->method))
		return SENT_ONCE;
	return at->resp_started ? SENT_ANSWERED : SENT_SAFE;
}

/*
 * What may follow, tried in this order; then, if a second attempt is under way, that
 * one goes on alone; else the exchange ends, and the client is told if it can be.
 */
enum {
	FRESH = 1, /* the same backend, over a fresh connection for a kept one */
	AGAIN = 2, /* another backend */
};

static const uint8_t actions[][N_SENT] = {
    /*                 NOTHING        SAFE           ONCE     ANSWERED RELAYED */
    [KIND_CONNECT] = {AGAIN, AGAIN, 0, 0, 0},
    [KIND_CLOSED] = {FRESH | AGAIN, FRESH | AGAIN, 0, 0, 0},
    [KIND_UNSEEN] = {FRESH | AGAIN, FRESH | AGAIN, 0, 0, 0},
    [KIND_TIMEOUT] = {AGAIN, AGAIN, 0, 0, 0},
    [KIND_STATUS] = {0, 0, 0, AGAIN, 0},
    [KIND_ELSE] = {0, 0, 0, 0, 0},
};

/* ---- afresh ---- */

/* With `retry: off` no byte of a request is sent a second time. */
static bool may_replace(const struct attempt *at)
{
	return at->ex->view->pool->conf->retry.on || at->unsent;
}

/* The kept connection was closed already: the same backend, a fresh connection. */
static bool replace(struct attempt *at)
{
	if (!at->ops || !at->reused || at->stale_retried)
		return false;
	counter_add(&at->local->counters.stale_reuses, 1);
	if (!may_replace(at))
		return false;
	counter_add(&at->local->counters.replaced, 1);
	at->ex->n_replaced++;
	attempt_keep_times(at);
	attempt_disconnect(at);
	if (unlikely(at->ex->trace != NULL))
		trace_replaced(at);
	at->stale_retried = true;
	at->unseen = false;
	attempt_connect(at, false);
	return true;
}

/* What the workers see of each other's connections is a moment old. */
#define CROWDED_MAX 8

/*
 * As many connections to it are being opened as may be (limits.connecting), or the one
 * there is allows no exchange, and the pick did not see it.  Another one is sought, now that
 * it is known, and else the queue wakes it when there is a way.
 */
static bool step_back(struct attempt *at)
{
	struct exchange *ex = at->ex;
	if (!at->crowded || ex->hedge || ex->is_copy || at->n_crowded == CROWDED_MAX ||
	    !ex->view->pool->conf->queue.on)
		return false;
	at->n_crowded++;
	enum upconn_way way = upconn_way(ex->view->pool, &ex->worker->pool, at->lease.backend);
	lease_drop(&at->lease, false, 0);
	if (!place_seek(ex)) /* none is up any more, and it was a moment ago */
		place_wait(ex, way == WAY_NONE ? POOL_FULL : POOL_CROWDED);
	return true;
}

/* ---- elsewhere ---- */

static void tried_add(struct exchange *ex, uint32_t index)
{
	for (uint32_t i = 0; i < ex->tried.n; i++)
		if (ex->tried.index[i] == index)
			return;
	ex->tried.index[ex->tried.n++] = index;
}

/* Another attempt is provided for, and has not been made yet. */
static bool has_tries_left(const struct exchange *ex)
{
	const struct conf_pool *conf = ex->view->pool->conf;
	return conf->retry.on && !ex->is_copy && ex->n_retries < conf->retry.attempts &&
	       ex->tried.n < POOL_TRIED_MAX;
}

/* Lets go of what failed, and of all that is known of it. */
static void forget(struct attempt *at)
{
	if (unlikely(at->ex->trace != NULL))
		trace_attempt_end(at);
	attempt_keep_times(at);
	attempt_finish(at, false, true);
	attempt_reset(at);
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
	forget(at);
	count_retry(ex, bl);
	ex->outcome = outcome; /* in case there is nobody left to try */
	exchange_set_state(ex, EXCHANGE_BACKOFF);
}

/*
 * On another backend at once, if there is one.  The one that failed is let go
 * only when there is: until then its answer may still be relayed.  With a second
 * attempt under way it is not worth to wait for a place.
 */
static bool retry_now(struct attempt *at)
{
	struct exchange *ex = at->ex;
	struct lease old = at->lease;
	struct backend_local *bl = at->local;
	enum pool_verdict verdict = place_take(ex);
	struct lease new = at->lease;
	at->lease = old;
	bool may_wait = !ex->hedge && ex->view->pool->conf->queue.on;
	if (verdict == POOL_EMPTY || (verdict != POOL_TAKEN && !may_wait))
		return false;
	forget(at);
	at->lease = new;
	count_retry(ex, bl);
	if (verdict == POOL_TAKEN)
		place_start(ex);
	else
		place_wait(ex, verdict);
	return true;
}

/* Elsewhere, now or soon, if tries and budget are left. */
static bool again(struct attempt *at, enum outcome outcome)
{
	struct exchange *ex = at->ex;
	struct pool_state *state = ex->view->pool->state;
	uint32_t n_tried = ex->tried.n;
	bool soon = ex->n_retries > 0 && ex->view->pool->conf->retry.backoff_us > 0;
	if (!has_tries_left(ex) || (soon && ex->hedge))
		return false;
	/* the budget first: a pick that is not used would skew the strategy */
	if (!pool_retry_allowed(state)) {
		counter_add(&ex->view->sl->counters.retries_denied, 1);
		return false;
	}
	if (!at->crowded) /* it was busy, which is no fault */
		tried_add(ex, at->lease.index);
	if (soon && exchange_keep_request(ex)) {
		retry_later(at, outcome);
		return true;
	}
	if (retry_now(at))
		return true;
	ex->tried.n = n_tried;
	pool_retry_unused(state);
	return false;
}

/* ---- events of attempts ---- */

/* A second one that failed is not repeated: it was there to help the first. */
static void second_failed(struct exchange *ex, enum outcome outcome)
{
	if (ex->tried.n < POOL_TRIED_MAX)
		tried_add(ex, ex->hedge->lease.index);
	hedge_drop(ex, outcome_row(outcome)->is_error);
}

/* Apart from the usual end, which is short. */
static NOINLINE void failed(struct attempt *at, enum outcome outcome)
{
	struct exchange *ex = at->ex;
	enum kind kind = kind_of(outcome);
	unsigned may = actions[kind][sent_of(at)];
	if ((may & FRESH) && replace(at))
		return;
	if (at == ex->hedge) {
		attempt_judge(at, outcome);
		second_failed(ex, outcome);
		return;
	}
	if (step_back(at))
		return;
	attempt_judge(at, outcome);
	if (ex->hedge && kind == KIND_TIMEOUT) /* its time was the same */
		hedge_drop(ex, true);
	bool wanted = ex->view->pool->conf->retry.on_what & retry_on[kind];
	if ((may & AGAIN) && wanted && again(at, outcome))
		return;
	if (ex->hedge)
		hedge_take_over(ex, outcome_row(outcome)->is_error);
	else
		exchange_end(ex, outcome);
}

static void on_over(struct attempt *at, enum outcome outcome)
{
	if (likely(outcome == OUTCOME_ok))
		exchange_delivered(at->ex);
	else
		failed(at, outcome);
}

static bool on_may_end(struct attempt *at, enum outcome outcome)
{
	struct exchange *ex = at->ex;
	enum kind kind = kind_of(outcome);
	if (kind == KIND_TIMEOUT)
		attempt_judge(at, outcome);
	if (at == ex->at && ex->req_complete && (actions[kind][sent_of(at)] & AGAIN) &&
	    again(at, outcome))
		return true;
	if (!ex->hedge || kind != KIND_STATUS)
		return false;
	/* the other one may have something better */
	if (at == ex->hedge)
		second_failed(ex, outcome);
	else
		hedge_take_over(ex, true);
	return true;
}

static void on_moved(struct attempt *at)
{
	attempt_disconnect(at);
	attempt_connect(at, true);
}

static void on_takes_more(struct attempt *at)
{
	body_goes_on(at->ex);
}

static void on_sent(struct attempt *at)
{
	struct exchange *ex = at->ex;
	if (at != ex->at)
		return;
	uint64_t after = hedge_delay(ex);
	if (!after && !ex->hedge_at_us) /* what an attempt before this one had set is over */
		return;
	ex->hedge_at_us = after ? ex->worker->loop.now_us + after : 0;
	exchange_arm(ex);
}

static void on_answered(struct attempt *at)
{
	hedge_settle(at);
}

const struct attempt_events exchange_attempt_events = {
    .over = on_over,
    .may_end = on_may_end,
    .moved = on_moved,
    .takes_more = on_takes_more,
    .sent = on_sent,
    .answered = on_answered,
};
