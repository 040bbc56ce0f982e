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
	ex->waiter.ready = on_lease;
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
