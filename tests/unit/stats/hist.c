/* SPDX-License-Identifier: MIT */
/*
 * Histograms by law: buckets without gaps, quantiles within 1.6 % of the exact
 * ones, sums equal to the histogram of all samples.
 */
#include "weir/stats/hist.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "weir/base/rng.h"

#define SAMPLES 1000000

static double unit(struct rng *rng)
{
	return ((double)(rng_next(rng) >> 11) + 0.5) * 0x1p-53;
}

/* Log-normal around 5 ms, four decades wide (Box and Muller). */
static uint64_t log_normal_us(struct rng *rng)
{
	double normal = sqrt(-2 * log(unit(rng))) * cos(6.283185307179586 * unit(rng));
	return (uint64_t)exp(log(5000) + 1.2 * normal);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

Test(hist, buckets_are_contiguous)
{
	uint64_t next = 0;
	for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
		uint64_t lower = hist_lower_us(i), width = hist_width_us(i);
		cr_assert_eq(lower, next, "bucket %u starts at %lu", i, (unsigned long)lower);
		cr_assert_eq(hist_index(lower), i);
		cr_assert_eq(hist_index(lower + width - 1), i);
		if (width > 1)
			cr_assert((double)width / 2 / (double)lower <= 1.0 / 64);
		next = lower + width;
	}
	cr_assert_eq(next, HIST_LIMIT_US);
	cr_assert_eq(hist_index(next), HIST_BUCKETS - 1);
	cr_assert_eq(hist_index(UINT64_MAX), HIST_BUCKETS - 1);
}

/* As it would be with a plain array of 64 bits. */
struct dense {
	uint64_t count[HIST_BUCKETS];
};

static void expect_dense(const struct hist *h, const struct dense *dense)
{
	struct hist_total t = {0};
	uint64_t n = 0;
	hist_total_add_hist(&t, h);
	for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
		cr_assert_eq(t.count[i], dense->count[i], "bucket %u: %lu, not %lu", i,
			     (unsigned long)t.count[i], (unsigned long)dense->count[i]);
		n += dense->count[i];
	}
	cr_assert_eq(t.n, n);
}

/* Few buckets or many, each of them often enough to be carried several times, or seldom. */
Test(hist, counts_are_those_of_a_plain_array)
{
	struct rng rng;
	rng_init(&rng, 4);
	for (int round = 0; round < 12; round++) {
		struct hist in_place = {.sum_us = 0}, *h = round % 2 ? hist_new() : &in_place;
		struct dense dense = {{0}};
		unsigned spread = 1u << round;
		for (size_t i = 0; i < SAMPLES / 4; i++) {
			uint64_t us = (rng_below(&rng, spread) + 1) << rng_below(&rng, 3);
			us = i % 1000 ? us : rng_next(&rng) >> rng_below(&rng, 60);
			hist_record(h, us);
			dense.count[hist_index(us)]++;
			if (i % 10007 == 0)
				expect_dense(h, &dense);
		}
		expect_dense(h, &dense);
		hist_clear(h);
		expect_dense(h, &(struct dense){{0}});
		if (h == &in_place)
			hist_fini(h);
		else
			hist_free(h);
	}
}

/* A reader finds each count right, also the moment before and after it is carried. */
Test(hist, every_count_up_to_the_third_carry_of_what_was_carried)
{
	struct hist *h = hist_new();
	for (uint64_t n = 1; n < 3 * 16384 + 10; n++) {
		hist_record(h, 7);
		uint32_t count[HIST_LINE] = {0};
		hist_add_line(h, 0, count);
		cr_assert_eq(count[7], n);
	}
	hist_free(h);
}

Test(hist, a_seed_is_what_it_was_made_of)
{
	struct rng rng;
	rng_init(&rng, 5);
	struct hist_total from = {.sum_us = 99, .max_us = 88, .overflow = 7}, back = {0};
	for (uint32_t i = 0; i < HIST_BUCKETS; i += 3)
		from.n += from.count[i] = rng_next(&rng) >> (34 + i % 30);
	struct hist *h = hist_new();
	hist_seed(h, &from);
	hist_total_add_hist(&back, h);
	cr_assert_eq(memcmp(&from, &back, sizeof(from)), 0);
	hist_free(h);
}

Test(hist, none_takes_no_memory)
{
	cr_assert_eq(cell_bytes(), 0);
	struct hist *h = hist_new();
	hist_record(h, 1);
	cr_assert_eq(cell_bytes(), CELL_SEGMENT * CELL_BYTES);
	hist_free(h);
}

/* Memory follows the range of the samples, and is used again. */
Test(hist, a_narrow_one_is_small)
{
	enum { N = 4096 };
	static struct hist *h[N];
	size_t before = cell_bytes(), took;
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < N; i++) {
			h[i] = hist_new();
			for (uint64_t us = 1000; us < 4000; us += 7) /* three powers of two */
				hist_record(h[i], us);
		}
		took = cell_bytes() - before;
		cr_assert_leq(took, N * (1 + 2) * CELL_BYTES + CELL_SEGMENT * CELL_BYTES);
		for (size_t i = 0; i < N; i++)
			hist_free(h[i]);
	}
}

