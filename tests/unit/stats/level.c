/* SPDX-License-Identifier: MIT */
#include "weir/stats/level.h"

#include <criterion/criterion.h>

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

Test(level, classes_double)
{
	static const struct {
		uint32_t others;
		unsigned class;
	} cases[] = {{0, 0}, {1, 1}, {2, 2}, {3, 2}, {4, 3}, {7, 3}, {8, 4}, {100000, 11}};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		cr_assert_eq(level_class(cases[i].others), cases[i].class);
		if (cases[i].class < LEVEL_CLASSES - 1)
			cr_assert(cases[i].others <= level_class_top(cases[i].class));
	}
}

Test(level, time_and_completions_are_booked_where_they_happen)
{
	struct levels *lv = levels_new();
	levels_pass(lv, 0, 100); /* idle, then one comes */
	levels_pass(lv, 1, 40);  /* a second one */
	levels_pass(lv, 2, 30);
	levels_done(lv, 2);
	levels_pass(lv, 1, (uint64_t)-5); /* another worker's turn began earlier */
	levels_pass(lv, 1, 25);
	levels_done(lv, 1);
	cr_assert_eq(counter_get(&lv->bin[0].time_us), 100);
	cr_assert_eq(counter_get(&lv->bin[1].time_us), 60);
	cr_assert_eq(counter_get(&lv->bin[2].time_us), 30);
	cr_assert_eq(counter_get(&lv->bin[1].done), 1);
	cr_assert_eq(counter_get(&lv->bin[2].done), 1);
	cr_assert_eq(counter_get(&lv->area_us), 60 + 60);
	levels_served(lv, 0, 500);
	levels_served(lv, 3, 700);
	levels_served(lv, 2, 701);
	struct hist_total total = {0};
	hist_total_add_hist(&total, atomic_load(&lv->served[2]));
	cr_assert_eq(total.n, 2);
	cr_assert_null(atomic_load(&lv->served[1]));
	levels_free(lv);
}
