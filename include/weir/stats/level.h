/* SPDX-License-Identifier: MIT */
/*
 * State bins: for every number k of attempts in flight at a backend, how long it
 * had k (T) and how many it finished meanwhile (D).  D/T is its speed at level
 * k, and unlike averages over windows of time it is right under steady traffic,
 * too (in open traffic the number in flight swings around a fixed rate).
 *
 * Levels up to 63 have a bin each; above, every power of two is cut into eight.
 * One writer thread per struct levels, any number of readers.  `others` is the
 * level an attempt met on arrival: its service time is filed by powers of two
 * of that, so that the time of a request that was (almost) alone is measured,
 * not fitted.
 *
 *   levels_pass(lv, k, now - last);                 // at each take and drop
 *   levels_done(lv, k); levels_served(lv, others, us);
 *
 * Times are microseconds; a single T may be off by the few microseconds by
 * which two workers' clocks of a loop turn differ, the sum of all is exact.
 * Memory: 3.5 KiB, and 2.8 KiB for each class of `others` that was met.
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
/* Classes of `others`: 0, 1, 2-3, 4-7, ... the last is open. */
#define LEVEL_CLASSES 12

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

static inline unsigned level_class(uint32_t others)
{
	unsigned c = others ? 32 - (unsigned)__builtin_clz(others) : 0;
	return c < LEVEL_CLASSES ? c : LEVEL_CLASSES - 1;
}

/* The highest `others` of a class. */
static inline uint32_t level_class_top(unsigned c)
{
	return (1u << c) - 1;
}

struct levels {
	struct counter area_us; /* sum of k times its time */
	_Atomic uint32_t top;   /* bins above it were never used: readers skip them */
	struct level_bin {
		struct counter time_us; /* a difference may be negative: sums wrap rightly */
		struct counter done;
	} bin[LEVEL_BINS];
	_Atomic(struct hist *) served[LEVEL_CLASSES]; /* owns; made at the first sample */
} CACHE_ALIGNED;

/* Zeroed, or NULL without memory. */
struct levels *levels_new(void);
void levels_free(struct levels *levels); /* NULL is fine */

/* Any thread. */
static inline uint32_t levels_top(const struct levels *levels)
{
	return atomic_load_explicit(&levels->top, memory_order_relaxed);
}

/* Slow path of levels_served. */
void levels_served_first(struct levels *levels, unsigned c, uint64_t us);

/* Writer thread: k were in flight for `us`, which may be "negative" by a little. */
static inline void levels_pass(struct levels *levels, uint32_t k, uint64_t us)
{
	uint32_t bin = level_bin(k);
	if (unlikely(bin > levels_top(levels)))
		atomic_store_explicit(&levels->top, bin, memory_order_relaxed);
	counter_add(&levels->bin[bin].time_us, us);
	counter_add(&levels->area_us, k * us);
}

/* Writer thread: one of k in flight was finished well. */
static inline void levels_done(struct levels *levels, uint32_t k)
{
	counter_add(&levels->bin[level_bin(k)].done, 1);
}

/* Writer thread: it took `us` at the backend and had met `others` there. */
static inline void levels_served(struct levels *levels, uint32_t others, uint64_t us)
{
	unsigned c = level_class(others);
	struct hist *h = atomic_load_explicit(&levels->served[c], memory_order_relaxed);
	if (likely(h != NULL))
		hist_record(h, us);
	else
		levels_served_first(levels, c, us);
}

#endif
