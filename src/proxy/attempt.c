/* SPDX-License-Identifier: MIT */
/*
 * Attempts: states and deadlines, the connect, and the end.  What follows is for the exchange to
 * say (retry.c); what comes back is in attempt_answer.c.
 */
#include "attempt.h"

#include <errno.h>
#include <string.h>

#include "dawdle.h"
#include "exchange.h"
#include "streaming.h"
#include "trace.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/base/log.h"

/* As many times the pool's median without a byte of an answer is a fault, whoever gave up. */
#define HANGS_TIMES 10

/* ---- states ---- */

const char *attempt_state_name(enum attempt_state state)
{
	static const char *const names[] = {
	    [ATTEMPT_IDLE] = "idle",          [ATTEMPT_CONNECTING] = "connecting",
	    [ATTEMPT_SENDING] = "sending",    [ATTEMPT_WAITING] = "waiting",
	    [ATTEMPT_RECEIVING] = "transfer", [ATTEMPT_OVER] = "over",
	};
	return (size_t)state < ARRAY_LEN(names) ? names[state] : "?";
}

/* Moves that make sense, as bits of the next state. */
static const uint8_t moves[] = {
#define TO(state) (1u << ATTEMPT_##state)
    /* to itself: a kept connection refused what was to be sent at once */
    [ATTEMPT_IDLE] = TO(IDLE) | TO(CONNECTING) | TO(SENDING) | TO(WAITING) | TO(OVER),
    [ATTEMPT_CONNECTING] = TO(IDLE) | TO(SENDING) | TO(WAITING) | TO(OVER),
    [ATTEMPT_SENDING] = TO(IDLE) | TO(WAITING) | TO(RECEIVING) | TO(OVER),
    [ATTEMPT_WAITING] = TO(IDLE) | TO(RECEIVING) | TO(OVER),
    [ATTEMPT_RECEIVING] = TO(OVER),
    [ATTEMPT_OVER] = TO(IDLE),
#undef TO
};

#ifdef WEIR_CHECK_SLOW
static void attempt_verify(const struct attempt *at)
{
	const struct exchange *ex = at->ex;
	bool connected = at->state >= ATTEMPT_SENDING && at->state <= ATTEMPT_RECEIVING;
	check_magic(ex, EXCHANGE_MAGIC);
	check(at == ex->at || at == ex->hedge || attempt_is_over(at));
	check(!connected || (at->ops && at->up && at->lease.backend));
	check(!at->ops == !at->up);
	check(at->state != ATTEMPT_CONNECTING || at->ops);
	check(!attempt_is_over(at) || (!at->ops && !at->lease.backend && !at->resp_in));
	check(at->state != ATTEMPT_RECEIVING || at == ex->at);
}
#define verify(at) attempt_verify(at)
#else
#define verify(at) ((void)0)
#endif

static void note_dawdling(struct attempt *at)
{
	dawdle_note(at->ex, at->state == ATTEMPT_SENDING && !attempt_upload_pending(at));
}

/* Most of the request's time was spent waiting for its body: what the backend does of
 * that is not its own doing. */
static bool client_dawdles(const struct attempt *at)
{
	uint64_t us = dawdle_us(at->ex) - at->ex->gathered_us;
	return us >= DAWDLE_US && !at->ex->req_complete && !attempt_upload_pending(at) &&
	       us > (clock_us() - at->send_from_us) / 2;
}

/* Its silence, or a look at what has come, which is no progress. */
static uint64_t receiving_deadline(const struct attempt *at)
{
	return at->look_us && at->look_us < at->silent_us ? at->look_us : at->silent_us;
}

static uint64_t deadline_of(struct attempt *at)
{
	const struct exchange *ex = at->ex;
	uint64_t now = ex->worker->loop.now_us;
	switch (at->state) {
	case ATTEMPT_CONNECTING:
		return now + ex->view->pool->conf->timeouts.connect_us;
	case ATTEMPT_SENDING:
		return attempt_upload_pending(at) ? now + exchange_idle_timeout(ex)
						  : dawdle_deadline(ex);
	case ATTEMPT_WAITING:
		if (unlikely(at->late_us && !at->late))
			return at->late_us;
		return likely(at == ex->at) ? at->give_up_us : 0;
	case ATTEMPT_RECEIVING:
		if (unlikely(ex->state == EXCHANGE_TUNNEL))
			return 0; /* the exchange has it */
		at->silent_us = now + (ex->write_blocked ? ex->listener->timeouts.write_idle_us
							 : exchange_idle_timeout(ex));
		return receiving_deadline(at);
	default:
		return 0;
	}
}

