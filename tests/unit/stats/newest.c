/* SPDX-License-Identifier: MIT */
/* The last second of the windows, on its own. */
#include "weir/stats/window.h"

#include <criterion/criterion.h>

#include "weir/base/rng.h"

Test(newest, holds_the_last_fold_only)
{
	static const double q[] = {0.5, 0.99};
	struct windows *w = windows_new(0);
	struct hist_set set = {.phase = {NULL}};
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

/* The fast way and the plain way say the same, whatever was recorded. */
Test(summary, equals_the_summary_of_a_total)
{
	struct windows *w = windows_new(0);
	struct hist_set sets[2] = {{.phase = {NULL}}};
	const struct hist_set *both[] = {&sets[0], &sets[1]};
	struct rng rng;
	rng_init(&rng, 7);
	for (uint64_t second = 1; second <= 400; second++) {
		for (uint32_t n = rng_below(&rng, 40); n > 0; n--) {
			uint64_t us = rng_next(&rng) >> (36 + rng_below(&rng, 28));
			hist_set_record(&sets[n % 2], n % 3 ? PHASE_wait : PHASE_total, us);
		}
		windows_fold(w, both, 2, second * 1000000);
		for (int p = 0; p < N_PHASES; p++)
			for (int k = 0; k < N_WINDOWS; k++) {
				struct hist_summary fast, plain;
				struct hist_total t;
				windows_summary(w, (enum phase)p, (enum window)k, &fast);
				windows_read(w, (enum phase)p, (enum window)k, &t);
				hist_total_summary(&t, &plain);
				cr_assert_eq(fast.n, plain.n);
				cr_assert_eq(fast.p50_us, plain.p50_us);
				cr_assert_eq(fast.p90_us, plain.p90_us);
				cr_assert_eq(fast.p99_us, plain.p99_us);
				cr_assert_eq(fast.p999_us, plain.p999_us);
				if (plain
					.n) { /* without samples the maximum is that of the start */
					cr_assert_eq(fast.max_us, plain.max_us);
					cr_assert_eq(fast.mean_us, plain.mean_us);
				}
			}
	}
	windows_free(w);
	hist_set_fini(&sets[0]);
	hist_set_fini(&sets[1]);
}
