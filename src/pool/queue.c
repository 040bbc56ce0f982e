/* SPDX-License-Identifier: MIT */
/*
 * The pool queue: one FIFO a worker, one length for all.  A slot that comes
 * free wakes the worker whose head has waited longest, so the order over all
 * workers is first in, first out up to the time a letter takes.
 *
 * No wake-up is lost: a waiter first counts itself in, then tries once more;
 * whoever drops a lease first counts down, then looks whether anybody waits
 * (both sequentially consistent).
 */
#include "registry.h"

#include "weir/base/check.h"

static void show_oldest(struct pool_state_local *sl)
{
	uint64_t oldest = 0;
	if (!list_is_empty(&sl->queue))
		oldest = list_first(&sl->queue, struct waiter, link)->since_us;
	atomic_store(&sl->oldest_us, oldest);
}

enum err pool_queue_push(struct pool_view *view, struct waiter *waiter, uint64_t now_us)
{
	const struct conf_pool *conf = view->pool->conf;
	struct pool_state *state = view->pool->state;
	if (!conf->queue.on)
		return ERR_FULL;
	if (atomic_fetch_add(&state->n_queued, 1) >= conf->queue.length) {
		atomic_fetch_sub(&state->n_queued, 1);
		return ERR_FULL;
	}
	waiter->view = view;
	waiter->since_us = now_us;
	list_push_back(&view->sl->queue, &waiter->link);
	show_oldest(view->sl);
	/* a slot may have come free between the failed take and the count */
	registry_wake(view->sl);
	return ERR_OK;
}

void pool_queue_remove(struct waiter *waiter)
{
	struct pool_state_local *sl = waiter->view->sl;
	list_del(&waiter->link);
	atomic_fetch_sub(&sl->state->n_queued, 1);
	show_oldest(sl);
}

void pool_queue_serve(struct pool_state_local *sl)
{
	while (!list_is_empty(&sl->queue)) {
		struct waiter *w = list_first(&sl->queue, struct waiter, link);
		struct lease lease;
		enum pool_verdict verdict = pool_take(w->view, sl->pw, w->tried, 0, &lease);
		if (verdict != POOL_TAKEN)
			return;
		pool_queue_remove(w);
		w->ready(w, &lease);
	}
}
