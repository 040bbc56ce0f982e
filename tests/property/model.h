/* SPDX-License-Identifier: MIT */
/*
 * A pool in memory for the laws of strategies: members, eligibility, exchanges
 * in flight, one worker's local state and a random generator with a fixed seed.
 *
 *   struct model m;
 *   model_init(&m, strategies[0], weights, n, seed);
 *   uint32_t i = model_pick(&m);          // the pick alone
 *   model_hold(&m, 100);                  // pick and hold, release beyond 100 held
 *   model_fini(&m);
 */
#ifndef TESTS_PROPERTY_MODEL_H
#define TESTS_PROPERTY_MODEL_H

#include "weir/balance/strategy.h"
#include "weir/base/arena.h"
#include "weir/base/rng.h"

struct model {
	const struct strategy *strategy;
	const struct strategy_table *table;
	struct arena *arena;
	void *local;
	struct rng rng;
	uint32_t n;
	struct strategy_member *members;
	uint64_t *eligible;
	_Atomic uint64_t *in_flight;
	const _Atomic uint64_t **pointers;
	struct strategy_memory *memory;
	struct strategy_memory **memories;
	struct strategy_loads loads;
	struct strategy_options options;
	uint32_t *held; /* backends of the exchanges in flight, in no order */
	uint32_t n_held, held_max;
	uint64_t now_us;
};

/* All eligible, nothing in flight.  `weights` NULL: all 1. */
void model_init(struct model *m, const struct strategy *strategy, const uint32_t *weights,
		uint32_t n, uint64_t seed);
void model_fini(struct model *m);

uint32_t model_pick(struct model *m);
/* Picks and holds; when more than `max` are held a random one ends.  Returns the pick. */
uint32_t model_hold(struct model *m, uint32_t max);

/* Is there anything that may be picked? */
bool model_has_candidate(const struct model *m);

/* Is a chi-square value with `freedom` degrees likelier than 1e-6? */
bool chi_square_is_likely(double value, double freedom);
double chi_square_uniform(const uint32_t *counts, uint32_t n, double total);

/* Calls of malloc, calloc, realloc in this process so far. */
unsigned long allocations(void);

#endif
