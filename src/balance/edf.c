/* SPDX-License-Identifier: MIT */
/*
 * Earliest deadline first: a heap of backends by when each is due again, for many unequal
 * weights.
 */
#include "edf.h"

#include "weir/balance/strategy.h"
#include "weir/base/bitset.h"
#include "weir/base/hash.h"
#include "weir/base/rng.h"

/* The step of weight 1; that of weight 65535 is still exact to 6e-8. */
#define EDF_ONE (UINT64_C(1) << 40)

/* Ineligible backends moved on before the eligible ones are searched instead. */
#define SKIPS 16

/* Two arrays in one: the first two members by backend, the last by heap position. */
struct slot {
	uint64_t deadline;
	uint32_t position; /* of this backend in the heap */
	uint32_t backend;  /* at this position of the heap */
};

struct edf {
	uint64_t now; /* the latest deadline that was served or passed over */
	uint32_t n;   /* backends */
	uint32_t n_heap;
	struct slot slots[]; /* [n] */
};

size_t edf_size(uint32_t n)
{
	return sizeof(struct edf) + n * sizeof(struct slot);
}

static inline uint32_t at(const struct edf *edf, uint32_t k)
{
	return edf->slots[k].backend;
}

/* Ties go to the lower index: any fixed order is fair, each has its turn before the next round. */
static inline bool earlier(const struct edf *edf, uint32_t a, uint32_t b)
{
	int64_t d = (int64_t)(edf->slots[a].deadline - edf->slots[b].deadline);
	return d < 0 || (d == 0 && a < b);
}

static inline void place(struct edf *edf, uint32_t k, uint32_t backend)
{
	edf->slots[k].backend = backend;
	edf->slots[backend].position = k;
}

static void sift_up(struct edf *edf, uint32_t k)
{
	uint32_t backend = at(edf, k);
	while (k > 0 && earlier(edf, backend, at(edf, (k - 1) / 2))) {
		place(edf, k, at(edf, (k - 1) / 2));
		k = (k - 1) / 2;
	}
	place(edf, k, backend);
}

static void sift_down(struct edf *edf, uint32_t k)
{
	uint32_t backend = at(edf, k);
	for (;;) {
		uint32_t child = 2 * k + 1;
		if (child >= edf->n_heap)
			break;
		if (child + 1 < edf->n_heap && earlier(edf, at(edf, child + 1), at(edf, child)))
			child++;
		if (!earlier(edf, at(edf, child), backend))
			break;
		place(edf, k, at(edf, child));
		k = child;
	}
	place(edf, k, backend);
}

void edf_init(struct edf *edf, const uint32_t *weights, uint32_t n, uint64_t random)
{
	edf->now = 0;
	edf->n = n;
	edf->n_heap = 0;
	for (uint32_t i = 0; i < n; i++) {
		if (weights[i] == 0)
			continue;
		uint64_t step = EDF_ONE / weights[i];
		uint64_t part = hash_mix(random + i) >> 32;
		edf->slots[i].deadline = (step >> 8) * part >> 24;
		place(edf, edf->n_heap++, i);
		sift_up(edf, edf->n_heap - 1);
	}
}

/*
 * Its turn is over, used or not.  One that was not eligible for a while does
 * not make up for what it missed: it goes on from now.
 */
static void move_on(struct edf *edf, uint32_t backend, const uint32_t *weights)
{
	struct slot *slot = &edf->slots[backend];
	if ((int64_t)(slot->deadline - edf->now) > 0)
		edf->now = slot->deadline;
	slot->deadline = edf->now + EDF_ONE / weights[backend];
	sift_down(edf, slot->position);
}

static uint32_t earliest_eligible(const struct edf *edf, const uint64_t *eligible,
				  const uint64_t *weighted)
{
	uint32_t best = STRATEGY_NONE;
	for (uint32_t w = 0; w < BITSET_WORDS(edf->n); w++) {
		for (uint64_t b = eligible[w] & weighted[w]; b; b &= b - 1) {
			uint32_t i = w * 64 + (uint32_t)__builtin_ctzll(b);
			if (best == STRATEGY_NONE || earlier(edf, i, best))
				best = i;
		}
	}
	return best;
}

uint32_t edf_pick(struct edf *edf, const uint32_t *weights, const uint64_t *eligible,
		  const uint64_t *weighted)
{
	if (edf->n_heap == 0)
		return STRATEGY_NONE;
	uint32_t best = at(edf, 0);
	for (int skip = 0; !bitset_has(eligible, best) && skip < SKIPS; skip++) {
		move_on(edf, best, weights);
		best = at(edf, 0);
	}
	if (!bitset_has(eligible, best))
		best = earliest_eligible(edf, eligible, weighted);
	if (best == STRATEGY_NONE)
		return STRATEGY_NONE;
	move_on(edf, best, weights);
	return best;
}
