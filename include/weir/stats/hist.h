/* SPDX-License-Identifier: MIT */
/*
 * Latency histograms: log-linear with 5 sub-bucket bits, microseconds.
 *
 * Values up to 63 us have a bucket each; above, every power of two is cut into
 * 32 buckets, so a bucket's midpoint is at most 1/64 (1.6 %) away from any value
 * in it.  704 buckets reach 2^26 us (67 s); what is longer counts in the last
 * bucket and in `overflow`.
 *
 * struct hist has one writer thread: relaxed loads and stores, no lock, nothing
 * is ever reset.  struct hist_total is what a reader sums several of them into;
 * totals add up exactly, so quantiles of a sum are quantiles of all its samples
 * (never average quantiles).
 *
 *   hist_set_record(&set, PHASE_wait, us);                      // worker
 *
 *   struct hist_total t = {0};                                  // any thread
 *   hist_total_add_set(&t, &set, PHASE_wait);
 *   printf("p99 %" PRIu64 " us\n", hist_total_quantile(&t, 0.99));
 *
 * Memory: 2.8 KiB per struct hist, 5.6 KiB per struct hist_total.
 */
#ifndef WEIR_STATS_HIST_H
#define WEIR_STATS_HIST_H

#include <stdatomic.h>
#include <stdint.h>

#include "weir/base/defs.h"
#include "weir/stats/phase.h"

#define HIST_SUB_BITS 5
#define HIST_SUB (1u << HIST_SUB_BITS)
#define HIST_TOP_BITS 26
#define HIST_LIMIT_US (UINT64_C(1) << HIST_TOP_BITS)     /* first value that overflows */
#define HIST_GROUPS (HIST_TOP_BITS - HIST_SUB_BITS + 1u) /* of 32 buckets */
#define HIST_BUCKETS (HIST_GROUPS * HIST_SUB)

/* ---- buckets ---- */

/* The bucket of a value; every value has one. */
static inline uint32_t hist_index(uint64_t us)
{
	if (us < HIST_SUB)
		return (uint32_t)us;
	if (unlikely(us >= HIST_LIMIT_US))
		return HIST_BUCKETS - 1;
	unsigned shift = 63 - (unsigned)__builtin_clzll(us) - HIST_SUB_BITS;
	return (shift << HIST_SUB_BITS) + (uint32_t)(us >> shift);
}

/* Smallest value of bucket i < HIST_BUCKETS. */
static inline uint64_t hist_lower_us(uint32_t i)
{
	uint32_t group = i >> HIST_SUB_BITS;
	if (group == 0)
		return i;
	return (uint64_t)((i & (HIST_SUB - 1)) + HIST_SUB) << (group - 1);
}

/* How many values share bucket i. */
static inline uint64_t hist_width_us(uint32_t i)
{
	uint32_t group = i >> HIST_SUB_BITS;
	return group < 2 ? 1 : UINT64_C(1) << (group - 1);
}

/* The bit of the 32 buckets that i is one of. */
static inline uint32_t hist_group(uint32_t i)
{
	return UINT32_C(1) << (i >> HIST_SUB_BITS);
}

/* ---- one writer ---- */

struct hist {
	/* with every sample, in one cache line; then the line of its bucket */
	_Atomic uint64_t sum_us;
	_Atomic uint64_t max_us;
	_Atomic uint64_t overflow;
	/* a bit for each 32 buckets that were ever used: readers look at no others */
	_Atomic uint32_t groups;
	_Atomic uint32_t count[HIST_BUCKETS]; /* wraps modulo 2^32; readers allow for it */
} CACHE_ALIGNED;

/* Zeroed, or NULL without memory.  Freed by free(). */
struct hist *hist_new(void);

