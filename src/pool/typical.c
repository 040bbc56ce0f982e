/* SPDX-License-Identifier: MIT */
/*
 * How long an answer of the pool takes: the medians of its backends, each for
 * its part of the traffic.  Good enough to see that a deadline cannot be met.
 */
#include "weir/pool/pool.h"

/* As many a second make fifty in the ten seconds that a rate covers. */
#define RATE_MIN 5

void pool_typical(struct pool *pool)
{
	static const double half[] = {0.5};
	double rate = 0, sum = 0;
	for (uint32_t i = 0; i < pool->n; i++) {
		const struct backend *b = pool->backends[i];
		uint64_t us = 0;
		double part = rate_per_s(&b->rate);
		if (part <= 0 || !b->windows)
			continue;
		windows_newest(b->windows, PHASE_wait, half, 1, &us);
		if (!us)
			continue;
		rate += part;
		sum += part * (double)us;
	}
	atomic_store_explicit(&pool->state->typical_us,
			      rate >= RATE_MIN ? (uint64_t)(sum / rate) : 0, memory_order_relaxed);
}
