/* SPDX-License-Identifier: MIT */
/*
 * The reader's side of histograms, and the rare paths of the writer's.
 */
#include "weir/stats/hist.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "weir/base/check.h"

_Static_assert(HIST_BUCKETS / HIST_SUB <= 32, "a bit for each group");
_Static_assert(HIST_BUCKETS == 704, "the size that the documentation promises");

/* As many cells side by side as one has. */
#define HEAD_CELLS 2
#define HIGH_CELLS 2
_Static_assert(sizeof(struct hist) <= HEAD_CELLS * CELL_BYTES, "a histogram without its lines");

/* The cells of the high parts. */
struct high_lines {
	_Atomic uint32_t line[HIST_GROUPS];
};
_Static_assert(sizeof(struct high_lines) <= HIGH_CELLS * CELL_BYTES, "a number for each group");

static _Atomic uint64_t n_lost;

uint64_t hist_lost(void)
{
	return atomic_load_explicit(&n_lost, memory_order_relaxed);
}

static bool lose(void)
{
	atomic_fetch_add_explicit(&n_lost, 1, memory_order_relaxed);
	return false;
}

struct hist *hist_new(void)
{
	uint32_t id = cell_take(HEAD_CELLS);
	if (!id)
		return NULL;
	struct hist *h = (struct hist *)cell_at(id);
	h->self = id;
	return h;
}

static void put_lines(_Atomic uint32_t line[HIST_GROUPS])
{
	for (uint32_t group = 0; group < HIST_GROUPS; group++)
		cell_put(atomic_load_explicit(&line[group], memory_order_acquire), 1);
}

static struct high_lines *high_lines(const struct hist *h)
{
	uint32_t id = atomic_load_explicit(&h->high, memory_order_acquire);
	return id ? (struct high_lines *)cell_at(id) : NULL;
}

void hist_fini(struct hist *h)
{
	struct high_lines *high = high_lines(h);
	put_lines(h->line);
	if (high)
		put_lines(high->line);
	cell_put(atomic_load_explicit(&h->high, memory_order_relaxed), HIGH_CELLS);
	/* who comes too late for a free cell may still look at its first word (cell.c) */
	atomic_store_explicit(&h->sum_us, 0, memory_order_relaxed);
	memset((char *)h + sizeof(h->sum_us), 0, offsetof(struct hist, self) - sizeof(h->sum_us));
}

void hist_free(struct hist *h)
{
	if (!h)
		return;
	hist_fini(h);
	cell_put(h->self, HEAD_CELLS);
}

static struct hist_line *line_at(const _Atomic uint32_t *id)
{
	uint32_t at = atomic_load_explicit(id, memory_order_acquire);
	return at ? (struct hist_line *)cell_at(at) : NULL;
}

/* ---- the writer, rarely ---- */

/* Release: whoever sees the number sees the zeroes behind it. */
static struct hist_line *line_made(_Atomic uint32_t *id)
{
	uint32_t at = atomic_load_explicit(id, memory_order_relaxed);
	if (!at) {
		at = cell_take(1);
		atomic_store_explicit(id, at, memory_order_release);
	}
	return at ? (struct hist_line *)cell_at(at) : NULL;
}

static struct hist_line *high_made(struct hist *h, uint32_t group)
{
	if (!high_lines(h))
		atomic_store_explicit(&h->high, cell_take(HIGH_CELLS), memory_order_release);
	struct high_lines *high = high_lines(h);
	return high ? line_made(&high->line[group]) : NULL;
}

bool hist_count_rarely(struct hist *h, uint32_t i)
{
	uint32_t group = i >> HIST_SUB_BITS, sub = i & (HIST_SUB - 1);
	struct hist_line *low = line_made(&h->line[group]);
	if (!low)
		return lose();
	atomic_fetch_or_explicit(&h->groups, hist_group(i), memory_order_release);
	uint32_t n = atomic_load_explicit(&low->n[sub], memory_order_relaxed) + 1u;
	if (n & HIST_CARRY) {
		atomic_store_explicit(&low->n[sub], (uint16_t)n, memory_order_relaxed);
		return true;
	}
	struct hist_line *high = high_made(h, group);
	if (!high)
		return lose();
	/* in this order: a reader who sees the second sees the first */
	atomic_store_explicit(&low->n[sub], (uint16_t)n, memory_order_release);
	uint16_t carried = atomic_load_explicit(&high->n[sub], memory_order_relaxed);
	atomic_store_explicit(&high->n[sub], (uint16_t)(carried + 1), memory_order_release);
	return true;
}

