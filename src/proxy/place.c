/* SPDX-License-Identifier: MIT */
/* An exchange finds a backend: at once, or in the queue of its pool. */
#include "place.h"

#include "pin.h"

#include "weir/base/check.h"

void place_start(struct exchange *ex)
{
	if (ex->state != EXCHANGE_RUNNING)
		exchange_set_state(ex, EXCHANGE_RUNNING);
	attempt_connect(ex->at, true);
}

/* Out of the queue with a lease. */
static void on_lease(struct waiter *waiter, struct lease *lease)
{
	struct exchange *ex = container_of(waiter, struct exchange, waiter);
	check_magic(ex, EXCHANGE_MAGIC);
	ex->at->lease = *lease;
	place_start(ex);
}

/* Out of the queue without one. */
static void on_shed(struct waiter *waiter)
{
	struct exchange *ex = container_of(waiter, struct exchange, waiter);
	check_magic(ex, EXCHANGE_MAGIC);
	exchange_end(ex, OUTCOME_queue_shed);
}

/* ---- in a newer generation ---- */

/* Index + 1 of the same member in another pool, 0: it is not there. */
static uint32_t same_in(const struct pool *pool, const struct pool *old, uint32_t index1)
{
	return (uint32_t)(pool_backend_index(pool, old->backends[index1 - 1]->name) + 1);
}

/* Who has been tried, as far as they are still there. */
static void renew_tried(struct pool_tried *tried, const struct pool *pool, const struct pool *old)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < tried->n; i++) {
		uint32_t same = same_in(pool, old, tried->index[i] + 1);
		if (same)
			tried->index[n++] = same - 1;
	}
	tried->n = n;
}

/*
 * From now on the exchange takes a backend of the newest generation; everything else is as its
 * own has it.  False, and nothing changes: its pin's backend is not there, or it has been at one
 * that may be there no longer once ex->pools is let go.
 */
static bool renew(struct exchange *ex, struct pool_view *view)
{
	const struct pool *pool = view->pool, *old = ex->view->pool;
	uint32_t pin = ex->pin && pool->conf->sticky.on ? same_in(pool, old, ex->pin) : 0;
	if (view == ex->view || (ex->pin && !pin) || (ex->pools && ex->backend))
		return false;
	renew_tried(&ex->tried, pool, old);
	ex->pin = pin;
	if (ex->pin_given)
		ex->pin_given = same_in(pool, old, ex->pin_given);
	if (!pool->fallback)
		ex->hash_key = 0;
	if (ex->pools)
		gen_put(ex->pools);
	ex->pools = gen_get(ex->worker->gen);
	ex->view = view;
	return true;
}

static void on_renew(struct waiter *waiter, struct pool_view *view)
{
	struct exchange *ex = container_of(waiter, struct exchange, waiter);
	check_magic(ex, EXCHANGE_MAGIC);
	if (!renew(ex, view))
		return;
	waiter->view = ex->view;
	waiter->key = ex->hash_key;
	waiter->only = ex->pin;
}

/* It is about to wait, or to try again: for what there is now. */
static bool renew_late(struct exchange *ex)
{
	struct gen_local *gl = ex->worker->gen;
	if (likely(gl == (ex->pools ? ex->pools : ex->gl)) || !gl)
		return false;
	for (uint32_t p = 0; p < gl->gen->n_pools; p++)
		if (gl->views[p].sl == ex->view->sl)
			return renew(ex, &gl->views[p]);
	return false;
}

/* ---- waiting ---- */

bool place_elsewhere(struct exchange *ex)
{
	if (!pin_take_elsewhere(ex))
		return false;
	place_start(ex);
	return true;
}

void place_wait(struct exchange *ex, enum pool_verdict why)
{
	if (!exchange_keep_request(ex)) {
		exchange_end(ex, OUTCOME_no_memory);
		return;
	}
	if (unlikely(renew_late(ex)) && (why = place_take(ex)) == POOL_TAKEN) {
		place_start(ex);
		return;
	}
	ex->waiter.ready = on_lease;
	ex->waiter.renew = on_renew;
	ex->waiter.tried = &ex->tried;
	ex->waiter.key = ex->hash_key;
	ex->waiter.only = ex->pin;
	ex->waiter.shed = on_shed;
	ex->waiter.class = ex->pin_waits ? QUEUE_CLASS_PATIENT : (uint8_t)ex->route->priority;
	ex->waiter.crowded = why == POOL_CROWDED;
	ex->queue_from_us = ex->worker->loop.now_us;
	if (pool_queue_push(ex->view, &ex->waiter, ex->queue_from_us)) {
		if (place_elsewhere(ex))
			return;
		counter_add(&ex->view->sl->counters.queue_full, 1);
		exchange_end(ex, OUTCOME_queue_full);
		return;
	}
	counter_add(&ex->view->sl->counters.queued, 1);
	ex->queue_met =
	    atomic_load_explicit(&ex->view->pool->state->n_queued, memory_order_relaxed);
	exchange_set_state(ex, EXCHANGE_QUEUED);
}

enum pool_verdict place_take(struct exchange *ex)
{
	if (unlikely(ex->pin))
		return pin_take(ex);
	return pool_take(ex->view, &ex->worker->pool, &ex->tried, ex->hash_key, &ex->at->lease);
}

bool place_seek(struct exchange *ex)
{
	enum pool_verdict verdict = place_take(ex);
	if (likely(verdict == POOL_TAKEN))
		place_start(ex);
	else if (verdict != POOL_EMPTY)
		place_wait(ex, verdict);
	return verdict != POOL_EMPTY;
}

bool place_again(struct exchange *ex)
{
	renew_late(ex);
	return place_seek(ex);
}