Test(hist, quantiles_are_within_1_6_percent)
{
	static const double qs[] = {0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 1};
	struct rng rng;
	rng_init(&rng, 1);
	struct hist *h = hist_new();
	uint64_t *all = malloc(SAMPLES * sizeof(*all)), sum = 0;
	for (size_t i = 0; i < SAMPLES; i++) {
		all[i] = log_normal_us(&rng);
		sum += all[i];
		hist_record(h, all[i]);
	}
	qsort(all, SAMPLES, sizeof(*all), by_value);
	struct hist_total t = {0};
	hist_total_add_hist(&t, h);
	cr_assert_eq(t.n, SAMPLES);
	cr_assert_eq(t.sum_us, sum);
	cr_assert_eq(t.max_us, all[SAMPLES - 1]);
	cr_assert_float_eq(hist_total_mean_us(&t), (double)sum / SAMPLES, 1e-6);
	for (size_t i = 0; i < ARRAY_LEN(qs); i++) {
		double exact = (double)all[(size_t)ceil(qs[i] * SAMPLES - 1e-6) - 1];
		double got = (double)hist_total_quantile(&t, qs[i]);
		cr_assert(fabs(got - exact) <= exact * 0.016, "q %g: %g instead of %g", qs[i], got,
			  exact);
	}
	size_t above = 0;
	while (above < SAMPLES && all[SAMPLES - 1 - above] > 32767)
		above++;
	cr_assert_eq(hist_total_count_above(&t, 32767), above); /* a bucket's last value: exact */
	free(all);
	hist_free(h);
}

Test(hist, a_sum_equals_the_histogram_of_all_samples)
{
	struct rng rng;
	rng_init(&rng, 2);
	struct hist *part[3] = {hist_new(), hist_new(), hist_new()}, *whole = hist_new();
	for (size_t i = 0; i < 200000; i++) {
		uint64_t us = log_normal_us(&rng);
		hist_record(part[rng_below(&rng, 3)], us);
		hist_record(whole, us);
	}
	struct hist_total sum = {0}, of_totals = {0}, expected = {0};
	for (size_t i = 0; i < 3; i++) {
		struct hist_total one = {0};
		hist_total_add_hist(&one, part[i]);
		hist_total_add(&of_totals, &one);
		hist_total_add_hist(&sum, part[i]);
		hist_free(part[i]);
	}
	hist_total_add_hist(&expected, whole);
	cr_assert_eq(memcmp(&sum, &expected, sizeof(sum)), 0);
	cr_assert_eq(memcmp(&of_totals, &expected, sizeof(sum)), 0);
	hist_free(whole);
}

Test(hist, ranks_of_few_samples)
{
	struct hist *h = hist_new();
	struct hist_total none = {0};
	cr_assert_eq(hist_total_quantile(&none, 0.99), 0);
	cr_assert_eq(hist_total_mean_us(&none), 0);
	for (uint64_t us = 1; us <= 10; us++)
		hist_record(h, us);
	struct hist_total t = {0};
	hist_total_add_hist(&t, h);
	cr_assert_eq(hist_total_quantile(&t, 0), 1);
	cr_assert_eq(hist_total_quantile(&t, 0.5), 5);
	cr_assert_eq(hist_total_quantile(&t, 0.51), 6);
	cr_assert_eq(hist_total_quantile(&t, 0.9), 9);
	cr_assert_eq(hist_total_quantile(&t, 0.99), 10);
	cr_assert_eq(hist_total_quantile(&t, 1), 10);
	cr_assert_eq(hist_total_count_above(&t, 7), 3);
	hist_free(h);
}

Test(hist, ranks_are_not_rounded_up_by_binary_fractions)
{
	struct hist *h = hist_new();
	for (int i = 0; i < 100; i++)
		hist_record(h, i < 55 ? 1 : 2);
	struct hist_total t = {0};
	hist_total_add_hist(&t, h);
	cr_assert(0.55 * 100 > 55);
	cr_assert_eq(hist_total_quantile(&t, 0.55), 1);
	cr_assert_eq(hist_total_quantile(&t, 0.56), 2);
	hist_free(h);
}

Test(hist, a_quantile_never_exceeds_the_maximum)
{
	struct hist *h = hist_new();
	hist_record(h, 1000000);
	struct hist_total t = {0};
	hist_total_add_hist(&t, h);
	cr_assert(hist_lower_us(hist_index(1000000)) + hist_width_us(hist_index(1000000)) / 2 >
		  1000000);
	cr_assert_eq(hist_total_quantile(&t, 0.5), 1000000);
	hist_free(h);
}

Test(hist, overflow_is_counted_and_reported_as_the_maximum)
{
	struct hist *h = hist_new();
	hist_record(h, HIST_LIMIT_US - 1);
	hist_record(h, HIST_LIMIT_US);
	hist_record(h, UINT64_C(3600000000));
	struct hist_total t = {0};
	hist_total_add_hist(&t, h);
	cr_assert_eq(t.n, 3);
	cr_assert_eq(t.overflow, 2);
	cr_assert_eq(t.count[HIST_BUCKETS - 1], 3);
	cr_assert(hist_total_quantile(&t, 0.3) < HIST_LIMIT_US);
	cr_assert_eq(hist_total_quantile(&t, 0.99), UINT64_C(3600000000));
	cr_assert_eq(hist_total_count_above(&t, HIST_LIMIT_US), 2);
	hist_free(h);
}

