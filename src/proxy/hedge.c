/* SPDX-License-Identifier: MIT */
/* A second attempt beside the first, when an answer is late; the first to answer wins. */
#include "hedge.h"

#include <stddef.h>
#include <string.h>

#include "weir/base/clock.h"

uint64_t hedge_delay(const struct exchange *ex)
{
	const struct pool *pool = ex->view->pool;
	const struct conf_pool *conf = pool->conf;
	bool fits = !ex->hedged && !ex->is_copy && !ex->pin && !ex->client_deadline &&
		    !ex->wants_upgrade && (ex->method == METHOD_GET || ex->method == METHOD_HEAD) &&
		    ex->replayable && ex->req_complete && ex->req &&
		    ex->req->len == ex->req_head_len && ex->tried.n + 1 < POOL_TRIED_MAX;
	if (!fits)
		return 0;
	uint64_t after = conf->retry.hedge.after_us;
	if (!after)
		after = atomic_load_explicit(&pool->state->hedge_after_us, memory_order_relaxed);
	return after < exchange_response_timeout(ex) ? after : 0;
}

static struct attempt *new_attempt(struct exchange *ex)
{
	struct attempt *at = slab_get(&ex->worker->attempts);
	if (!at)
		return NULL;
	memset(&at->ex, 0, sizeof(*at) - offsetof(struct attempt, ex));
	attempt_init(at, ex, ex->at->on);
	return at;
}

void hedge_begin(struct exchange *ex)
{
	struct worker *w = ex->worker;
	struct pool_state *state = ex->view->pool->state;
	ex->hedged = true;
	if (!pool_hedge_allowed(state))
		return;
	struct attempt *at = ex->second = new_attempt(ex);
	if (!at) {
		pool_hedge_unused(state);
		return;
	}
	ex->tried.index[ex->tried.n++] = ex->at->lease.index;
	ex->tried.choosy = true;
	enum pool_verdict verdict =
	    pool_take(ex->view, &w->pool, &ex->tried, ex->hash_key, &at->lease);
	ex->tried.choosy = false;
	if (verdict != POOL_TAKEN) {
		ex->tried.n--;
		pool_hedge_unused(state);
		return;
	}
	ex->tried.index[ex->tried.n++] = at->lease.index;
	counter_add(&ex->view->sl->counters.hedges, 1);
	ex->n_hedges++;
	ex->hedge = at;
	attempt_connect(at, true);
}

void hedge_drop(struct exchange *ex, bool error)
{
	struct attempt *at = ex->hedge;
	ex->hedge = NULL;
	attempt_finish(at, false, error);
}

/* `at` counts from now on.  What was waited for an answer, the exchange has waited. */
static void put_first(struct exchange *ex, struct attempt *at)
{
	struct attempt *other = ex->at;
	if (at == other)
		return;
	ex->at = at;
	ex->hedge = other;
	ex->backend = at->lease.backend;
	if (at->state != ATTEMPT_WAITING)
		return;
	if (other->give_up_us)
		at->give_up_us = other->give_up_us;
	attempt_arm(at);
}

void hedge_settle(struct attempt *winner)
{
	struct exchange *ex = winner->ex;
	struct attempt *loser = winner == ex->at ? ex->hedge : ex->at;
	if (winner == ex->hedge) {
		counter_add(&ex->view->sl->counters.hedges_won, 1);
		if (winner->sent_us > loser->sent_us) /* no time of our own */
			ex->failed_wait_us += winner->sent_us - loser->sent_us;
	}
	put_first(ex, winner);
	/* it took at least as long as this: no good mark for a backend that is late */
	if (loser->sent_us && !loser->first_byte_us)
		loser->first_byte_us = clock_us();
	hedge_drop(ex, false);
}

void hedge_take_over(struct exchange *ex, bool error)
{
	put_first(ex, ex->hedge);
	hedge_drop(ex, error);
}
