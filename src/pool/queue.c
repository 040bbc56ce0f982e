/* SPDX-License-Identifier: MIT */
/*
 * The pool queue: one FIFO a worker, one length for all.  A slot that comes
 * free wakes the worker whose head has waited longest, so the order over all
 * workers is first in, first out up to the time a letter takes.
 *
 * No wake-up is lost: a waiter first counts itself in, then tries once more;
 * whoever drops a lease first counts down, then looks whether anybody waits
 * (both sequentially consistent).  A worker that was woken and has nobody for
 * the slot, because its waiter has left or may not use that backend, wakes the
 * next one.
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

/* Takes place before the other in the order over all workers. */
static bool is_older(uint64_t since, unsigned id, uint64_t other_since, unsigned other_id)
{
	return since < other_since || (since == other_since && id < other_id);
}

void queue_wake(struct pool_state *state, const struct pool_state_local *after)
{
	uint64_t from = after ? atomic_load(&after->oldest_us) : 0, best_us = UINT64_MAX;
	unsigned from_id = after ? after->pw->id : 0, best = 0;
	for (unsigned i = 0; i < state->n_workers; i++) {
		uint64_t at = atomic_load(&state->local[i]->oldest_us);
		if (at == 0 || (from && !is_older(from, from_id, at, i)))
			continue;
		if (at < best_us) {
			best_us = at;
			best = i;
		}
	}
	if (best_us != UINT64_MAX)
		registry_wake(state->local[best]);
}

static enum pool_verdict take_for(const struct waiter *w, struct pool_worker *pw,
				  struct lease *lease)
{
	if (w->only)
		return pool_take_pinned_slot(w->view, pw, w->only - 1, lease);
	return pool_take_slot(w->view, pw, w->tried, 0, lease);
}

/*
 * The first in line who can be served.  A retry or an exchange of an older
 * generation may wait for others than those behind it and does not hold them
 * up; `*busy` tells whether it ended at somebody who would take any backend.
 */
static struct waiter *next_served(struct pool_state_local *sl, struct lease *lease, bool *busy)
{
	const struct waiter *last = list_last(&sl->queue, struct waiter, link);
	*busy = false;
	list_each (it, &sl->queue) {
		struct waiter *w = list_entry(it, struct waiter, link);
		if (take_for(w, sl->pw, lease) == POOL_TAKEN)
			return w;
		*busy = !w->only && (!w->tried || w->tried->n == 0) && w->view == last->view;
		if (*busy)
			break;
	}
	return NULL;
}

void pool_queue_serve(struct pool_state_local *sl)
{
	struct lease lease;
	struct waiter *w;
	bool busy;
	while ((w = next_served(sl, &lease, &busy)) != NULL) {
		pool_queue_remove(w);
		w->ready(w, &lease);
	}
	if (!busy && atomic_load(&sl->state->n_queued) > 0)
		queue_wake(sl->state, sl);
}
