/* SPDX-License-Identifier: MIT */
/* The last second of the windows, on its own. */
#include "weir/stats/window.h"

#include <criterion/criterion.h>

Test(newest, holds_the_last_fold_only)
{
	static const double q[] = {0.5, 0.99};
	struct windows *w = windows_new(0);
	struct hist_set set = {0};
	const struct hist_set *sets[] = {&set};
	uint64_t us[2];
	windows_newest(w, PHASE_total, q, 2, us);
	cr_assert_eq(us[0], 0);
	for (int i = 0; i < 100; i++)
		hist_set_record(&set, PHASE_total, 1000000);
	windows_fold(w, sets, 1, 1000000);
	for (uint64_t i = 1; i <= 50; i++)
		hist_set_record(&set, PHASE_total, i);
	windows_fold(w, sets, 1, 2000000);
	windows_newest(w, PHASE_total, q, 2, us);
	cr_assert_eq(us[0], 25);
	cr_assert_eq(us[1], 50);
	struct hist_total total = {0};
	windows_newest_add(w, PHASE_total, &total);
	cr_assert_eq(total.n, 50);
	cr_assert_eq(hist_total_quantile(&total, 0.5), 25);
	windows_fold(w, sets, 1, 3000000);
	windows_newest(w, PHASE_total, q, 2, us);
	cr_assert_eq(us[1], 0);
	windows_free(w);
	hist_set_fini(&set);
}
