/* SPDX-License-Identifier: MIT */
/*
 * What live traffic says about a backend, from workers to whoever watches it
 * (health/, on its own thread), which alone decides.
 *
 *   served     an attempt brought a whole response, and no error
 *   faults     an attempt failed by the backend's doing
 *
 * Faults in a row are counted over all workers; a letter goes out when the row
 * reaches the limit, so that the answer does not wait for somebody to look.  The
 * worker whose fault it was closes the gate at once, if the pool can do without
 * the backend: what fails fast could get a hundred requests more before the
 * watcher's thread has a CPU.  The watcher opens it again unless it ejects.
 *
 * After an ejection a backend is on trial: one attempt alone tries it, and
 * everybody else passes it over, until one succeeds.
 *
 *   OFF --watcher, or a row--> CLOSED
 *   CLOSED --watcher--> OFF, FREE --claimed--> TAKEN --served--> OFF, letter
 *                      ^                | |
 *                      +---- neither ---+ +--fault--> TAKEN, letter: the watcher
 *                                                     ejects it again
 */
#ifndef WEIR_POOL_FAULT_H
#define WEIR_POOL_FAULT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "weir/base/defs.h"
#include "weir/loop/loop.h"
#include "weir/stats/counter.h"

struct backend;

enum trial {
	TRIAL_OFF,
	TRIAL_FREE,
	TRIAL_TAKEN,
	TRIAL_CLOSED, /* nobody: ejected, and not all workers know it yet; or about to be */
};

enum fault_news {
	FAULT_NEWS_ROW = 1 << 0,          /* `limit` faults in a row */
	FAULT_NEWS_TRIAL_FAILED = 1 << 1, /* the one attempt of a trial */
	FAULT_NEWS_TRIAL_PASSED = 1 << 2,
	FAULT_NEWS_TRY_FAILED = 1 << 3, /* see odd.h */
	FAULT_NEWS_TRY_PASSED = 1 << 4,
};

/* One worker's side of one backend. */
struct fault_local {
	struct counter served, faults;
	struct mail letter; /* to the watcher, whose loop reads it; fn is the watcher's */
	struct backend *backend;
	_Atomic unsigned news; /* enum fault_news not read yet; not 0: the letter is on its way */
};

/* All workers' side; changes only when something fails. */
struct fault_shared {
	struct loop *watcher;    /* const while anything below is not 0 */
	_Atomic uint32_t limit;  /* the watcher writes; 0: rows mean nothing */
	_Atomic uint32_t row;    /* faults since the last success, over all workers */
	_Atomic uint8_t trial;   /* enum trial */
	_Atomic uint16_t status; /* of the last fault; 0: there was no response */
	_Atomic bool broken; /* it was about the connection: a passing check speaks against it */
	_Atomic(const char *) why; /* a static sentence about the last fault, or NULL */
};

/* Worker: writes to the watcher, if there is one. */
void fault_tell(struct fault_shared *shared, struct fault_local *local, unsigned news);

/* Worker: one of its attempts succeeded. */
void fault_note_served_slowly(struct fault_shared *shared, struct fault_local *local);
static inline void fault_note_served(struct fault_shared *shared, struct fault_local *local)
{
	counter_add(&local->served, 1);
	if (unlikely(atomic_load_explicit(&shared->row, memory_order_relaxed) ||
		     atomic_load_explicit(&shared->trial, memory_order_relaxed)))
		fault_note_served_slowly(shared, local);
}

/* Worker: one failed.  `why` is static. */
struct fault_facts {
	const char *why;
	uint16_t status;
	bool on_trial; /* it was the trial's attempt */
	bool spare;    /* the pool has others: a row may close the gate */
	bool broken;   /* it could not connect, or lost the connection */
};
void fault_note(struct fault_shared *shared, struct fault_local *local,
		const struct fault_facts *facts);

/* Worker: takes the trial's only place. */
static inline bool fault_take_trial(struct fault_shared *shared)
{
	uint8_t is = TRIAL_FREE;
	return atomic_compare_exchange_strong(&shared->trial, &is, TRIAL_TAKEN);
}
/* Worker: true when there is no trial, or it has just got its place. */
static inline bool fault_may_try(struct fault_shared *shared)
{
	return likely(atomic_load_explicit(&shared->trial, memory_order_relaxed) == TRIAL_OFF) ||
	       fault_take_trial(shared);
}
/* Gives it back: the attempt proved nothing. */
static inline void fault_leave_trial(struct fault_shared *shared)
{
	uint8_t is = TRIAL_TAKEN;
	atomic_compare_exchange_strong(&shared->trial, &is, TRIAL_FREE);
}

#endif
