/* SPDX-License-Identifier: MIT */
/* States and deadlines of an exchange; what becomes of them is in exchange.c. */
#include "asking.h"
#include "dawdle.h"
#include "exchange.h"

#include "weir/base/check.h"

/* Moves that make sense, as bits of the next state. */
static const uint16_t moves[] = {
#define TO(state) (1u << EXCHANGE_##state)
    [EXCHANGE_NEW] = TO(ASKING) | TO(GATHERING) | TO(QUEUED) | TO(RUNNING) | TO(FLUSH) | TO(ENDED),
    [EXCHANGE_ASKING] =
	TO(ASKING) | TO(GATHERING) | TO(QUEUED) | TO(RUNNING) | TO(FLUSH) | TO(ENDED),
    [EXCHANGE_GATHERING] = TO(QUEUED) | TO(RUNNING) | TO(FLUSH) | TO(ENDED),
    [EXCHANGE_QUEUED] = TO(RUNNING) | TO(FLUSH) | TO(ENDED),
    [EXCHANGE_BACKOFF] = TO(QUEUED) | TO(RUNNING) | TO(FLUSH) | TO(ENDED),
    [EXCHANGE_RUNNING] = TO(QUEUED) | TO(BACKOFF) | TO(TUNNEL) | TO(FLUSH) | TO(ENDED),
    [EXCHANGE_TUNNEL] = TO(FLUSH) | TO(ENDED),
    [EXCHANGE_FLUSH] = TO(ENDED),
#undef TO
};

#ifdef WEIR_CHECK_SLOW
static void exchange_verify(const struct exchange *ex)
{
	check_magic(ex, EXCHANGE_MAGIC);
	check(ex->at == &ex->first || ex->at == ex->second);
	check(!ex->hedge || (ex->second && ex->hedge != ex->at));
	check(!ex->hedge || ex->state == EXCHANGE_RUNNING);
	check(ex->state != EXCHANGE_QUEUED || list_is_linked(&ex->waiter.link));
	bool idle = ex->at->state == ATTEMPT_IDLE || attempt_is_over(ex->at);
	if (ex->state == EXCHANGE_GATHERING || ex->state == EXCHANGE_QUEUED ||
	    ex->state == EXCHANGE_BACKOFF)
		check(idle && !ex->at->lease.backend && ex->req);
	if (ex->state == EXCHANGE_ASKING)
		check(idle && ex->held && !ex->view);
	if (ex->state == EXCHANGE_FLUSH || ex->state == EXCHANGE_ENDED)
		check(attempt_is_over(ex->at));
	check(ex->head_relayed || !ex->resp_complete || ex->state == EXCHANGE_ENDED);
}
#define verify(ex) exchange_verify(ex)
#else
#define verify(ex) ((void)0)
#endif

void exchange_set_state(struct exchange *ex, enum exchange_state state)
{
	check(moves[ex->state] & (1u << state));
	if (unlikely(ex->state == EXCHANGE_QUEUED)) {
		ex->queue_us += ex->worker->loop.now_us - ex->queue_from_us;
		if (list_is_linked(&ex->waiter.link))
			pool_queue_remove(&ex->waiter);
	}
	ex->state = state;
	verify(ex);
	if (likely(state == EXCHANGE_ENDED ||
		   (state == EXCHANGE_RUNNING && !ex->total_deadline_us && !ex->hedge_at_us)))
		timer_clear(&ex->timer);
	else
		exchange_arm(ex);
}

/* ---- deadlines ---- */

uint64_t exchange_idle_timeout(const struct exchange *ex)
{
	if (ex->route && ex->route->timeouts.idle_set)
		return ex->route->timeouts.idle_us;
	return ex->view->pool->conf->timeouts.idle_us;
}

/* "Full jitter": between 0 and a bound that doubles. */
static uint64_t backoff(const struct exchange *ex)
{
	uint64_t base = ex->view->pool->conf->retry.backoff_us;
	unsigned doublings = ex->n_retries > 1 ? ex->n_retries - 1u : 0;
	uint64_t most = doublings < 4 ? base << doublings : 10 * base;
	most = most < 10 * base ? most : 10 * base;
	return 1 + rng_next(&ex->worker->pool.rng) % (most + 1);
}

/* 0: none but timeouts.total, which holds in every state. */
static uint64_t deadline_of(const struct exchange *ex)
{
	uint64_t now = ex->worker->loop.now_us;
	switch (ex->state) {
	case EXCHANGE_ASKING:
		return ex->held->wait.until_us;
	case EXCHANGE_GATHERING:
		return dawdle_deadline(ex);
	case EXCHANGE_QUEUED:
		return now + (ex->pin_waits ? ex->view->pool->conf->sticky.wait_us
					    : ex->view->pool->conf->queue.timeout_us);
	case EXCHANGE_BACKOFF:
		return now + backoff(ex);
	case EXCHANGE_RUNNING:
		return ex->hedge_at_us;
	case EXCHANGE_TUNNEL:
		return now + (ex->route->timeouts.tunnel_set ? ex->route->timeouts.tunnel_us
							     : exchange_idle_timeout(ex));
	case EXCHANGE_FLUSH:
		return now + ex->listener->timeouts.write_idle_us;
	default:
		return 0;
	}
}

void exchange_arm(struct exchange *ex)
{
	uint64_t deadline = deadline_of(ex);
	if (ex->total_deadline_us && (!deadline || ex->total_deadline_us < deadline))
		deadline = ex->total_deadline_us;
	if (deadline)
		timer_set(&ex->worker->loop.timers, &ex->timer, deadline);
	else
		timer_clear(&ex->timer);
}

bool exchange_client_progress(struct exchange *ex)
{
	size_t left = ex->client_ops->unsent(ex);
	bool progress = left < ex->unsent_mark;
	ex->unsent_mark = left;
	return progress;
}

enum outcome exchange_outcome_gone(const struct exchange *ex)
{
	if (ex->not_given)
		return (enum outcome)ex->not_given;
	if (ex->state == EXCHANGE_QUEUED)
		return OUTCOME_client_gone_queue;
	if (ex->state == EXCHANGE_ASKING)
		return OUTCOME_client_gone_auth;
	if (ex->state == EXCHANGE_GATHERING)
		return OUTCOME_client_gone_request;
	if (ex->state == EXCHANGE_TUNNEL)
		return OUTCOME_tunnel;
	if (ex->state == EXCHANGE_BACKOFF)
		return OUTCOME_client_gone_connect;
	if (ex->state != EXCHANGE_RUNNING)
		return OUTCOME_client_gone_transfer;
	switch (ex->at->state) {
	case ATTEMPT_IDLE:
	case ATTEMPT_CONNECTING:
		return OUTCOME_client_gone_connect;
	case ATTEMPT_SENDING:
		return OUTCOME_client_gone_request;
	case ATTEMPT_WAITING:
		return OUTCOME_client_gone_wait;
	default:
		return OUTCOME_client_gone_transfer;
	}
}