/* Writer thread only. */
static inline void hist_record(struct hist *h, uint64_t us)
{
	uint32_t i = hist_index(us),
		 groups = atomic_load_explicit(&h->groups, memory_order_relaxed);
	if (unlikely(!(groups & hist_group(i))))
		atomic_store_explicit(&h->groups, groups | hist_group(i), memory_order_relaxed);
	_Atomic uint32_t *count = &h->count[i];
	atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1,
			      memory_order_relaxed);
	atomic_store_explicit(&h->sum_us,
			      atomic_load_explicit(&h->sum_us, memory_order_relaxed) + us,
			      memory_order_relaxed);
	if (us > atomic_load_explicit(&h->max_us, memory_order_relaxed))
		atomic_store_explicit(&h->max_us, us, memory_order_relaxed);
	if (unlikely(us >= HIST_LIMIT_US))
		atomic_store_explicit(&h->overflow,
				      atomic_load_explicit(&h->overflow, memory_order_relaxed) + 1,
				      memory_order_relaxed);
}

/* ---- the phases of one backend on one worker ---- */

/*
 * Histograms appear when first used and stay until hist_set_fini.  Zeroed
 * memory is a valid empty set.  Errors go into a set of their own: fast errors
 * would flatter the quantiles.
 *
 * Most exchanges have no queue, no connect and no slow client: phases of 0 us are
 * counted side by side here, and cost neither a histogram nor its cache lines.
 */
struct hist_set {
	_Atomic(struct hist *) phase[N_PHASES]; /* owns; writer releases, readers acquire */
	_Atomic uint64_t n_lost;                /* samples without memory for a histogram */
	_Atomic uint32_t zeros[N_PHASES];       /* samples of 0 us; wraps modulo 2^32 */
};

/* When nobody records or reads any more. */
void hist_set_fini(struct hist_set *set);

/* Slow path of hist_set_record: makes the histogram. */
void hist_set_record_first(struct hist_set *set, enum phase phase, uint64_t us);

/* Writer thread only. */
static inline void hist_set_record(struct hist_set *set, enum phase phase, uint64_t us)
{
	if (us == 0) {
		_Atomic uint32_t *n = &set->zeros[phase];
		atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1,
				      memory_order_relaxed);
		return;
	}
	struct hist *h = atomic_load_explicit(&set->phase[phase], memory_order_relaxed);
	if (likely(h != NULL))
		hist_record(h, us);
	else
		hist_set_record_first(set, phase, us);
}

/* Writer thread only; us[] by phase. */
static inline void hist_set_record_all(struct hist_set *set, const uint64_t us[N_PHASES])
{
	for (int p = 0; p < N_PHASES; p++)
		hist_set_record(set, (enum phase)p, us[p]);
}

/* Any thread; NULL when nothing above 0 us was recorded. */
static inline const struct hist *hist_set_get(const struct hist_set *set, enum phase phase)
{
	return atomic_load_explicit(&set->phase[phase], memory_order_acquire);
}

/* ---- sums, for readers ---- */

struct hist_total {
	uint64_t count[HIST_BUCKETS];
	uint64_t n; /* sum of count */
	uint64_t sum_us;
	uint64_t max_us;
	uint64_t overflow; /* of n, those at or above HIST_LIMIT_US */
	uint64_t span_us;  /* time covered, when it comes from a window; else 0 */
};

/*
 * Adds a histogram that may be written meanwhile; NULL adds nothing.  A sample
 * recorded at this moment may already count and not yet be in sum_us, or the
 * other way round.
 */
void hist_total_add_hist(struct hist_total *total, const struct hist *h);
/* Adds a phase of a set, its samples of 0 us too. */
void hist_total_add_set(struct hist_total *total, const struct hist_set *set, enum phase phase);
/* Adds another total; the longer of the two spans is kept. */
void hist_total_add(struct hist_total *total, const struct hist_total *other);

/*
 * The value at rank ceil(q * n), q in 0..1, at most 1.6 % off; 0 when there are
 * no samples.  A rank among the overflowed gives max_us.
 */
uint64_t hist_total_quantile(const struct hist_total *total, double q);
double hist_total_mean_us(const struct hist_total *total);
/* Samples in the buckets above the one that holds `us`. */
uint64_t hist_total_count_above(const struct hist_total *total, uint64_t us);

struct hist_summary {
	uint64_t n;
	uint64_t p50_us, p90_us, p99_us, p999_us;
	uint64_t max_us;
	double mean_us;
};

void hist_total_summary(const struct hist_total *total, struct hist_summary *out);

#endif
