/* SPDX-License-Identifier: MIT */
/*
 * Latency histograms: log-linear with 5 sub-bucket bits, microseconds.
 *
 * Values up to 63 us have a bucket each; above, every power of two is cut into
 * 32 buckets, so a bucket's midpoint is at most 1/64 (1.6 %) away from any value
 * in it.  704 buckets reach 2^26 us (67 s); what is longer counts in the last
 * bucket and in `overflow`.
 *
 * struct hist has one writer thread: loads and stores, no lock, nothing
 * is ever reset.  struct hist_total is what a reader sums several of them into;
 * totals add up exactly, so quantiles of a sum are quantiles of all its samples
 * (never average quantiles).
 *
 * 64 buckets share a cache line (stats/cell.h), which is taken when the first sample falls
 * into them: a histogram costs what the range of its samples covers.  A counter there has 8
 * bits.  Whenever it passes a multiple of 2^7 the writer counts that in a second line, of which
 * multiples of 2^7 are counted in a third: so the top bit of the one and the lowest of the next
 * are equal but for the moment between the two, by which a reader knows which of the two he met.
 *
 *   hist_set_record(&set, PHASE_wait, us);                      // worker
 *
 *   struct hist_total t = {0};                                  // any thread
 *   hist_total_add_set(&t, &set, PHASE_wait);
 *   printf("p99 %" PRIu64 " us\n", hist_total_quantile(&t, 0.99));
 *
 * Memory: 64 bytes per struct hist and 64 for every two powers of two that its samples cover; where
 * a counter has passed 2^7, 128, and where one has passed 2^14, 256.  5.6 KiB per struct
 * hist_total.
 */
#ifndef WEIR_STATS_HIST_H
#define WEIR_STATS_HIST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "weir/base/defs.h"
#include "weir/stats/cell.h"
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

#define HIST_LINE_BITS 6
#define HIST_LINE (1u << HIST_LINE_BITS) /* buckets that come and go together */
#define HIST_LINES (HIST_BUCKETS / HIST_LINE)

/* Counts wrap modulo 2^30; readers allow for it. */
#define HIST_COUNT_MASK ((UINT32_C(1) << 30) - 1)
/* Where the writer goes on in the next line. */
#define HIST_CARRY_BITS 7
#define HIST_CARRY ((1u << HIST_CARRY_BITS) - 1)

/* How many of them there are is the tag of the line's number. */
struct hist_line {
	_Atomic uint8_t low[HIST_LINE];
	_Atomic uint8_t mid[HIST_LINE];
	_Atomic uint16_t top[HIST_LINE];
};
_Static_assert(sizeof(struct hist_line) == 4 * CELL_BYTES, "one cell, two, or four");

/* Zeroed memory is an empty one. */
struct hist {
	_Atomic uint64_t sum_us; /* released: who sees it sees the sample's count, too */
	_Atomic uint64_t max_us;
	_Atomic uint32_t overflow;
	/* owns cells; 0: none; the writer releases.  A wider one takes its place. */
	_Atomic uint32_t line[HIST_LINES];
};
_Static_assert(sizeof(struct hist) == CELL_BYTES, "a cell, too");

/* Empty, or NULL without memory. */
struct hist *hist_new(void);
void hist_free(struct hist *h); /* NULL is fine */
/* Of the caller's storage: gives back what it has, when nobody records or reads any more. */
void hist_fini(struct hist *h);

/* Writer thread: forgets all samples. */
void hist_clear(struct hist *h);

/* Slow path of hist_record: the first sample of 64 buckets, or a count to be carried.  False
 * without memory for it. */
bool hist_count_rarely(struct hist *h, uint32_t i);

/* Samples that were not counted for want of memory, of all histograms; any thread. */
uint64_t hist_lost(void);

/* Writer thread only; i is hist_index(us).  Where there is no line yet the count is one to be
 * carried: cell_at(0). */
