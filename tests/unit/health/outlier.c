/* SPDX-License-Identifier: MIT */
/* Who stands out: the worked examples of Envoy's detector and our corrections. */
#include <criterion/criterion.h>

#include "health/outlier.h"

#define N_MAX 16

/* Success rates in per mille, each out of 1000 requests; the index found, -1: none. */
static int found(const unsigned *per_mille, size_t n, enum outlier_cause cause)
{
	struct outlier_sample samples[N_MAX] = {0};
	enum outlier_cause causes[N_MAX];
	int which = -1;
	for (size_t i = 0; i < n; i++)
		samples[i] = (struct outlier_sample){.n = 1000, .faults = 1000 - per_mille[i]};
	outlier_find(samples, n, causes);
	for (size_t i = 0; i < n; i++) {
		if (causes[i] != cause)
			continue;
		cr_assert_eq(which, -1, "more than one");
		which = (int)i;
	}
	return which;
}

#define RATES(...) \
	(const unsigned[]){__VA_ARGS__}, sizeof((unsigned[]){__VA_ARGS__}) / sizeof(unsigned)

Test(outlier, success_rate)
{
	cr_assert_eq(found(RATES(500, 1000, 1000, 1000, 1000), OUTLIER_SUCCESS_RATE), 0);
	cr_assert_eq(found(RATES(1000, 1000, 900, 1000, 1000), OUTLIER_SUCCESS_RATE), 2);
	/* two of five, or fewer than five, never stand out */
	cr_assert_eq(found(RATES(500, 500, 1000, 1000, 1000), OUTLIER_SUCCESS_RATE), -1);
	cr_assert_eq(found(RATES(500, 1000, 1000, 1000), OUTLIER_SUCCESS_RATE), -1);
	/* far in deviations, but within five points */
	cr_assert_eq(found(RATES(999, 1000, 1000, 1000, 1000), OUTLIER_SUCCESS_RATE), -1);
	cr_assert_eq(found(RATES(960, 1000, 1000, 1000, 1000), OUTLIER_SUCCESS_RATE), -1);
	/* alike is alike */
	cr_assert_eq(found(RATES(500, 500, 500, 500, 500), OUTLIER_SUCCESS_RATE), -1);
}

Test(outlier, nearly_everything_fails)
{
	cr_assert_eq(found(RATES(100, 1000), OUTLIER_FAILURES), 0);
	cr_assert_eq(found(RATES(1000, 990, 150), OUTLIER_FAILURES), 2);
	cr_assert_eq(found(RATES(160, 1000), OUTLIER_FAILURES), -1);
	/* the others are no better: the cause is elsewhere */
	cr_assert_eq(found(RATES(100, 500), OUTLIER_FAILURES), -1);
	cr_assert_eq(found(RATES(100, 100, 100), OUTLIER_FAILURES), -1);
	cr_assert_eq(found(RATES(0), OUTLIER_FAILURES), -1);
}

Test(outlier, few_requests_say_nothing)
{
	struct outlier_sample samples[6] = {0};
	enum outlier_cause causes[6];
	for (size_t i = 0; i < 6; i++)
		samples[i] = (struct outlier_sample){.n = 1000};
	samples[0] = (struct outlier_sample){.n = 99, .faults = 60};
	samples[1] = (struct outlier_sample){.n = 49, .faults = 49};
	samples[2] = (struct outlier_sample){0};
	outlier_find(samples, 6, causes);
	for (size_t i = 0; i < 6; i++)
		cr_assert_eq(causes[i], OUTLIER_NONE);
}

Test(outlier, medians_of_the_others)
{
	static const uint64_t p50[] = {1000, 53000, 1200, 900, 1100};
	struct outlier_sample samples[6] = {0};
	uint64_t medians[6], scratch[6];
	for (size_t i = 0; i < 5; i++)
		samples[i] = (struct outlier_sample){.n_latency = 50, .p50_us = p50[i]};
	samples[5] = (struct outlier_sample){.n_latency = 49, .p50_us = 1};
	outlier_medians(samples, 6, medians, scratch);
	/* of four, the lower of the two in the middle */
	cr_assert_eq(medians[0], 1100);
	cr_assert_eq(medians[1], 1000);
	cr_assert_eq(medians[2], 1000);
	cr_assert_eq(medians[3], 1100);
	cr_assert_eq(medians[4], 1000);
	cr_assert_eq(medians[5], 0);
	outlier_medians(samples, 1, medians, scratch);
	cr_assert_eq(medians[0], 0, "nobody to compare with");
	outlier_medians(samples, 2, medians, scratch);
	cr_assert_eq(medians[0], 53000);
	cr_assert_eq(medians[1], 1000);
}

Test(outlier, slow)
{
	cr_assert(outlier_is_slow(53000, 1000, 3));
	cr_assert_not(outlier_is_slow(53000, 20000, 3));
	cr_assert_not(outlier_is_slow(53000, 1000, 0));
	cr_assert_not(outlier_is_slow(53000, 0, 3));
	cr_assert_not(outlier_is_slow(400, 100, 3), "a difference too small to matter");
}
