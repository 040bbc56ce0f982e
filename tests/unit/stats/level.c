/* SPDX-License-Identifier: MIT */
#include "weir/stats/level.h"
#include "weir/stats/scaling.h"

#include <criterion/criterion.h>
#include <math.h>

Test(level, bins_are_in_order_and_close_to_their_value)
{
	uint32_t last = 0;
	for (uint32_t k = 0; k < 70000; k++) {
		uint32_t bin = level_bin(k);
		cr_assert(bin == last || bin == last + 1, "k %u", k);
		cr_assert(bin < LEVEL_BINS);
		double value = level_value(bin);
		if (k < LEVEL_EXACT)
			cr_assert_eq(value, k);
		else if (k < 1u << LEVEL_TOP_BITS)
			cr_assert(value > k * 0.93 && value < k * 1.07, "k %u value %f", k, value);
		last = bin;
	}
	cr_assert_eq(level_bin(UINT32_MAX), LEVEL_BINS - 1);
}

Test(level, classes_are_of_company)
{
	cr_assert_eq(level_class(0, 0), LEVEL_SOLO);
	cr_assert_eq(level_class(0, 3), LEVEL_ALONE);
	cr_assert_eq(level_class(0, LEVEL_UNKNOWN), LEVEL_ALONE);
	cr_assert_eq(level_class(1, 0), LEVEL_COMPANY);
	cr_assert_eq(level_class(100000, LEVEL_UNKNOWN), LEVEL_COMPANY);
}

/* One backend on one worker: there are thousands of them. */
Test(level, is_small)
{
	cr_assert(sizeof(struct levels) <= 4672, "%zu", sizeof(struct levels));
	cr_assert(sizeof(struct scaling_part) <= 9216, "%zu", sizeof(struct scaling_part));
}

Test(level, logarithms_are_of_base_two)
{
	for (uint64_t us = 0; us < UINT64_C(1) << 30; us = us * 9 / 8 + 1)
		cr_assert(fabs(level_log(us) - 256 * log2((double)us + 1)) < 3, "%lu",
			  (unsigned long)us);
}

Test(level, time_in_flight_is_integrated)
{
	struct levels *lv = levels_new();
	levels_pass(lv, 0, 100); /* idle, then one comes */
	levels_pass(lv, 1, 40);  /* a second one */
	levels_pass(lv, 2, 30);
	levels_pass(lv, 1, (uint64_t)-5); /* another worker's turn began earlier */
	levels_pass(lv, 1, 25);
	cr_assert_eq(counter_get(&lv->area_us), 60 + 60);
	levels_free(lv);
}

Test(level, durations_are_filed_by_what_they_met)
{
	struct levels *lv = levels_new();
	levels_served(lv, 0, 0, 500);
	levels_served(lv, 3, 1, 700);
	levels_served(lv, 2, LEVEL_UNKNOWN, 701);
	cr_assert_eq(counter_get(&levels_bin(lv, 1)->n), 1);
	cr_assert_eq(counter_get(&levels_bin(lv, 1)->us), 500);
	cr_assert_eq(counter_get(&levels_bin(lv, 4)->us), 700);
	cr_assert_eq(counter_get(&levels_bin(lv, 3)->n), 1);
	struct hist_total total = {0};
	hist_total_add_hist(&total, atomic_load(&lv->served[LEVEL_COMPANY]));
	cr_assert_eq(total.n, 2);
	cr_assert_null(atomic_load(&lv->served[LEVEL_ALONE]));
	/* what is elsewhere was not counted: no split */
	cr_assert_eq(levels_split(lv, 3)->n[0] + levels_split(lv, 3)->n[1], 0);
	cr_assert_eq(levels_split(lv, 4)->n[0] + levels_split(lv, 4)->n[1], 1);
	levels_free(lv);
}

/* The running median follows, so that both sides get about as many. */
Test(level, the_split_is_at_what_is_usual)
{
	struct levels *lv = levels_new();
	uint32_t before[2] = {0};
	for (uint32_t i = 0; i < 4000; i++) {
		uint32_t elsewhere = i < 2000 ? 10 + i % 7 : 300 + i % 100;
		levels_served(lv, 1, elsewhere, elsewhere);
		if (i == 2000 || i == 300)
			for (int side = 0; side < 2; side++)
				before[side] = levels_split(lv, 2)->n[side];
		if (i == 1999 || i == 3999) {
			double low = levels_split(lv, 2)->n[0] - before[0];
			double high = levels_split(lv, 2)->n[1] - before[1];
			cr_assert(low / (low + high) > 0.35 && low / (low + high) < 0.65,
				  "%f and %f", low, high);
			cr_assert(levels_split(lv, 2)->log[1] / levels_split(lv, 2)->n[1] >
				  levels_split(lv, 2)->log[0] / levels_split(lv, 2)->n[0]);
		}
	}
	levels_free(lv);
}
