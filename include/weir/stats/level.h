/* SPDX-License-Identifier: MIT */
/*
 * Levels: what requests took at a backend by how many they found there.  A request's
 * duration by the level at its *arrival* is a measure of the backend's speed that is right
 * for every distribution of service times and every kind of load; completions per time at
 * a level are one for memoryless service only.
 *
 * Levels up to 63 (the request itself included) have a bin each; above, every power of two
 * is cut into eight.  For the low levels the logarithms of the durations are kept apart by
 * whether the *other* backends had more or less in flight than usual at that level: the
 * material of the test for a shared bottleneck.  Durations are also filed as histograms: of
 * those who were alone in the whole pool, of those who were at their backend, of all others.
 *
 *   levels_pass(lv, k, now - last);                 // at each take and drop
 *   levels_served(lv, others, elsewhere, us);       // at a good end, with what it had met
 *
 * One writer thread per struct levels, any number of readers.  Nothing is allocated but a
 * histogram at the first sample of its class, and 400 bytes at the first of eight bins.
 */
#ifndef WEIR_STATS_LEVEL_H
#define WEIR_STATS_LEVEL_H

#include <stdatomic.h>
#include <stdint.h>

#include "weir/base/defs.h"
#include "weir/stats/counter.h"
#include "weir/stats/hist.h"

#define LEVEL_EXACT 64u
#define LEVEL_SUB_BITS 3
#define LEVEL_TOP_BITS 16 /* what is above counts in the last bin */
#define LEVEL_BINS (LEVEL_EXACT + ((LEVEL_TOP_BITS - 6) << LEVEL_SUB_BITS))
/* Classes of company: alone in the pool, alone at its backend, with others. */
enum { LEVEL_SOLO, LEVEL_ALONE, LEVEL_COMPANY, LEVEL_CLASSES };
#define LEVEL_SPLIT LEVEL_EXACT  /* levels that are kept apart by the others' load */
#define LEVEL_UNKNOWN UINT16_MAX /* nobody has counted what is in flight elsewhere */

static inline uint32_t level_bin(uint32_t k)
{
	if (likely(k < LEVEL_EXACT))
		return k;
	if (unlikely(k >= 1u << LEVEL_TOP_BITS))
		return LEVEL_BINS - 1;
	unsigned e = 31 - (unsigned)__builtin_clz(k);
	return LEVEL_EXACT + ((e - 6) << LEVEL_SUB_BITS) + ((k >> (e - LEVEL_SUB_BITS)) & 7);
}

/* The middle of a bin, as a number in flight. */
double level_value(uint32_t bin);

static inline unsigned level_class(uint32_t others, uint32_t elsewhere)
{
	if (others)
		return LEVEL_COMPANY;
	return elsewhere ? LEVEL_ALONE : LEVEL_SOLO;
}

/* 256 * log2(us + 1), off by less than 0.01 of a power of two. */
static inline uint32_t level_log(uint64_t us)
{
	uint64_t v = us < UINT64_C(1) << 40 ? us + 1 : UINT64_C(1) << 40;
	unsigned e = 63 - (unsigned)__builtin_clzll(v);
	uint64_t f = (v << (63 - e) & ~(UINT64_C(1) << 63)) >> 47;
	uint64_t bow = f * (65536 - f) / 65536 * 22486 >> 16; /* log2(1+f) - f, nearly */
	return e * 256 + (uint32_t)((f + bow) >> 8);
}

/* So many bins side by side, which appear at the first sample of one of them. */
#define LEVEL_BLOCK 8u
#define LEVEL_BLOCKS (LEVEL_BINS / LEVEL_BLOCK)

struct level_bin {
	struct counter n, us;
};

/* [0]: the others had no more than usual in flight, [1]: more; 32 bits wrap, the reader takes
 * differences */
struct level_split {
	_Atomic uint32_t n[2], elsewhere[2], log[2];
	struct counter log2; /* squares of logarithms, of both */
};

struct level_block {
	struct level_bin
	    bin[LEVEL_BLOCK]; /* by the level at arrival, the request itself included */
	/* blocks above LEVEL_SPLIT end here */
	struct level_split split[LEVEL_BLOCK];
	uint16_t usual[LEVEL_BLOCK]; /* eighths; a running median, the writer's own */
};

struct levels {
	struct counter area_us; /* sum of k times its time */
	_Atomic uint32_t top;   /* bins above it were never used: readers skip them */
	/* owns; the writer releases, readers acquire */
	_Atomic(struct level_block *) blocks[LEVEL_BLOCKS];
	_Atomic(struct hist *) served[LEVEL_CLASSES]; /* the same */
} CACHE_ALIGNED;

/* Zeroed, or NULL without memory. */
struct levels *levels_new(void);
void levels_free(struct levels *levels); /* NULL is fine */

/* Any thread. */
static inline uint32_t levels_top(const struct levels *levels)
{
	return atomic_load_explicit(&levels->top, memory_order_relaxed);
}

/* Any thread; NULL: there was never anything in it, or in its neighbours. */
static inline const struct level_block *levels_block(const struct levels *levels, uint32_t bin)
{
	return atomic_load_explicit(&levels->blocks[bin / LEVEL_BLOCK], memory_order_acquire);
}
static inline const struct level_bin *levels_bin(const struct levels *levels, uint32_t bin)
{
	const struct level_block *block = levels_block(levels, bin);
	return block ? &block->bin[bin % LEVEL_BLOCK] : NULL;
}
/* k < LEVEL_SPLIT */
static inline const struct level_split *levels_split(const struct levels *levels, uint32_t k)
{
	const struct level_block *block = levels_block(levels, k);
	return block ? &block->split[k % LEVEL_BLOCK] : NULL;
}

/* Writer thread: k were in flight for `us`, which may be "negative" by a little. */
static inline void levels_pass(struct levels *levels, uint32_t k, uint64_t us)
{
	counter_add(&levels->area_us, k * us);
}

/*
 * Writer thread: it took `us` at the backend, had met `others` there and `elsewhere` at the
 * pool's other backends (LEVEL_UNKNOWN: not counted).
 */
void levels_served(struct levels *levels, uint32_t others, uint32_t elsewhere, uint64_t us);

#endif