static void clear_lines(_Atomic uint32_t line[HIST_GROUPS])
{
	for (uint32_t group = 0; group < HIST_GROUPS; group++) {
		struct hist_line *at = line_at(&line[group]);
		for (uint32_t i = 0; at && i < HIST_SUB; i++)
			atomic_store_explicit(&at->n[i], 0, memory_order_relaxed);
	}
}

void hist_clear(struct hist *h)
{
	struct high_lines *high = high_lines(h);
	atomic_store_explicit(&h->sum_us, 0, memory_order_relaxed);
	atomic_store_explicit(&h->max_us, 0, memory_order_relaxed);
	atomic_store_explicit(&h->overflow, 0, memory_order_relaxed);
	clear_lines(h->line);
	if (high)
		clear_lines(high->line);
}

void hist_seed(struct hist *h, const struct hist_total *total)
{
	for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
		uint32_t n = (uint32_t)total->count[i] & HIST_COUNT_MASK,
			 group = i >> HIST_SUB_BITS;
		struct hist_line *low = n ? line_made(&h->line[group]) : NULL;
		struct hist_line *high = n > HIST_CARRY ? high_made(h, group) : NULL;
		if (n)
			check(low && (high || n <= HIST_CARRY));
		if (low)
			atomic_store(&low->n[i & (HIST_SUB - 1)], (uint16_t)n);
		if (high)
			atomic_store(&high->n[i & (HIST_SUB - 1)], (uint16_t)(n >> 15));
		if (low)
			atomic_fetch_or(&h->groups, hist_group(i));
	}
	atomic_store(&h->max_us, total->max_us);
	atomic_store(&h->overflow, (uint32_t)total->overflow);
	atomic_store(&h->sum_us, total->sum_us);
}

/* ---- readers ---- */

/*
 * A count and what was carried of it.  The writer may be between the two, and go on meanwhile:
 * when the second is what it was before, the first is at most one ahead of it.
 */
static uint32_t whole(const _Atomic uint16_t *low, const _Atomic uint16_t *high)
{
	uint32_t h = atomic_load_explicit(high, memory_order_acquire), n, again;
	for (;; h = again) {
		n = atomic_load_explicit(low, memory_order_acquire);
		again = atomic_load_explicit(high, memory_order_acquire);
		if (likely(again == h))
			break;
	}
	h += (h ^ n >> 15) & 1;
	return (h << 15 | (n & HIST_CARRY)) & HIST_COUNT_MASK;
}

static struct hist_line *high_line(const struct hist *h, uint32_t group)
{
	const struct high_lines *high = high_lines(h);
	return high ? line_at(&high->line[group]) : NULL;
}

void hist_add_group(const struct hist *h, uint32_t group, uint32_t to[HIST_SUB])
{
	const struct hist_line *low = line_at(&h->line[group]);
	uint16_t n[HIST_SUB];
	if (!low)
		return;
	for (uint32_t i = 0; i < HIST_SUB; i++)
		n[i] = atomic_load_explicit(&low->n[i], memory_order_acquire);
	/* looked for after them: without it they were whole when they were read */
	const struct hist_line *high = high_line(h, group);
	for (uint32_t i = 0; i < HIST_SUB; i++)
		to[i] += likely(!high) ? n[i] : whole(&low->n[i], &high->n[i]);
}

