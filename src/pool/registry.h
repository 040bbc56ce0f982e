/* SPDX-License-Identifier: MIT */
/* Private to pool/: finding and counting run-time state.  Control thread. */
#ifndef WEIR_POOL_REGISTRY_H
#define WEIR_POOL_REGISTRY_H

#include "weir/pool/pool.h"

/* Retries a pool may always do, whatever its traffic (Finagle's reserve). */
#define RETRY_RESERVE_PER_S 10
#define RETRY_WINDOW_S 10

struct backend *registry_backend_get(struct pool_registry *reg, struct view pool,
				     const struct conf_backend *conf);
void registry_backend_put(struct backend *b);
struct pool_state *registry_state_get(struct pool_registry *reg, struct view name);
void registry_state_put(struct pool_state *s);

/* Any worker: makes the worker of `sl` serve its queue. */
void registry_wake(struct pool_state_local *sl);

/*
 * Any worker: wakes the one whose head has waited longest; with `after`, the
 * longest of those behind the head of that one.
 */
void queue_wake(struct pool_state *state, const struct pool_state_local *after);

/* pool_take for those who have waited: does not step back behind the queue. */
enum pool_verdict pool_take_slot(struct pool_view *view, struct pool_worker *pw,
				 const struct pool_tried *tried, uint64_t key, struct lease *lease);

#endif
