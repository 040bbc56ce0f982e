/* SPDX-License-Identifier: MIT */
/* Against values from the literature, and against each other. */
#include "weir/stats/queueing.h"

#include <criterion/criterion.h>
#include <math.h>

static bool near(double x, double want, double tolerance)
{
	return fabs(x - want) <= tolerance;
}

/* Exponential with mean 10 ms, by its quantiles. */
static void fill_exponential(struct spread *s, double mean_us)
{
	*s = (struct spread){0};
	for (int i = 0; i < 200000; i++) {
		double us = -mean_us * log((i + 0.5) / 200000);
		s->weight[hist_index((uint64_t)us)] += 1;
		s->n += 1;
	}
}

Test(queueing, erlang_c_of_the_tables)
{
	cr_assert(near(erlang_c(4, 3), 0.5094, 0.00005));
	cr_assert(near(erlang_c(1, 0.5), 0.5, 1e-12)); /* one server: its load */
	cr_assert(near(erlang_c(64, 48), 0.0180, 0.0005));
	cr_assert_eq(erlang_c(4, 4), 1);
	cr_assert_eq(erlang_c(4, 9), 1);
}

Test(queueing, waits_and_tails_of_m_m_c)
{
	/* mu = 100/s, load 75 % */
	double mu = 100 / 1e6;
	cr_assert(near(mmc_wait(4, mu, 3 * mu) + 1 / mu, 15094, 1));
	cr_assert(near(mmc_quantile(64, mu, 48 * mu, 0.99), 46060, 200));
	cr_assert(near(mmc_tail(4, mu, 3 * mu, 0), 1, 1e-9));
	/* one server: the response is exponential with rate mu - load */
	cr_assert(near(mmc_tail(1, mu, 0.75 * mu, 40000), exp(-1), 1e-9));
	cr_assert(isinf(mmc_wait(4, mu, 4 * mu)));
	cr_assert(isinf(mmc_quantile(4, mu, 5 * mu, 0.99)));
	/* the case th = mu has a formula of its own: it joins its neighbours */
	double at = mmc_tail(4, mu, 3 * mu, 20000);
	cr_assert(near(at, mmc_tail(4, mu, 3.0001 * mu, 20000), 1e-4));
}

Test(queueing, the_convolution_agrees_with_the_formula)
{
	struct spread s;
	double mu = 100 / 1e6;
	fill_exponential(&s, 10000);
	cr_assert(near(spread_mean(&s), 10000, 20));
	cr_assert(near(spread_cv2(&s), 1, 0.01));
	for (double load = 0.5; load < 0.95; load += 0.1)
		for (double q = 0.5; q < 1; q += 0.49) {
			double want = mmc_quantile(4, mu, 4 * mu * load, q);
			double got = wait_quantile(&s, erlang_c(4, 4 * load),
						   mmc_wait(4, mu, 4 * mu * load), q);
			cr_assert(near(got, want, 0.015 * want), "load %f q %f: %f, not %f", load,
				  q, got, want);
		}
}

Test(queueing, stretching_scales)
{
	static const double p[] = {0.25, 0.75}, none[] = {1, 1}, twice[] = {2, 2}, both[] = {1, 2};
	struct spread s;
	fill_exponential(&s, 10000);
	double once = stretch_quantile(&s, p, none, 2, 0.9);
	cr_assert(near(once, spread_quantile(&s, 0.9), 0.02 * once));
	cr_assert(near(stretch_quantile(&s, p, twice, 2, 0.9), 2 * once, 0.03 * once));
	double mixed = stretch_quantile(&s, p, both, 2, 0.9);
	cr_assert(mixed > once && mixed < 2 * once);
}

Test(queueing, quantiles_have_intervals)
{
	struct spread s = {0};
	double low, high;
	for (uint32_t us = 1; us <= 1000; us++) {
		s.weight[hist_index(us)] += 1;
		s.n += 1;
	}
	spread_interval(&s, 0.5, &low, &high);
	cr_assert(near(low, 469, 8) && near(high, 531, 8));
	spread_interval(&(struct spread){0}, 0.5, &low, &high);
	cr_assert(low == 0 && high == 0);
}
