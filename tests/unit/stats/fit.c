/* SPDX-License-Identifier: MIT */
/* Known parameters come back out of noisy curves; thin data are refused. */
#include "weir/stats/fit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static double uniform(struct rng *rng)
{
	return ((double)(rng_next(rng) >> 11) + 0.5) / 9007199254740992.0;
}

static double normal(struct rng *rng)
{
	return sqrt(-2 * log(uniform(rng))) * cos(6.283185307179586 * uniform(rng));
}

struct truth {
	double lam, sig, kap; /* c == 0: the universal law */
	double c, fall;
};

static double true_rate(const struct truth *t, double n)
{
	if (t->c > 0)
		return t->lam * fmin(n, t->c) - t->fall * fmax(n - t->c, 0);
	return t->lam * n / (1 + t->sig * (n - 1) + t->kap * n * (n - 1));
}

/* `done` completions at each level, with the noise that many have. */
static size_t measure(const struct truth *t, double from, double to, double done, struct rng *rng,
		      struct fit_point *p)
{
	size_t m = 0;
	for (uint32_t bin = 1; bin < LEVEL_BINS; bin++) {
		double n = level_value(bin);
		if (n < from || n > to)
			continue;
		p[m++] =
		    (struct fit_point){n, true_rate(t, n) * (1 + normal(rng) / sqrt(done)), done};
	}
	return m;
}

Test(fit, the_universal_law_comes_back)
{
	static const struct truth t = {.lam = 400, .sig = 0.03, .kap = 0.0005};
	struct fit_point p[FIT_POINTS];
	struct rng rng;
	int inside = 0, right = 0;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct fit f;
		rng_init(&rng, seed);
		size_t m = measure(&t, 1, 64, 1000, &rng, p);
		fit_curve(p, m, false, &f);
		cr_assert_null(f.refusal, "seed %lu: %s", (unsigned long)seed, f.refusal);
		right += f.model == FIT_USL && f.usl.kap_significant;
		inside += fabs(f.usl.sig - t.sig) < 2.5 * f.usl.se_sig &&
			  fabs(f.usl.kap - t.kap) < 2.5 * f.usl.se_kap &&
			  fabs(f.usl.lam - t.lam) < 2.5 * f.usl.se_lam;
		cr_assert(f.usl.sig > 0.024 && f.usl.sig < 0.036, "sigma %f", f.usl.sig);
		cr_assert(fabs(f.usl.peak_n - 44) < 4, "peak %f", f.usl.peak_n);
		double low, high, at = 96, want = true_rate(&t, at);
		struct rng passed = rng; /* who does not ask goes on with the same numbers */
		fit_rate_pass_over(&f, &passed);
		fit_rate_interval(p, m, &f, at, &rng, &low, &high);
		cr_assert_eq(memcmp(&passed, &rng, sizeof(rng)), 0);
		cr_assert(low < want * 1.05 && high > want * 0.95 && high - low < 0.3 * want,
			  "%f..%f for %f", low, high, want);
	}
	cr_assert(right >= 19, "%d of 20 models", right);
	cr_assert(inside >= 18, "%d of 20 within the intervals", inside);
}

Test(fit, workers_come_back)
{
	static const double cs[] = {1, 2, 4, 16, 40};
	struct fit_point p[FIT_POINTS];
	struct rng rng;
	for (size_t i = 0; i < ARRAY_LEN(cs); i++) {
		const struct truth t = {.lam = 100, .c = cs[i]};
		int right = 0;
		for (uint64_t seed = 1; seed <= 20; seed++) {
			struct fit f;
			rng_init(&rng, seed);
			fit_curve(p, measure(&t, 1, fmax(3 * t.c, 10), 1000, &rng, p), false, &f);
			cr_assert_null(f.refusal, "c %f: %s", t.c, f.refusal);
			right += f.model == FIT_WORKERS && f.workers.saturated &&
				 f.workers.c_low <= t.c && f.workers.c_high >= t.c &&
				 fabs(f.workers.per_worker - 100) < 5;
		}
		cr_assert(right >= 19, "c = %f: %d of 20", t.c, right);
	}
}

Test(fit, workers_that_thrash_lose_speed)
{
	static const struct truth t = {.lam = 100, .c = 4, .fall = 5};
	struct fit_point p[FIT_POINTS];
	struct rng rng;
	struct fit f;
	bool at_least;
	rng_init(&rng, 3);
	fit_curve(p, measure(&t, 1, 40, 3000, &rng, p), false, &f);
	cr_assert_eq(f.model, FIT_WORKERS);
	cr_assert_eq(f.workers.c, 4);
	cr_assert(fabs(f.workers.fall - 5) < 1, "fall %f", f.workers.fall);
	cr_assert(fabs(fit_capacity(&f, &at_least) - 400) < 20);
	cr_assert(!at_least);
}

