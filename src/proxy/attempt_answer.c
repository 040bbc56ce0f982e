/* SPDX-License-Identifier: MIT */
/*
 * Attempts: what every version does with what comes back, from the request's last byte to the
 * answer's.
 */
#include <stddef.h>

#include "attempt.h"
#include "exchange.h"
#include "refused.h"
#include "streaming.h"
#include "trace.h"

#include "weir/base/clock.h"
#include "weir/http/retry_after.h"

/* How soon a backend that asked to be left alone is looked at again. */
#define ASKED_LOOK_US 100000
/* A body of a try that need not be waited for. */
#define TRY_LARGE 65536

void attempt_waits(struct attempt *at)
{
	const struct exchange *ex = at->ex;
	uint64_t now = ex->worker->loop.now_us, response = exchange_response_timeout(ex);
	uint64_t one = ex->view->pool->conf->retry.attempt_timeout_us;
	at->late_us = unlikely(one && one < response) ? now + one : 0;
	at->give_up_us = now + response;
	attempt_set_state(at, ATTEMPT_WAITING);
}

void attempt_sent(struct attempt *at)
{
	at->sent_us = clock_us();
	if (unlikely(at->send_from_us))
		at->ex->upload_us += at->sent_us - at->send_from_us;
	attempt_waits(at);
	if (unlikely(at->ex->view->pool->conf->retry.hedge.on))
		at->on->sent(at);
}

void attempt_answered(struct attempt *at)
{
	if (at->resp_started)
		return;
	at->resp_started = true;
	at->first_byte_us = clock_us();
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
	if (unlikely(at->ex->is_copy))
		return;
	if (minds_load(at, status))
		at->mark = ATTEMPT_BUSY;
	else if (status >= 500 && !is_of_request(status))
		lease_fault(&at->lease, NULL, (uint16_t)status);
	else if (status == 101 || (status >= 200 && status < 500))
		lease_prove(&at->lease);
}

/* Of what is it, if anybody wants to know? */
static void note_type(struct attempt *at, unsigned status)
{
	if (likely(!at->ex->stratum && !at->lease.is_try) || status / 100 != 2)
		return;
	struct message *resp = &at->ex->worker->resp;
	const struct header *type = message_find(resp, HDR_CONTENT_TYPE);
	at->lease.type = answer_type(type ? type->value : VIEW(""),
				     (resp->ids & HDR_BIT(CONTENT_ENCODING)) != 0);
}

static inline struct counter *class_counter(struct backend_counters *counters, unsigned class)
{
	static const uint16_t at[] = {
	    [1] = offsetof(struct backend_counters, responses_1xx),
	    [2] = offsetof(struct backend_counters, responses_2xx),
	    [3] = offsetof(struct backend_counters, responses_3xx),
	    [4] = offsetof(struct backend_counters, responses_4xx),
	    [5] = offsetof(struct backend_counters, responses_5xx),
	};
	return (void *)((char *)counters + at[class]);
}

void attempt_grpc_status(struct attempt *at)
{
	const struct header *h = message_find_name(&at->ex->worker->resp, VIEW("grpc-status"));
	uint8_t answer = h ? answer_of_grpc(h->value) : (uint8_t)ANSWER_full;
	if (answer == ANSWER_full)
		return;
	at->lease.answer = answer;
	if (answer != ANSWER_NONE)
		atomic_store_explicit(&at->lease.backend->odd.grpc, true, memory_order_relaxed);
}

static void count_status(struct attempt *at, unsigned status)
{
	if (unlikely(at->ex->trace != NULL))
		trace_status(at, status);
	const struct message *resp = &at->ex->worker->resp;
	note_type(at, status);
	lease_answered(&at->lease, status,
		       resp->body == BODY_LENGTH && resp->content_length >= TRY_LARGE);
	if (unlikely(at->lease.answer == ANSWER_full &&
		     (resp->ids & UINT64_C(1) << HDR_CONTENT_ENCODING)))
		at->lease.answer = ANSWER_coded;
	if (unlikely((status == 304 || status == 206) && !at->ex->asks_less))
		at->lease.answer = ANSWER_unasked;
	if (unlikely(at->ex->grpc) && status == 200) /* the head may stand for trailers, too */
		attempt_grpc_status(at);
	if (unlikely(status >= 500 || status == 429 || status == 101 || at->lease.on_trial))
		judge_status(at, status);
	counter_add(class_counter(&at->local->counters, status / 100), 1);
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

/* Another backend is asked, because of a status that retry.on names. */
static bool retries_status(struct attempt *at, struct message *resp)
{
	const struct conf_pool *conf = at->ex->view->pool->conf;
	unsigned kind = status_kind(resp->status);
	if (!conf->retry.on || !(conf->retry.on_what & kind))
		return false;
	if (kind == CONF_RETRY_503)
		note_retry_after(at, resp);
	scratch_drop(at->ex->worker, SCRATCH_RESP); /* the next attempt may fail at once */
	if (at->on->may_end(at, OUTCOME_backend_refused))
		return true;
	scratch_take(at->ex->worker, SCRATCH_RESP);
	return false;
}

bool attempt_head(struct attempt *at)
{
	struct message *resp = &at->ex->worker->resp;
	count_status(at, resp->status);
	if (unlikely(resp->status >= 500) && retries_status(at, resp))
		return false;
	if (unlikely(at->ex->hedge != NULL))
		at->on->answered(at);
	streaming_head(at);
	return true;
}

bool attempt_interim(struct attempt *at)
{
	struct exchange *ex = at->ex;
	struct worker *w = ex->worker;
	if (at->n_interim++ >= ex->view->pool->conf->limits.interim_responses) {
		scratch_drop(w, SCRATCH_RESP);
		response_refused(at, REJECT_TOO_MANY_INTERIM);
		return false;
	}
	policy_response(ex, &w->resp);
	enum io io = ex->client_ops->interim(ex, &w->resp);
	scratch_drop(w, SCRATCH_RESP);
	if (io != IO_ERR)
		return true;
	attempt_over(at, exchange_outcome_gone(ex));
	return false;
}

bool attempt_relayed(struct attempt *at, enum io io, bool end)
{
	struct exchange *ex = at->ex;
	if (unlikely(io == IO_ERR)) {
		attempt_over(at, exchange_outcome_gone(ex));
		return false;
	}
	if (end) {
		attempt_over(at, OUTCOME_ok);
		return false;
	}
	if (io == IO_WAIT) {
		ex->write_blocked = true;
		ex->blocked_from_us = clock_us();
		ex->unsent_mark = ex->client_ops->unsent(ex);
		at->ops->pause(at);
	}
	if (at->state != ATTEMPT_RECEIVING) {
		streaming_begin(at);
		attempt_set_state(at, ATTEMPT_RECEIVING);
	} else {
		exchange_progress(ex);
	}
	return io == IO_OK;
}
