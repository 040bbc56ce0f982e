/* SPDX-License-Identifier: MIT */
/* Between pool.c, which takes leases, and lease.c, which ends them: both run for each request. */
#ifndef WEIR_POOL_FLIGHT_H
#define WEIR_POOL_FLIGHT_H

#include "weir/base/check.h"
#include "weir/pool/pool.h"

/* Of a backend and worker, when they are first needed; NULL without memory. */
struct levels *pool_make_levels(struct backend_local *local);

/*
 * The number in flight has changed: books the time it was `k` (stats/level.h).
 * Two workers may swap places between the count and the clock; that moves
 * microseconds from one level to its neighbour.
 */
static inline void pool_leave_level(struct backend *backend, struct pool_worker *pw, uint32_t k)
{
	if (!WEIR_STATS)
		return;
	struct backend_local *local = backend->local[pw->id];
	uint64_t now = pw->loop->now_us;
	uint64_t since =
	    atomic_exchange_explicit(&backend->level_since_us, now, memory_order_relaxed);
	struct levels *levels = atomic_load_explicit(&local->levels, memory_order_relaxed);
	if (unlikely(!levels) && !(levels = pool_make_levels(local)))
		return;
	levels_pass(levels, k, now - since);
}

/* The strategy, its table and this worker's state of it. */
struct pool_way {
	const struct strategy *strategy;
	const struct strategy_table *table;
	void *local;
};

static inline struct pool_way pool_way_of(const struct pool_view *view, uint32_t tier,
					  bool fallback)
{
	const struct pool *pool = view->pool;
	if (unlikely(fallback))
		return (struct pool_way){pool->fallback, pool->tiers[tier].fallback,
					 view->fallback_locals[tier]};
	return (struct pool_way){pool->strategy, pool->tiers[tier].table, view->locals[tier]};
}

#endif
