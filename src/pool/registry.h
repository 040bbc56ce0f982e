/* SPDX-License-Identifier: MIT */
/* Private to pool/: finding and counting run-time state.  Control thread. */
#ifndef WEIR_POOL_REGISTRY_H
#define WEIR_POOL_REGISTRY_H

#include "weir/pool/pool.h"

/* Retries a pool may always do, whatever its traffic (Finagle's reserve). */
#define RETRY_RESERVE_PER_S 10
#define RETRY_WINDOW_S 10
/* One hedge in the unit of its budget. */
#define HEDGE_ONE 1000

struct backend *registry_backend_get(struct pool_registry *reg, struct view pool,
				     const struct conf_backend *conf);
/* NULL: there is none of this backend.key. */
struct backend *registry_backend_find(const struct pool_registry *reg, struct view key);
/* The backend gets a limiter, at most `max` (0: LIMIT_MAX). */
void registry_limiter(struct pool_registry *reg, struct backend *b, uint32_t max);
void registry_backend_put(struct backend *b);
struct pool_state *registry_state_get(struct pool_registry *reg, struct view name);
void registry_state_put(struct pool_state *s);
/* There may be room for several at once: each worker looks at its own line. */
void registry_wake_all(struct pool_registry *reg);

/* Any worker: makes the worker of `sl` serve its queue. */
void queue_wake_local(struct pool_state_local *sl);

/*
 * Any worker: wakes the one whose head has waited longest; with `after`, the
 * longest of those behind the head of that one.
 */
void queue_wake(struct pool_state *state, const struct pool_state_local *after);

/*
 * Any worker: somebody waits for a slot, whichever it is; a slot that comes free is
 * theirs.  Who waits for one backend to come back leaves the slots of the others alone.
 */
bool queue_has_line(const struct pool_state *state);

/* pool_take_pinned for those who have waited. */
enum pool_verdict pool_take_pinned_slot(struct pool_view *view, struct pool_worker *pw,
					uint32_t index, struct lease *lease);

/* A lease on this backend, whatever its state; POOL_FULL: it is at its limit. */
enum pool_verdict pool_take_index(struct pool_view *view, uint32_t i, struct lease *lease);

/* sticky.c: what a pool needs for pins; control thread. */
void pool_build_pins(struct pool *pool, struct pool_registry *reg, struct arena *arena);
void pool_release_pins(struct pool *pool);

/* Part of an answer in the mean of what is usual: 1/16. */
#define USUAL_SHIFT 4
/* An answer that is usual came after so long, not 0. */
static inline void odd_learn(struct pool_state_local *sl, uint64_t duration_us)
{
	int64_t ahead = (int64_t)(duration_us - sl->usual_us);
	sl->usual_us += (uint64_t)(likely(sl->usual_us) ? ahead >> USUAL_SHIFT : ahead);
}

/* insight.c: the statistics of a second that has passed. */
void insight_backend_tick(struct backend *b, uint64_t requests, uint64_t errors, uint64_t now_us);
void insight_state_tick(const struct pool_registry *reg, struct pool_state *s, uint64_t now_us);

#endif
