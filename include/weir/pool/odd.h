/* SPDX-License-Identifier: MIT */
/*
 * What backends answer, from workers to whoever compares them (health/, on the
 * control thread; stats/odd.h).
 *
 *   answers    always: one counter a kind
 *   strata     the same by what was asked, while somebody is suspected: 128 bytes a
 *              worker, backend and stratum that is met, kept; media types only here
 *
 * Requests that a key or a pin brought are not counted: unlike clients go to unlike
 * backends then.
 *
 * A backend that was ejected for what it does to requests may be tried: one request
 * in `try_us`, of all workers together, goes there, and a letter says how it went.
 * When the next one may is the watcher's decision.
 */
#ifndef WEIR_POOL_ODD_H
#define WEIR_POOL_ODD_H

#include <stdatomic.h>

#include "weir/base/defs.h"
#include "weir/stats/odd.h"

/* A try that nobody has heard of again is made up for. */
#define ODD_TRY_LOST_US 30000000
/* How often a worker looks whose turn it is, while anybody is to be tried. */
#define ODD_LOOK_US 10000

struct odd_row {
	_Atomic uint32_t n[N_ANSWER_COLUMNS];
};
struct odd_strata {
	_Atomic(struct odd_row *) row[ODD_STRATA]; /* owns; the worker makes it (release) */
};

/* One worker's side of one backend. */
struct odd_local {
	_Atomic uint32_t answers[N_ANSWERS]; /* these wrap, the reader takes differences */
	/* owns; the control thread makes it (release), the worker counts */
	_Atomic(struct odd_strata *) strata;
};

/* Its worker. */
static inline void odd_count(_Atomic uint32_t *n)
{
	atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

/* Its worker; s < ODD_STRATA.  NULL without memory: one answer less. */
struct odd_row *odd_row_of(struct odd_strata *strata, unsigned s);
void odd_strata_free(struct odd_strata *strata); /* NULL is fine */

/* All workers' side. */
struct odd_shared {
	_Atomic uint64_t try_us;   /* from when on somebody may try it; 0: nobody */
	_Atomic uint64_t took_us;  /* the last try */
	_Atomic uint64_t error_us; /* the last error, as strategies see it */
	_Atomic uint32_t fails;    /* answers that speak against it, when it is tried */
	_Atomic bool grpc;         /* an answer was told by a grpc-status that is not OK */
	_Atomic bool held; /* odd, but not left alone: no more than what is due to its weight */
};

/* ---- workers ---- */

struct backend;
struct lease;
struct pool_view;

/* Takes over what the control thread decided; with pool_view_refresh. */
void odd_refresh(struct pool_view *view);

/*
 * Index of the next backend, from `from` on, whose turn it is to be tried: the turn is
 * this worker's then.  The number of backends: there is none.  `wary`: by a request that
 * cannot be repeated.
 */
uint32_t odd_next_try(const struct pool_view *view, uint32_t from, bool wary);
/* That came to nothing: somebody else is to try soon. */
void odd_try_failed(struct backend *b, uint64_t now_us);

/*
 * What the attempt was answered, before its drop; `error`: strategies take it for
 * one.  Returns the duration to learn from:
 * what the pool does not usually give says nothing of its speed, and counts as no
 * faster than what it does.
 */
uint64_t odd_note(struct lease *lease, bool error, uint64_t duration_us);

#endif