Test(fit, what_never_saturated_is_a_lower_bound)
{
	static const struct truth t = {.lam = 100, .c = 1000};
	struct fit_point p[FIT_POINTS];
	struct rng rng;
	struct fit f;
	bool at_least;
	rng_init(&rng, 1);
	fit_curve(p, measure(&t, 1, 20, 1000, &rng, p), false, &f);
	cr_assert_null(f.refusal);
	fit_capacity(&f, &at_least);
	cr_assert(at_least);
	cr_assert(f.model == FIT_USL || !f.workers.saturated);
	cr_assert(fabs(fit_rate(&f, 20) - 2000) < 100);
}

Test(fit, thin_data_are_refused)
{
	static const struct truth t = {.lam = 400, .sig = 0.03, .kap = 0.0005};
	static const struct {
		double from, to, done;
	} cases[] = {
	    {1, 5, 1000},   /* too few levels */
	    {16, 24, 1000}, /* never alone, hardly varied */
	    {2, 14, 1000},  /* a factor of 7 */
	    {1, 64, 29},    /* too few completions everywhere */
	    {1, 0, 1000},   /* nothing at all */
	};
	struct fit_point p[FIT_POINTS];
	struct rng rng;
	rng_init(&rng, 1);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct fit f;
		size_t m = measure(&t, cases[i].from, cases[i].to, cases[i].done, &rng, p);
		fit_curve(p, m, false, &f);
		cr_assert_not_null(f.refusal, "case %zu", i);
	}
}

/* Six levels of one worker say all, six of the universal law do not. */
Test(fit, few_levels_are_enough_where_all_workers_were_seen)
{
	static const struct truth one = {.lam = 100, .c = 1},
				  law = {.lam = 400, .sig = 0.03, .kap = 0.0005};
	struct fit_point p[FIT_POINTS];
	struct rng rng;
	struct fit f;
	for (uint64_t seed = 1; seed <= 10; seed++) {
		rng_init(&rng, seed);
		fit_curve(p, measure(&one, 1, 6, 1000, &rng, p), false, &f);
		cr_expect(!f.refusal && f.model == FIT_WORKERS && f.workers.c == 1, "%lu: %s",
			  (unsigned long)seed, f.refusal ? f.refusal : "fits");
		fit_curve(p, measure(&law, 1, 6, 1000, &rng, p), false, &f);
		cr_expect_not_null(f.refusal);
	}
}

/* Where other nodes send, too, levels are estimated: those of some requests less, of some more. */
static size_t measure_blurred(const struct truth *t, double to, struct rng *rng,
			      struct fit_point *p)
{
	size_t m = 0;
	for (double n = 1.3; n <= to; n += 0.9) {
		double rate = 0;
		for (double off = -2; off <= 2; off += 0.5)
			rate += true_rate(t, fmax(n + off * n / (n + 3), 1)) / 9;
		p[m++] = (struct fit_point){n, rate * (1 + normal(rng) / 100), 10000};
	}
	return m;
}

Test(fit, workers_are_known_where_levels_are_estimated)
{
	static const struct truth t = {.lam = 100, .c = 4},
				  law = {.lam = 400, .sig = 0.1, .kap = 0.0005};
	struct fit_point p[FIT_POINTS];
	struct rng rng;
	struct fit f;
	for (uint64_t seed = 1; seed <= 10; seed++) {
		rng_init(&rng, seed);
		fit_curve(p, measure_blurred(&t, 8.6, &rng, p), true, &f);
		cr_expect(!f.refusal && f.model == FIT_WORKERS && f.workers.c == 4,
			  "%lu: model %d, %s", (unsigned long)seed, f.model,
			  f.refusal ? f.refusal : "fits");
		fit_curve(p, measure_blurred(&law, 30, &rng, p), true, &f);
		cr_expect(f.refusal || f.model == FIT_USL, "%lu: %u workers", (unsigned long)seed,
			  f.workers.c);
	}
}

Test(fit, a_curve_of_another_shape_is_refused)
{
	struct fit_point p[20];
	struct fit f;
	for (size_t i = 0; i < ARRAY_LEN(p); i++) /* fast, slow, fast again */
		p[i] = (struct fit_point){(double)i + 1, 100 + 90 * sin((double)i), 1000};
	fit_curve(p, ARRAY_LEN(p), false, &f);
	cr_assert_not_null(f.refusal);
}
