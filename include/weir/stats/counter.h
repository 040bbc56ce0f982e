/* SPDX-License-Identifier: MIT */
/*
 * A counter with one writer thread and any number of readers.  Only the writer
 * may add, so a plain load and store suffice: no locked instruction, and a
 * reader never sees a torn value.  One counter per worker; readers sum them.
 *
 *   counter_add(&worker->stats.requests, 1);       // that worker
 *   sum += counter_get(&worker->stats.requests);   // control thread
 */
#ifndef WEIR_STATS_COUNTER_H
#define WEIR_STATS_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

struct counter {
	_Atomic uint64_t n; /* relaxed: the number orders nothing else */
};

/* Writer thread only. */
static inline void counter_add(struct counter *c, uint64_t n)
{
	uint64_t old = atomic_load_explicit(&c->n, memory_order_relaxed);
	atomic_store_explicit(&c->n, old + n, memory_order_relaxed);
}

/* Any thread. */
static inline uint64_t counter_get(const struct counter *c)
{
	return atomic_load_explicit(&c->n, memory_order_relaxed);
}

#endif
