/* SPDX-License-Identifier: MIT */
#include "hedge.h"

#include <string.h>

#include "weir/base/clock.h"

uint64_t hedge_delay(const struct exchange *ex)
{
	const struct pool *pool = ex->view->pool;
	const struct conf_pool *conf = pool->conf;
	bool fits = !ex->hedged && !ex->pin && !ex->client_deadline && !ex->wants_upgrade &&
		    (ex->method == METHOD_GET || ex->method == METHOD_HEAD) && ex->replayable &&
		    ex->req_complete && ex->req && ex->req->len == ex->req_head_len &&
		    ex->tried.n < POOL_TRIED_MAX;
	if (!fits || !conf->retry.hedge.on)
		return 0;
	if (conf->retry.hedge.after_us)
		return conf->retry.hedge.after_us;
	return atomic_load_explicit(&pool->state->hedge_after_us, memory_order_relaxed);
}

/* Back to where it came from. */
static void put_attempt(struct attempt *at)
{
	if (at != &at->ex->first)
		slab_put(&at->ex->worker->attempts, at);
}

void hedge_begin(struct exchange *ex)
{
	struct worker *w = ex->worker;
	struct pool_state *state = ex->view->pool->state;
	ex->hedged = true;
	if (!pool_hedge_allowed(state))
		return;
	struct attempt *at = slab_get(&w->attempts);
	if (!at)
		return;
	memset(at, 0, sizeof(*at));
	at->ex = ex;
	ex->tried.index[ex->tried.n++] = ex->at->lease.index;
	if (pool_take(ex->view, &w->pool, &ex->tried, ex->hash_key, &at->lease) != POOL_TAKEN) {
		ex->tried.n--;
		pool_hedge_unused(state);
		slab_put(&w->attempts, at);
		return;
	}
	counter_add(&ex->view->sl->counters.hedges, 1);
	ex->hedge = at;
	attempt_connect(at);
}

void hedge_drop(struct exchange *ex, bool error)
{
	struct attempt *at = ex->hedge;
	ex->hedge = NULL;
	attempt_finish(at, false, error);
	put_attempt(at);
}

void hedge_settle(struct attempt *winner)
{
	struct exchange *ex = winner->ex;
	struct attempt *loser = winner == ex->at ? ex->hedge : ex->at;
	if (winner == ex->hedge) {
		counter_add(&ex->view->sl->counters.hedges_won, 1);
		ex->backend = winner->lease.backend;
		if (winner->sent_us > loser->sent_us) /* no time of our own */
			ex->failed_wait_us += winner->sent_us - loser->sent_us;
	}
	ex->at = winner;
	ex->hedge = loser;
	/* it took at least as long as this: no good mark for a backend that is late */
	if (loser->sent_us)
		loser->first_byte_us = clock_us();
	hedge_drop(ex, false);
}

bool hedge_took_over(struct attempt *failed)
{
	struct exchange *ex = failed->ex;
	if (!ex->hedge)
		return false;
	if (failed == ex->at) {
		ex->at = ex->hedge;
		ex->hedge = failed;
		ex->backend = ex->at->lease.backend;
	}
	hedge_drop(ex, true);
	return true;
}
