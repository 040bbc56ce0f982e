/* SPDX-License-Identifier: MIT */
/*
 * What a worker does about a backend that answers otherwise than the others: leaves it alone, and
 * tries it once a second.
 */
#include "weir/pool/odd.h"

#include <stdlib.h>

#include "registry.h"

#include "weir/base/bitset.h"

/* A request that cannot be repeated is let off if another comes within this time. */
#define WARY_US 500000
/* One that came to nothing is repeated soon. */
#define AGAIN_US 100000

void odd_refresh(struct pool_view *view)
{
	const struct pool *pool = view->pool;
	view->usual = atomic_load_explicit(&pool->state->usual, memory_order_relaxed);
	view->watched = atomic_load_explicit(&pool->state->watched, memory_order_relaxed);
	view->try_us = UINT64_MAX;
	for (uint32_t i = 0; i < pool->n; i++) {
		const struct backend *b = pool->backends[i];
		bool due = atomic_load_explicit(&b->odd.try_us, memory_order_relaxed) != 0;
		enum backend_state state = backend_state(b);
		bool is_tried = due && pool->weights[i] > 0 &&
				(state == BACKEND_ejected || state == BACKEND_up);
		bitset_assign(view->to_try, i, is_tried);
		/* at the next take, whenever it is due: that may change, and nobody tells */
		if (is_tried)
			view->try_us = 0;
	}
}

/* ---- tries ---- */

static bool claim_turn(struct odd_shared *odd, bool wary, uint64_t now_us)
{
	uint64_t due = atomic_load_explicit(&odd->try_us, memory_order_relaxed);
	return due && now_us >= due + (wary ? WARY_US : 0) &&
	       atomic_compare_exchange_strong_explicit(&odd->try_us, &due, now_us + ODD_TRY_LOST_US,
						       memory_order_relaxed, memory_order_relaxed);
}

uint32_t odd_next_try(const struct pool_view *view, uint32_t from, bool wary)
{
	const struct pool *pool = view->pool;
	uint64_t now = view->sl->pw->loop->now_us;
	uint32_t i = bitset_next(view->to_try, pool->n, from);
	while (i < pool->n && !claim_turn(&pool->backends[i]->odd, wary, now))
		i = bitset_next(view->to_try, pool->n, i + 1);
	return i;
}

void odd_try_failed(struct backend *b, uint64_t now_us)
{
	atomic_store_explicit(&b->odd.try_us, now_us + AGAIN_US, memory_order_relaxed);
}

static bool fails(const struct lease *lease, uint8_t answer)
{
	uint32_t given = ANSWER_BIT(answer) | (lease->type ? ANSWER_BIT(lease->type) : 0);
	return atomic_load_explicit(&lease->backend->odd.fails, memory_order_relaxed) & given;
}

/* ANSWER_NONE: it came to nothing, and somebody else is to try. */
static void end_try(struct lease *lease, uint8_t answer, uint64_t took_us)
{
	struct backend *b = lease->backend;
	const struct pool_worker *pw = lease->view->sl->pw;
	lease->is_try = false;
	if (answer == ANSWER_NONE || !b->fault.watcher) {
		odd_try_failed(b, pw->loop->now_us);
		return;
	}
	atomic_store_explicit(&b->odd.took_us, took_us, memory_order_relaxed);
	fault_tell(&b->fault, &b->local[pw->id]->fault,
		   fails(lease, answer) ? FAULT_NEWS_TRY_FAILED : FAULT_NEWS_TRY_PASSED);
}

void lease_try_answered(struct lease *lease, bool goes_on)
{
	uint8_t answer = lease->answer;
	if (answer != ANSWER_NONE && (goes_on || fails(lease, answer)))
		end_try(lease, answer, 0);
}

/* ---- answers ---- */

struct odd_row *odd_row_of(struct odd_strata *strata, unsigned s)
{
	struct odd_row *row = atomic_load_explicit(&strata->row[s], memory_order_relaxed);
	if (likely(row != NULL))
		return row;
	row = calloc(1, sizeof(*row));
	/* release: whoever sees the pointer sees the zeroes behind it */
	atomic_store_explicit(&strata->row[s], row, memory_order_release);
	return row;
}

void odd_strata_free(struct odd_strata *strata)
{
	for (unsigned s = 0; strata && s < ODD_STRATA; s++)
		free(atomic_load_explicit(&strata->row[s], memory_order_acquire));
	free(strata);
}

static void count(const struct lease *lease, uint8_t answer)
{
	struct odd_local *odd = &lease->backend->local[lease->view->sl->pw->id]->odd;
	odd_count(&odd->answers[answer]);
	if (likely(!lease->stratum))
		return;
	struct odd_strata *strata = atomic_load_explicit(&odd->strata, memory_order_acquire);
	struct odd_row *row = strata ? odd_row_of(strata, lease->stratum - 1u) : NULL;
	if (!row)
		return;
	odd_count(&row->n[answer]);
	if (lease->type && (answer < ANSWER_empty || answer == ANSWER_coded))
		odd_count(&row->n[lease->type]);
}

uint64_t odd_note(struct lease *lease, bool error, uint64_t duration_us)
{
	struct pool_state_local *sl = lease->view->sl;
	uint8_t answer = lease->answer;
	if (unlikely(lease->faulty && (answer == ANSWER_NONE || !answer_is_bad(answer))))
		answer = ANSWER_lost;
	if (unlikely(lease->is_try))
		end_try(lease, answer, duration_us);
	if (unlikely(answer == ANSWER_NONE))
		return duration_us;
	if (unlikely(error))
		atomic_store_explicit(&lease->backend->odd.error_us, sl->pw->loop->now_us,
				      memory_order_relaxed);
	if (likely(!lease->bound))
		count(lease, answer);
	if (unlikely(!(lease->view->usual & ANSWER_BIT(answer))))
		return duration_us && duration_us < sl->usual_us ? sl->usual_us : duration_us;
	if (duration_us)
		odd_learn(sl, duration_us);
	return duration_us;
}