void attempt_arm(struct attempt *at)
{
	if (unlikely(at->state == ATTEMPT_SENDING) || unlikely(at->ex->dawdle_from_us != 0))
		note_dawdling(at);
	uint64_t deadline = deadline_of(at);
	if (deadline)
		timer_set(&at->ex->worker->loop.timers, &at->timer, deadline);
	else
		timer_clear(&at->timer);
}

void attempt_set_state(struct attempt *at, enum attempt_state state)
{
	check(moves[at->state] & (1u << state));
	at->state = (uint8_t)state;
	verify(at);
	if (state == ATTEMPT_OVER || state == ATTEMPT_IDLE)
		timer_clear(&at->timer);
	else
		attempt_arm(at);
}

void exchange_progress(struct exchange *ex)
{
	if (likely(ex->state == EXCHANGE_RUNNING))
		attempt_arm(ex->at);
	else
		exchange_arm(ex);
}

/* As exchange_client_progress, of the backend. */
static bool makes_progress(struct attempt *at)
{
	struct exchange *ex = at->ex;
	if (ex->write_blocked)
		return exchange_client_progress(ex);
	if (at->state != ATTEMPT_SENDING || !attempt_upload_pending(at))
		return false;
	size_t left = at->ops->unsent(at);
	bool progress = left < ex->unsent_mark;
	ex->unsent_mark = left;
	return progress;
}

static void waited(struct attempt *at)
{
	bool give_up = at == at->ex->at && at->give_up_us <= at->ex->worker->loop.now_us;
	at->late = true;
	if (give_up)
		attempt_over(at, OUTCOME_backend_timeout);
	else if (!at->on->may_end(at, OUTCOME_backend_timeout))
		attempt_arm(at);
}

/* True when that was all that there is to do now. */
static bool looked(struct attempt *at)
{
	struct loop *loop = &at->ex->worker->loop;
	if (at->state != ATTEMPT_RECEIVING || !at->look_us || loop->now_us < at->look_us)
		return false;
	streaming_look(at);
	if (loop->now_us >= at->silent_us)
		return false;
	timer_set(&loop->timers, &at->timer, receiving_deadline(at));
	return true;
}

static void on_timeout(struct timer *timer)
{
	struct attempt *at = container_of(timer, struct attempt, timer);
	struct exchange *ex = at->ex;
	check_magic(ex, EXCHANGE_MAGIC);
	if (looked(at))
		return;
	if (makes_progress(at)) {
		attempt_arm(at);
		return;
	}
	switch (at->state) {
	case ATTEMPT_CONNECTING:
		attempt_connected(at, ERR_TIMEOUT);
		break;
	case ATTEMPT_SENDING:
		attempt_over(at, attempt_upload_pending(at) ? OUTCOME_backend_send_timeout
							    : OUTCOME_client_timeout_body);
		break;
	case ATTEMPT_WAITING:
		waited(at);
		break;
	case ATTEMPT_RECEIVING:
		attempt_over(at, ex->write_blocked ? OUTCOME_client_timeout_write
						   : OUTCOME_backend_idle);
		break;
	default:
		break;
	}
}

void attempt_init(struct attempt *at, struct exchange *ex, const struct attempt_events *on)
{
	at->timer.fn = on_timeout;
	at->ex = ex;
	at->on = on;
}

void attempt_reset(struct attempt *at)
{
	attempt_set_state(at, ATTEMPT_IDLE);
	at->mark = ATTEMPT_UNMARKED;
	at->crowded = at->stale_retried = at->late = at->counted = at->unseen = false;
	at->resp_started = at->upload_dead = at->event_stream = at->may_stream = false;
	at->n_interim = at->n_crowded = 0;
	at->first_byte_us = at->late_us = at->give_up_us = 0;
}