void hist_total_add_hist(struct hist_total *total, const struct hist *h)
{
	if (!h)
		return;
	uint32_t groups = atomic_load_explicit(&h->groups, memory_order_acquire);
	for (; groups; groups &= groups - 1) {
		uint32_t group = (uint32_t)__builtin_ctz(groups), count[HIST_SUB] = {0};
		hist_add_group(h, group, count);
		for (uint32_t i = 0; i < HIST_SUB; i++) {
			total->count[(group << HIST_SUB_BITS) + i] += count[i];
			total->n += count[i];
		}
	}
	total->sum_us += atomic_load_explicit(&h->sum_us, memory_order_relaxed);
	total->overflow += atomic_load_explicit(&h->overflow, memory_order_relaxed);
	uint64_t max = atomic_load_explicit(&h->max_us, memory_order_relaxed);
	if (max > total->max_us)
		total->max_us = max;
}

/* ---- sets ---- */

void hist_set_record_first(struct hist_set *set, enum phase phase, uint64_t us)
{
	struct hist *h = hist_new();
	if (!h) {
		lose();
		return;
	}
	hist_record(h, us);
	/* release: whoever sees the pointer sees the zeroes behind it */
	atomic_store_explicit(&set->phase[phase], h, memory_order_release);
}

void hist_set_fini(struct hist_set *set)
{
	for (size_t i = 0; i < N_PHASES; i++) {
		hist_free(atomic_load_explicit(&set->phase[i], memory_order_acquire));
		atomic_store_explicit(&set->phase[i], NULL, memory_order_relaxed);
	}
}

/* ---- totals ---- */

void hist_total_add_set(struct hist_total *total, const struct hist_set *set, enum phase phase)
{
	uint32_t zeros = hist_set_zeros(set, phase);
	total->count[0] += zeros;
	total->n += zeros;
	hist_total_add_hist(total, hist_set_get(set, phase));
}

void hist_total_add(struct hist_total *total, const struct hist_total *other)
{
	for (uint32_t i = 0; i < HIST_BUCKETS; i++)
		total->count[i] += other->count[i];
	total->n += other->n;
	total->sum_us += other->sum_us;
	total->overflow += other->overflow;
	if (other->max_us > total->max_us)
		total->max_us = other->max_us;
	if (other->span_us > total->span_us)
		total->span_us = other->span_us;
}

/* What to report for a sample of bucket i: the midpoint, but never above the maximum. */
static uint64_t bucket_value_us(const struct hist_total *total, uint32_t i)
{
	uint64_t mid = hist_lower_us(i) + hist_width_us(i) / 2;
	return mid < total->max_us ? mid : total->max_us;
}

uint64_t hist_total_quantile(const struct hist_total *total, double q)
{
	if (total->n == 0)
		return 0;
	/* in binary 0.55 * 100 is a little above 55: the millionth keeps it from rank 56 */
	double wanted = ceil(q * (double)total->n - 1e-6);
	uint64_t rank = wanted < 1 ? 1 : (uint64_t)wanted;
	if (rank > total->n)
		rank = total->n;
	if (rank > total->n - total->overflow)
		return total->max_us;
	uint64_t seen = 0;
	uint32_t i = 0;
	while ((seen += total->count[i]) < rank)
		i++;
	return bucket_value_us(total, i);
}

double hist_total_mean_us(const struct hist_total *total)
{
	return total->n ? (double)total->sum_us / (double)total->n : 0;
}

uint64_t hist_total_count_above(const struct hist_total *total, uint64_t us)
{
	if (us >= HIST_LIMIT_US)
		return us < total->max_us ? total->overflow : 0;
	uint64_t n = 0;
	for (uint32_t i = hist_index(us) + 1; i < HIST_BUCKETS; i++)
		n += total->count[i];
	return n;
}

void hist_total_summary(const struct hist_total *total, struct hist_summary *out)
{
	*out = (struct hist_summary){
	    .n = total->n,
	    .p50_us = hist_total_quantile(total, 0.5),
	    .p90_us = hist_total_quantile(total, 0.9),
	    .p99_us = hist_total_quantile(total, 0.99),
	    .p999_us = hist_total_quantile(total, 0.999),
	    .max_us = total->max_us,
	    .mean_us = hist_total_mean_us(total),
	};
}
