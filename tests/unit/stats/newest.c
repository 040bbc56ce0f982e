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

/*
 * The windows of a pool hold what those of its backends hold together; and when one of
 * the backends is gone, what it brought stays.
 */
Test(sum, equals_its_parts_added_up)
{
	enum { N = 3, GONE = 120 };
	struct windows *sum = windows_new(0), *parts[N];
	struct hist_set sets[N] = {{.phase = {NULL}}};
	struct hist_total of_gone = {0};
	struct rng rng;
	rng_init(&rng, 11);
	for (int i = 0; i < N; i++)
		parts[i] = windows_new(0);
	for (uint64_t second = 1; second <= 500; second++) {
		const struct windows *of[N];
		size_t n = second <= GONE ? N : N - 1; /* the last one leaves */
		for (size_t i = 0; i < n; i++) {
			const struct hist_set *set[] = {&sets[i]};
			for (uint32_t k = rng_below(&rng, 9); k > 0; k--)
				hist_set_record(&sets[i], k % 2 ? PHASE_wait : PHASE_total,
						rng_next(&rng) >> (36 + rng_below(&rng, 28)));
			windows_fold(parts[i], set, 1, second * 1000000);
			of[i] = parts[i];
		}
		windows_fold_newest(sum, of, n, second * 1000000);
		for (int k = 0; k < N_WINDOWS; k++) {
			struct hist_total got, expected = {0};
			windows_read(sum, PHASE_total, (enum window)k, &got);
			for (size_t i = 0; i < n; i++)
				windows_add(parts[i], PHASE_total, (enum window)k, &expected);
			if (second == GONE && k == WINDOW_START)
				windows_read(parts[N - 1], PHASE_total, WINDOW_START, &of_gone);
			/* all windows but the start have forgotten it after 359 s at most */
			if (second > GONE && k == WINDOW_START)
				hist_total_add(&expected, &of_gone);
			else if (second > GONE && second < GONE + 360)
				continue;
			cr_assert_eq(memcmp(got.count, expected.count, sizeof(got.count)), 0);
			cr_assert_eq(got.n, expected.n);
			cr_assert_eq(got.sum_us, expected.sum_us);
			cr_assert_eq(got.overflow, expected.overflow);
			cr_assert_eq(got.span_us, expected.span_us);
			if (k == WINDOW_START)
				cr_assert_eq(got.max_us, expected.max_us);
			else
				cr_assert_geq(got.max_us, expected.max_us);
		}
	}
	windows_free(sum);
	for (int i = 0; i < N; i++) {
		windows_free(parts[i]);
		hist_set_fini(&sets[i]);
	}
}