/* ---- connecting ---- */

void attempt_connect_failed(struct attempt *at, enum outcome outcome)
{
	struct worker *w = at->ex->worker;
	struct backend *b = at->lease.backend;
	struct backend_local *bl = at->local;
	counter_add(&bl->counters.connect_failures, 1);
	if (pool_note_refused(at->lease.view, &w->pool, b)) {
		worker_refresh_later(w, POOL_AVOID_US);
		if (log_due(&bl->avoid_logged_us, w->loop.now_us))
			log_warn("backend " VIEW_FMT "/" VIEW_FMT " (" VIEW_FMT
				 "): %s, %u times in a row; tried once a second from now on",
				 VIEW_ARG(b->pool_name), VIEW_ARG(b->name),
				 VIEW_ARG(b->address_text), outcome_row(outcome)->sentence,
				 POOL_REFUSED_MAX);
	}
	attempt_over(at, outcome);
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

/* How long it took is the exchange's, if it is the one that counts. */
static void connect_took(struct attempt *at)
{
	if (likely(at == at->ex->at) && at->connect_from_us)
		at->ex->connect_us += clock_us() - at->connect_from_us;
	at->connect_from_us = 0;
}

void attempt_connected(struct attempt *at, enum err err)
{
	connect_took(at);
	if (unlikely(at->ex->trace != NULL && err == ERR_OK))
		trace_connected(at);
	if (unlikely(at->up && at->up->tls_id))
		note_tls(at, err);
	if (err) {
		attempt_connect_failed(at, outcome_of(err));
		return;
	}
	pool_note_connected(at->local);
	upconn_opened(at->up);
	at->ops->send(at);
}

bool attempt_lacks_room(void)
{
	return errno == ENOBUFS || errno == ENOMEM;
}

void attempt_moved(struct attempt *at)
{
	connect_took(at);
	at->on->moved(at);
}

/* ---- the end ---- */

/* How large its body was, now that it is known. */
static void note_size(struct attempt *at)
{
	const struct exchange *ex = at->ex;
	if (at->lease.answer == ANSWER_full && ex->resp_complete && ex->status / 100 == 2 &&
	    ex->method != METHOD_HEAD)
		at->lease.answer = answer_of_size(ex->body_out);
}

/* Strategies, limits and the watcher learn what it said about the backend, if anything. */
static void drop_lease(struct attempt *at, bool error)
{
	const struct exchange *ex = at->ex;
	bool blamed = (error && at->lease.faulty) || at->mark == ATTEMPT_BUSY;
	at->lease.served = ex->resp_complete && !error;
	note_size(at);
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

static void let_go(struct attempt *at, bool keep)
{
	const struct backend_ops *ops = at->ops;
	if (!ops)
		return;
	at->ops = NULL;
	ops->finish(at, keep);
}

void attempt_disconnect(struct attempt *at)
{
	let_go(at, false);
	attempt_set_state(at, ATTEMPT_IDLE);
}

void attempt_finish(struct attempt *at, bool keep, bool error)
{
	if (attempt_is_over(at))
		return;
	if (unlikely(at->ex->trace != NULL))
		trace_attempt_end(at);
	let_go(at, keep);
	if (at->lease.backend)
		drop_lease(at, error);
	attempt_set_state(at, ATTEMPT_OVER);
}

void attempt_keep_times(struct attempt *at)
{
	if (at->sent_us)
		at->ex->failed_wait_us += clock_us() - at->sent_us;
	else if (at->send_from_us)
		at->ex->upload_us += clock_us() - at->send_from_us;
	at->sent_us = at->send_from_us = 0;
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
	if (unlikely(at->ex->is_copy)) /* nobody knows whether it can be answered */
		return false;
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
	at->lease.broken = row->when == 'C' || row->fault == OUTCOME_FAULT_WHOLE;
	if (is_to_blame(at, row))
		lease_fault(&at->lease, row->sentence, 0);
}

void attempt_over(struct attempt *at, enum outcome outcome)
{
	check(!attempt_is_over(at));
	if (unlikely(at->state == ATTEMPT_SENDING) && client_dawdles(at))
		outcome = OUTCOME_client_timeout_body;
	at->on->over(at, outcome);
}