static inline void hist_record_at(struct hist *h, uint32_t i, uint64_t us)
{
	uint32_t id = atomic_load_explicit(&h->line[i >> HIST_LINE_BITS], memory_order_relaxed);
	struct hist_line *line = (struct hist_line *)cell_at(id);
	_Atomic uint8_t *count = &line->low[i & (HIST_LINE - 1)];
	uint32_t n = atomic_load_explicit(count, memory_order_relaxed) + 1u;
	if (likely(n & HIST_CARRY))
		atomic_store_explicit(count, (uint8_t)n, memory_order_relaxed);
	else if (!hist_count_rarely(h, i))
		return;
	atomic_store_explicit(&h->sum_us,
			      atomic_load_explicit(&h->sum_us, memory_order_relaxed) + us,
			      memory_order_release);
	if (us > atomic_load_explicit(&h->max_us, memory_order_relaxed))
		atomic_store_explicit(&h->max_us, us, memory_order_relaxed);
	if (unlikely(us >= HIST_LIMIT_US))
		atomic_store_explicit(&h->overflow,
				      atomic_load_explicit(&h->overflow, memory_order_relaxed) + 1,
				      memory_order_relaxed);
}

static inline void hist_record(struct hist *h, uint64_t us)
{
	hist_record_at(h, hist_index(us), us);
}

/* Any thread: a bit for each line that was ever used. */
static inline uint32_t hist_lines(const struct hist *h)
{
	uint32_t lines = 0;
	for (uint32_t i = 0; i < HIST_LINES; i++)
		if (atomic_load_explicit(&h->line[i], memory_order_relaxed))
			lines |= UINT32_C(1) << i;
	return lines;
}

/* Acquire: where the cell of that number lies may be as new as the number. */
static inline void hist_prefetch_line(const struct hist *h, uint32_t line)
{
	__builtin_prefetch(cell_at(atomic_load_explicit(&h->line[line], memory_order_acquire)));
}

/*
 * Any thread: adds the counts of 64 buckets to `to`; what was counted before a sum_us that was
 * read is in them.
 */
void hist_add_line(const struct hist *h, uint32_t line, uint32_t to[HIST_LINE]);

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
	_Atomic uint32_t zeros[N_PHASES];       /* samples of 0 us; wraps modulo 2^32 */
	/* exchanges with 0 us of queue, connect and client at once: not among `zeros` */
	_Atomic uint32_t smooth;
};

/* When nobody records or reads any more. */
void hist_set_fini(struct hist_set *set);

/* Slow path of hist_set_record: makes the histogram. */
void hist_set_record_first(struct hist_set *set, enum phase phase, uint64_t us);

static inline void hist_count_up(_Atomic uint32_t *n)
{
	atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

/* Writer thread only.  A duration in n sets at once: its bucket is looked for once. */
static inline void hist_sets_record(struct hist_set *const sets[], unsigned n, enum phase phase,
				    uint64_t us)
{
	const uint32_t bucket = hist_index(us);
	for (unsigned i = 0; i < n; i++) {
		if (us == 0) {
			hist_count_up(&sets[i]->zeros[phase]);
			continue;
		}
		struct hist *h = atomic_load_explicit(&sets[i]->phase[phase], memory_order_relaxed);
		if (likely(h != NULL))
			hist_record_at(h, bucket, us);
		else
			hist_set_record_first(sets[i], phase, us);
	}
}

static inline void hist_set_record(struct hist_set *set, enum phase phase, uint64_t us)
{
	hist_sets_record(&set, 1, phase, us);
}

/* Writer thread only; us[] by phase.  What most exchanges have none of costs one count. */
void hist_sets_record_all(struct hist_set *const sets[], unsigned n, const uint64_t us[N_PHASES]);

/* Any thread: samples of 0 us. */
static inline uint32_t hist_set_zeros(const struct hist_set *set, enum phase phase)
{
	const unsigned smooth = 1u << PHASE_queue | 1u << PHASE_connect | 1u << PHASE_client;
	uint32_t n = atomic_load_explicit(&set->zeros[phase], memory_order_relaxed);
	if (smooth >> phase & 1)
		n += atomic_load_explicit(&set->smooth, memory_order_relaxed);
	return n;
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
/* The other way round, into one that is empty and that nobody reads: ends the process without
 * memory. */
void hist_seed(struct hist *h, const struct hist_total *total);
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