Test(hist, a_summary_holds_the_same_numbers)
{
	struct hist *h = hist_new();
	for (uint64_t i = 1; i <= 2000; i++)
		hist_record(h, i * 10);
	struct hist_total t = {0};
	struct hist_summary s;
	hist_total_add_hist(&t, h);
	hist_total_summary(&t, &s);
	cr_assert_eq(s.n, 2000);
	cr_assert_eq(s.p50_us, hist_total_quantile(&t, 0.5));
	cr_assert_eq(s.p90_us, hist_total_quantile(&t, 0.9));
	cr_assert_eq(s.p99_us, hist_total_quantile(&t, 0.99));
	cr_assert_eq(s.p999_us, hist_total_quantile(&t, 0.999));
	cr_assert_eq(s.max_us, 20000);
	cr_assert_float_eq(s.mean_us, 10005, 1e-9);
	hist_free(h);
}

Test(hist, a_set_allocates_what_is_used)
{
	struct hist_set set = {.phase = {NULL}};
	cr_assert_null(hist_set_get(&set, PHASE_wait));
	hist_set_record(&set, PHASE_wait, 7);
	hist_set_record(&set, PHASE_wait, 9);
	for (int p = 0; p < N_PHASES; p++)
		cr_assert_eq(hist_set_get(&set, (enum phase)p) != NULL, p == PHASE_wait);
	struct hist_total t = {0};
	hist_total_add_set(&t, &set, PHASE_wait);
	hist_total_add_set(&t, &set, PHASE_total);
	cr_assert_eq(t.n, 2);
	cr_assert_eq(t.sum_us, 16);
	hist_set_fini(&set);
	cr_assert_null(hist_set_get(&set, PHASE_wait));
}

/* Most phases are 0 us for most exchanges: those cost no histogram. */
Test(hist, nothing_is_counted_beside_the_histograms)
{
	struct hist_set set = {.phase = {NULL}};
	const uint64_t us[N_PHASES] = {[PHASE_wait] = 900, [PHASE_total] = 950};
	for (int i = 0; i < 5; i++)
		hist_sets_record_all(&(struct hist_set *){&set}, 1, us);
	for (int p = 0; p < N_PHASES; p++) {
		struct hist_total t = {0};
		hist_total_add_set(&t, &set, (enum phase)p);
		cr_assert_eq(hist_set_get(&set, (enum phase)p) != NULL, us[p] > 0);
		cr_assert_eq(t.n, 5);
		cr_assert_eq(t.count[hist_index(us[p])], 5);
		cr_assert_eq(t.sum_us, 5 * us[p]);
		cr_assert_eq(t.max_us, us[p]);
	}
	hist_set_fini(&set);
}

/* All together or one by one, in one set or in several: readers see the same. */
Test(hist, phases_count_the_same_together_and_one_by_one)
{
	struct hist_set together = {.phase = {NULL}}, beside = {.phase = {NULL}},
			alone = {.phase = {NULL}};
	struct hist_set *const sets[] = {&together, &beside};
	for (uint32_t zero = 0; zero < 1u << N_PHASES; zero++) {
		uint64_t us[N_PHASES];
		for (int p = 0; p < N_PHASES; p++)
			us[p] = zero >> p & 1 ? 0 : 10 + zero * 7 + (uint64_t)p;
		hist_sets_record_all(sets, ARRAY_LEN(sets), us);
		for (int p = 0; p < N_PHASES; p++)
			hist_set_record(&alone, (enum phase)p, us[p]);
	}
	for (int p = 0; p < N_PHASES; p++) {
		struct hist_total got = {0}, other = {0}, want = {0};
		hist_total_add_set(&got, &together, (enum phase)p);
		hist_total_add_set(&other, &beside, (enum phase)p);
		hist_total_add_set(&want, &alone, (enum phase)p);
		cr_assert_eq(want.count[0], 1u << (N_PHASES - 1));
		cr_assert_arr_eq(&got, &want, sizeof(want), "%s", phase_name((enum phase)p));
		cr_assert_arr_eq(&other, &want, sizeof(want), "%s", phase_name((enum phase)p));
		cr_assert_eq(hist_set_zeros(&together, (enum phase)p), want.count[0]);
	}
	hist_set_fini(&together);
	hist_set_fini(&beside);
	hist_set_fini(&alone);
}

Test(phase, names_go_both_ways)
{
	for (int p = 0; p < N_PHASES; p++) {
		enum phase back;
		cr_assert(phase_parse(view_str(phase_name((enum phase)p)), &back));
		cr_assert_eq((int)back, p);
		cr_assert(strlen(phase_sentence((enum phase)p)) > 0);
	}
	enum phase unused;
	cr_assert_not(phase_parse(VIEW("Total"), &unused));
	cr_assert_not(phase_parse(VIEW(""), &unused));
}
