/* SPDX-License-Identifier: MIT */
/*
 * The reader's side of histograms, and the rare paths of the writer's.
 */
#include "weir/stats/hist.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(HIST_BUCKETS / HIST_SUB <= 32, "a bit for each group");
_Static_assert(HIST_BUCKETS == 704, "the size that the documentation promises");

struct hist *hist_new(void)
{
	struct hist *h = aligned_alloc(WEIR_CACHE_LINE, sizeof(*h));
	if (h)
		memset(h, 0, sizeof(*h));
	return h;
}

void hist_set_record_first(struct hist_set *set, enum phase phase, uint64_t us)
{
	struct hist *h = hist_new();
	if (!h) {
		uint64_t lost = atomic_load_explicit(&set->n_lost, memory_order_relaxed);
		atomic_store_explicit(&set->n_lost, lost + 1, memory_order_relaxed);
		return;
	}
	hist_record(h, us);
	/* release: whoever sees the pointer sees the zeroes behind it */
	atomic_store_explicit(&set->phase[phase], h, memory_order_release);
}

void hist_set_fini(struct hist_set *set)
{
	for (size_t i = 0; i < N_PHASES; i++) {
		free(atomic_load_explicit(&set->phase[i], memory_order_acquire));
		atomic_store_explicit(&set->phase[i], NULL, memory_order_relaxed);
	}
}

void hist_total_add_hist(struct hist_total *total, const struct hist *h)
{
	if (!h)
		return;
	uint32_t groups = atomic_load_explicit(&h->groups, memory_order_relaxed);
	for (; groups; groups &= groups - 1) {
		uint32_t from = (uint32_t)__builtin_ctz(groups) << HIST_SUB_BITS;
		for (uint32_t i = from; i < from + HIST_SUB; i++) {
			uint32_t n = atomic_load_explicit(&h->count[i], memory_order_relaxed);
			total->count[i] += n;
			total->n += n;
		}
	}
	total->sum_us += atomic_load_explicit(&h->sum_us, memory_order_relaxed);
	total->overflow += atomic_load_explicit(&h->overflow, memory_order_relaxed);
	uint64_t max = atomic_load_explicit(&h->max_us, memory_order_relaxed);
	if (max > total->max_us)
		total->max_us = max;
}

void hist_total_add_set(struct hist_total *total, const struct hist_set *set, enum phase phase)
{
	uint32_t zeros = atomic_load_explicit(&set->zeros[phase], memory_order_relaxed);
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
