/* SPDX-License-Identifier: MIT */
/* What is learned of a backend by way of a lease, and its end. */
#include "flight.h"
#include "registry.h"

#include "weir/balance/orca.h"
#include "weir/base/bitset.h"

struct levels *pool_make_levels(struct backend_local *local)
{
	struct levels *levels = levels_new();
	/* release: whoever sees the pointer sees the zeroes behind it */
	atomic_store_explicit(&local->levels, levels, memory_order_release);
	return levels;
}

/* ---- what is heard of a backend ---- */

bool pool_note_refused(struct pool_view *view, struct pool_worker *pw, struct backend *backend)
{
	struct backend_local *local = backend->local[pw->id];
	/* two at once may count as one: it is about the size */
	uint32_t row = atomic_load_explicit(&backend->connect_row, memory_order_relaxed);
	if (row < UINT16_MAX)
		atomic_store_explicit(&backend->connect_row,
				      row < CONNECT_ROW_OPENS ? CONNECT_ROW_OPENS + 1 : row + 1,
				      memory_order_relaxed);
	if (local->refused_row < POOL_REFUSED_MAX && ++local->refused_row < POOL_REFUSED_MAX)
		return false;
	local->avoid_until_us = pw->loop->now_us + POOL_AVOID_US;
	pool_view_refresh(view);
	return true;
}

void pool_note_asked(struct pool_view *view, struct pool_worker *pw, struct backend *backend,
		     uint64_t us)
{
	struct backend_local *local = backend->local[pw->id];
	uint64_t until = pw->loop->now_us + (us < POOL_ASKED_MAX_US ? us : POOL_ASKED_MAX_US);
	if (until > local->avoid_until_us)
		local->avoid_until_us = until;
	pool_view_refresh(view);
}

bool pool_note_report(struct backend *backend, struct view value, uint64_t now_us)
{
	struct orca orca;
	if (!orca_parse(value, &orca) || orca.rif < 0)
		return false;
	struct strategy_report report = {
	    .in_flight = orca.rif < UINT16_MAX ? (uint32_t)orca.rif : UINT16_MAX,
	    .at_us = now_us,
	};
	atomic_store_explicit(&backend->memory.report, strategy_report_pack(report),
			      memory_order_relaxed);
	return true;
}

/* ---- what an attempt says of it ---- */

void lease_note(const struct lease *lease, bool broke, uint64_t latency_us)
{
	struct limiter *limiter =
	    atomic_load_explicit(&lease->backend->limiter, memory_order_acquire);
	uint32_t limit = atomic_load_explicit(&lease->backend->limit, memory_order_relaxed);
	if (limiter)
		limiter_note(limiter, lease->view->sl->pw->id, limit, lease->others, broke,
			     latency_us);
}

/* There is another one that takes requests. */
static bool can_spare(const struct pool_view *view, uint32_t i)
{
	const struct pool *pool = view->pool;
	for (uint32_t k = bitset_next(view->eligible, pool->n, 0); k < pool->n;
	     k = bitset_next(view->eligible, pool->n, k + 1))
		if (k != i && atomic_load_explicit(&pool->backends[k]->fault.trial,
						   memory_order_relaxed) == TRIAL_OFF)
			return true;
	return false;
}

void lease_fault(struct lease *lease, const char *why, uint16_t status)
{
	struct backend *backend = lease->backend;
	const struct fault_facts facts = {
	    .why = why,
	    .status = status,
	    .on_trial = lease->on_trial,
	    .spare = can_spare(lease->view, lease->index),
	    .broken = lease->broken,
	};
	if (lease->faulty)
		return;
	lease->faulty = true;
	fault_note(&backend->fault, &backend->local[lease->view->sl->pw->id]->fault, &facts);
}

void lease_prove(struct lease *lease)
{
	struct backend *backend = lease->backend;
	if (lease->faulty || lease->proved)
		return;
	lease->proved = true;
	lease->on_trial = false;
	fault_note_served(&backend->fault, &backend->local[lease->view->sl->pw->id]->fault);
}

/* ---- the end ---- */

/* What the attempt says about the backend, if it says anything. */
static inline void judge(const struct lease *lease)
{
	struct backend *backend = lease->backend;
	if (likely(lease->served && !lease->proved))
		fault_note_served(&backend->fault, &backend->local[lease->view->sl->pw->id]->fault);
	if (unlikely(lease->on_trial && !lease->faulty))
		fault_leave_trial(&backend->fault);
}

/* What answers mean, the usual one at once: see odd.h. */
static inline uint64_t learn_from(struct lease *lease, bool error, uint64_t duration_us)
{
	struct pool_state_local *sl = lease->view->sl;
	struct backend *backend = lease->backend;
	bool unusual = ~lease->view->usual >> (lease->answer % 32) & 1;
	if (unlikely(unusual | lease->stratum | lease->bound | lease->is_try | error |
		     !duration_us))
		return odd_note(lease, error, duration_us);
	odd_count(&backend->local[sl->pw->id]->odd.answers[lease->answer]);
	odd_learn(sl, duration_us);
	return duration_us;
}

/* Whoever waits may have a place now. */
static inline void wake_waiters(struct pool_view *view, bool crowded)
{
	struct pool_state *state = view->pool->state;
	if (likely(atomic_load_explicit(&state->n_queued, memory_order_seq_cst) == 0))
		return;
	queue_wake(state, NULL);
	if (crowded) /* the connection that came free is this worker's */
		queue_wake_local(view->sl);
}

/* It is not a request any more: `change` says what becomes of the backend's word. */
static inline void leave(const struct lease *lease, uint64_t change)
{
	const struct pool_view *view = lease->view;
	uint64_t before =
	    atomic_fetch_add_explicit(&lease->backend->in_flight, change, memory_order_seq_cst);
	check(flight_requests(before) > 0);
	pool_leave_level(lease->backend, view->sl->pw, flight_requests(before));
	if (unlikely(view->pool->options.bound_percent))
		atomic_fetch_sub_explicit(&view->pool->state->in_flight, 1, memory_order_relaxed);
}

void lease_streams(struct lease *lease)
{
	if (lease->streams)
		return;
	lease->streams = true;
	leave(lease, FLIGHT_STREAM - 1);
	wake_waiters(lease->view, false); /* an adaptive limit has room for one more */
}

static void leave_as_stream(const struct lease *lease)
{
	uint64_t before = atomic_fetch_sub_explicit(&lease->backend->in_flight, FLIGHT_STREAM,
						    memory_order_seq_cst);
	check(flight_streams(before) > 0);
}

void lease_drop(struct lease *lease, bool error, uint64_t duration_us)
{
	struct pool_view *view = lease->view;
	const struct pool *pool = view->pool;
	check(lease->backend != NULL);
	judge(lease);
	duration_us = learn_from(lease, error, duration_us);
	if (unlikely(lease->streams))
		leave_as_stream(lease);
	else
		leave(lease, -UINT64_C(1));
	bool crowded = atomic_load(&lease->backend->crowded);
	lease->backend = NULL;
	struct pool_way way = pool_way_of(view, lease->tier, lease->fallback);
	if (way.strategy->done) {
		struct strategy_result result = {error, duration_us, view->sl->pw->loop->now_us,
						 lease->others};
		way.strategy->done(way.table, way.local, &pool->loads, lease->index, &result);
	}
	wake_waiters(view, crowded);
}
