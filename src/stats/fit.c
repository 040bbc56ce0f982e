/* SPDX-License-Identifier: MIT */
/*
 * Fitting the universal scalability law and a model of c workers to measured levels; refusing
 * when neither fits.
 *
 * Bayes' criterion chooses, not the error at each level of a fit to all others: of 2400 drawn
 * curves of 12 kinds (1 to 12 workers, even and uneven, and five laws; many and few completions)
 * it named the right model in 93 %, the held-out error in 89 %, and rates up to 1.5 times the
 * highest level were off by 4.5 % with either.  The difference is one worker, which the law
 * describes as well with one number more: right in 94 of 100, by the held-out error in 59.
 */
#include "weir/stats/fit.h"

#include <math.h>
#include <stdlib.h>

#define N_COEF 3
#define BOOTSTRAPS 100
/* Deviance a c may be worse than the best and still be inside its 95 % interval. */
#define DEVIANCE_95 3.84
/* A smaller difference tells models hardly apart (Raftery). */
#define BIC_TIE 6

/* ---- weighted least squares with up to three coefficients ---- */

struct problem {
	size_t m;
	double x[FIT_POINTS][N_COEF], y[FIT_POINTS], w[FIT_POINTS];
};

struct solution {
	double coef[N_COEF];        /* 0 where the subset leaves it out */
	double cov[N_COEF][N_COEF]; /* (X'WX)^-1 */
	double rss;
	int n_coef;
};

/* Gauss-Jordan with pivoting: a becomes its inverse.  False when singular. */
static bool invert(double a[N_COEF][N_COEF], int n)
{
	double r[N_COEF][N_COEF] = {{0}};
	for (int i = 0; i < n; i++)
		r[i][i] = 1;
	for (int k = 0; k < n; k++) {
		int p = k;
		for (int i = k + 1; i < n; i++)
			if (fabs(a[i][k]) > fabs(a[p][k]))
				p = i;
		if (fabs(a[p][k]) < 1e-300)
			return false;
		for (int j = 0; j < n; j++) {
			double t = a[k][j], u = r[k][j];
			a[k][j] = a[p][j];
			a[p][j] = t;
			r[k][j] = r[p][j];
			r[p][j] = u;
		}
		double pivot = a[k][k];
		for (int j = 0; j < n; j++) {
			a[k][j] /= pivot;
			r[k][j] /= pivot;
		}
		for (int i = 0; i < n; i++) {
			double f = a[i][k];
			for (int j = 0; i != k && j < n; j++) {
				a[i][j] -= f * a[k][j];
				r[i][j] -= f * r[k][j];
			}
		}
	}
	for (int i = 0; i < n; i++)
		for (int j = 0; j < n; j++)
			a[i][j] = r[i][j];
	return true;
}

static double residual(const struct problem *pr, const double *coef, size_t i)
{
	double e = pr->y[i];
	for (int j = 0; j < N_COEF; j++)
		e -= coef[j] * pr->x[i][j];
	return e;
}

/* Over the coefficients whose bit is in `subset`. */
static bool solve_subset(const struct problem *pr, unsigned subset, struct solution *out)
{
	int map[N_COEF], n = 0;
	double a[N_COEF][N_COEF] = {{0}}, b[N_COEF] = {0};
	for (int j = 0; j < N_COEF; j++)
		if (subset & 1u << j)
			map[n++] = j;
	for (size_t i = 0; i < pr->m; i++)
		for (int j = 0; j < n; j++) {
			b[j] += pr->w[i] * pr->x[i][map[j]] * pr->y[i];
			for (int k = 0; k < n; k++)
				a[j][k] += pr->w[i] * pr->x[i][map[j]] * pr->x[i][map[k]];
		}
	if (!invert(a, n))
		return false;
	*out = (struct solution){.n_coef = n};
	for (int j = 0; j < n; j++)
		for (int k = 0; k < n; k++) {
			out->coef[map[j]] += a[j][k] * b[k];
			out->cov[map[j]][map[k]] = a[j][k];
		}
	for (size_t i = 0; i < pr->m; i++) {
		double e = residual(pr, out->coef, i);
		out->rss += pr->w[i] * e * e;
	}
	return true;
}

/* The best of the subsets that contain the first coefficient and have none below 0. */
static bool solve(const struct problem *pr, unsigned all, struct solution *best)
{
	bool found = false;
	for (unsigned subset = 1; subset <= all; subset += 2) {
		struct solution s;
		if ((subset & ~all) || !solve_subset(pr, subset, &s))
			continue;
		if (s.coef[0] <= 0 || s.coef[1] < 0 || s.coef[2] < 0)
			continue;
		if (!found || s.rss < best->rss)
			*best = s;
		found = true;
	}
	return found;
}

/* ---- the universal scalability law ---- */

static double usl_rate(double lam, double sig, double kap, double n)
{
	return lam * n / (1 + sig * (n - 1) + kap * n * (n - 1));
}

static bool fit_usl(const struct fit_point *p, size_t m, struct fit *f, int *n_coef)
{
	struct problem pr = {.m = m};
	struct solution s;
	for (size_t i = 0; i < m; i++) {
		pr.y[i] = p[i].n / p[i].rate;
		pr.w[i] = p[i].done / (pr.y[i] * pr.y[i]);
		pr.x[i][0] = 1;
		pr.x[i][1] = p[i].n - 1;
		pr.x[i][2] = p[i].n * (p[i].n - 1);
	}
	if (!solve(&pr, 7, &s))
		return false;
	double a = s.coef[0], b = s.coef[1], c = s.coef[2];
	double s2 = m > (size_t)s.n_coef ? s.rss / (double)(m - (size_t)s.n_coef) : 1;
	f->usl.lam = 1 / a;
	f->usl.sig = b / a;
	f->usl.kap = c / a;
	/* the delta method on 1/a, b/a and c/a */
	double va = s2 * s.cov[0][0], vb = s2 * s.cov[1][1], vc = s2 * s.cov[2][2];
	f->usl.se_lam = sqrt(va) / (a * a);
	f->usl.se_sig = sqrt(fmax(0, vb + b * b * va / (a * a) - 2 * b * s2 * s.cov[0][1] / a)) / a;
	f->usl.se_kap = sqrt(fmax(0, vc + c * c * va / (a * a) - 2 * c * s2 * s.cov[0][2] / a)) / a;
	f->usl.peak_n = f->usl.kap > 0 && f->usl.sig < 1 ? sqrt((1 - f->usl.sig) / f->usl.kap) : 0;
	f->usl.kap_significant = f->usl.peak_n > 0 && f->usl.kap - 2 * f->usl.se_kap > 0 &&
				 p[m - 1].n > f->usl.peak_n / 2;
	*n_coef = s.n_coef;
	return true;
}

/* ---- c workers ---- */

/*
 * Who finds all workers busy waits for the rest of what they have at hand, which is half a
 * service time when all take as long and more than one when some take very long: `offset`,
 * in service times, is what that differs from one.
 */
static double workers_rate(const struct fit *f, double n)
{
	double c = f->workers.c, p = f->workers.per_worker, over = fmax(n - c, 0);
	if (over > 0 && f->workers.offset != 0)
		return n * p / fmax((n + f->workers.offset) / c, 1);
	return fmax(p * fmin(n, c) - f->workers.fall * over, p * c * 0.01);
}

struct workers_fit {
	double per_worker, fall, offset, rss;
	int n_coef;
};

/* Rates that fall beyond c. */
static bool fit_falling(const struct fit_point *p, size_t m, double c, struct workers_fit *out)
{
	struct problem pr = {.m = m};
	struct solution s;
	for (size_t i = 0; i < m; i++) {
		pr.y[i] = p[i].rate;
		pr.w[i] = p[i].done / (p[i].rate * p[i].rate);
		pr.x[i][0] = fmin(p[i].n, c);
		pr.x[i][1] = -fmax(p[i].n - c, 0);
	}
	if (!solve(&pr, p[m - 1].n > c ? 3 : 1, &s))
		return false;
	*out = (struct workers_fit){s.coef[0], s.coef[1], 0, s.rss, s.n_coef};
	return true;
}

/* Durations with an offset beyond c, to one side. */
static bool fit_offset(const struct fit_point *p, size_t m, double c, double side,
		       struct workers_fit *out)
{
	struct problem pr = {.m = m};
	struct solution s;
	for (size_t i = 0; i < m; i++) {
		pr.y[i] = p[i].n / p[i].rate;
		pr.w[i] = p[i].done / (pr.y[i] * pr.y[i]);
		pr.x[i][0] = fmax(1, p[i].n / c);
		pr.x[i][1] = p[i].n > c ? side / c : 0;
	}
	if (p[m - 1].n <= c || !solve_subset(&pr, 3, &s) || s.coef[0] <= 0 || s.coef[1] < 0 ||
	    s.coef[1] > s.coef[0])
		return false;
	*out =
	    (struct workers_fit){1 / s.coef[0], 0, side * s.coef[1] / s.coef[0], s.rss, s.n_coef};
	return true;
}

static bool fit_c(const struct fit_point *p, size_t m, double c, struct workers_fit *best)
{
	struct workers_fit f;
	if (!fit_falling(p, m, c, best))
		return false;
	for (double side = -1; side <= 1; side += 2)
		if (fit_offset(p, m, c, side, &f) && f.rss < best->rss)
			*best = f;
	return true;
}

/* Every whole c up to 64, then in steps of 1/64: fewer than C_MAX up to the last level. */
#define C_MAX 640
static double next_c(double c)
{
	return c + fmax(1, floor(c / 64));
}

/* The best c of a range; how many coefficients, or 0. */
static int fit_workers_range(const struct fit_point *p, size_t m, double from, double to,
			     struct fit *f)
{
	struct workers_fit best = {0}, s;
	double best_c = 0, rss[C_MAX], cs[C_MAX];
	size_t n = 0;
	for (double c = from; c <= to && n < C_MAX; c = next_c(c)) {
		if (!fit_c(p, m, c, &s))
			continue;
		cs[n] = c;
		rss[n++] = s.rss;
		if (best_c > 0 && s.rss >= best.rss)
			continue;
		best = s;
		best_c = c;
	}
	if (best_c <= 0)
		return 0;
	f->workers.per_worker = best.per_worker;
	f->workers.fall = best.fall;
	f->workers.offset = best.offset;
	f->workers.c = f->workers.c_low = f->workers.c_high = (uint32_t)best_c;
	for (size_t i = 0; i < n; i++) {
		double worse = (double)m * log((rss[i] + 1e-12) / (best.rss + 1e-12));
		if (worse > DEVIANCE_95)
			continue;
		if (cs[i] < f->workers.c_low)
			f->workers.c_low = (uint32_t)cs[i];
		if (cs[i] > f->workers.c_high)
			f->workers.c_high = (uint32_t)cs[i];
	}
	return best.n_coef + 1; /* c itself */
}

static bool fit_workers(const struct fit_point *p, size_t m, struct fit *f, int *n_coef)
{
	double top = floor(p[m - 1].n);
	*n_coef = fit_workers_range(p, m, 1, top, f);
	f->workers.saturated = f->workers.c * 1.25 <= p[m - 1].n && f->workers.c_high < top;
	return *n_coef > 0;
}

/* ---- which of them, and how good ---- */

double fit_rate(const struct fit *f, double n)
{
	if (f->model == FIT_USL)
		return usl_rate(f->usl.lam, f->usl.sig, f->usl.kap, n);
	if (f->model == FIT_WORKERS)
		return workers_rate(f, n);
	return 0;
}

double fit_capacity(const struct fit *f, bool *at_least)
{
	double most = 0, reach = f->n_max * FIT_REACH;
	for (double n = 1; n <= reach; n += fmax(1, reach / 256))
		most = fmax(most, fit_rate(f, n));
	if (f->model == FIT_WORKERS) /* offsets make it seem more near c */
		most = f->workers.per_worker * fmin(f->workers.c, reach);
	*at_least = f->model == FIT_WORKERS ? !f->workers.saturated
					    : f->usl.peak_n <= 0 || f->usl.peak_n > reach;
	return most;
}

/* Sum of squared relative errors, weighted by completions. */
static double error_of(const struct fit *f, const struct fit_point *p, size_t m)
{
	double sum = 0;
	for (size_t i = 0; i < m; i++) {
		double e = log(p[i].rate / fit_rate(f, p[i].n));
		sum += p[i].done * e * e;
	}
	return sum;
}

/* Bayes' information criterion: smaller is better. */
static double bic(double rss, size_t m, int n_coef)
{
	return (double)m * log(rss / (double)m + 1e-12) + n_coef * log((double)m);
}

/* Share of the variance that is explained: of the rate, or of the time per request. */
static double r_squared(const struct fit *f, const struct fit_point *p, size_t m, bool of_time)
{
	double w = 0, mean = 0, all = 0, left = 0;
	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < m; i++) {
			double y = of_time ? p[i].n / p[i].rate : p[i].rate;
			double fitted = fit_rate(f, p[i].n);
			double e = y - (of_time ? p[i].n / fitted : fitted);
			if (pass == 0) {
				w += p[i].done;
				mean += p[i].done * y;
			} else {
				all += p[i].done * (y - mean / w) * (y - mean / w);
				left += p[i].done * e * e;
			}
		}
	return all > 0 ? 1 - left / all : 1;
}

/* Residuals of one sign in too long runs (Wald and Wolfowitz): the shape is wrong. */
static bool has_runs(const struct fit *f, const struct fit_point *p, size_t m)
{
	double n_pos = 0, n_neg = 0, runs = 0;
	int last = 0;
	for (size_t i = 0; i < m; i++) {
		int sign = p[i].rate > fit_rate(f, p[i].n) ? 1 : -1;
		n_pos += sign > 0;
		n_neg += sign < 0;
		runs += sign != last;
		last = sign;
	}
	double n = n_pos + n_neg;
	if (n_pos < 1 || n_neg < 1 || n < 8)
		return false;
	double mean = 2 * n_pos * n_neg / n + 1;
	double var = (mean - 1) * (mean - 2) / (n - 1);
	return var > 0 && (runs - mean) / sqrt(var) < -1.96;
}

/* All of few workers were seen at work, with others waiting for them: more load says no more. */
static bool is_seen_whole(const struct fit *f)
{
	return f->model == FIT_WORKERS && f->workers.saturated &&
	       f->workers.c_low == f->workers.c_high && f->n_max >= FIT_MIN_WAITING * f->workers.c;
}

static const char *refusal_of(const struct fit *f, const struct fit_point *p, size_t m)
{
	if (m < FIT_MIN_BINS)
		return "fewer than 6 levels of load with 30 completions each were seen";
	if (f->n_min > FIT_MAX_LOWEST)
		return "it was never seen with one or two requests in flight";
	if (f->n_max / f->n_min < FIT_MIN_RANGE && !is_seen_whole(f))
		return "the load has varied by less than a factor of 8";
	if (f->model == FIT_NONE)
		return "no model could be fitted";
	/* an error no larger than what counting alone makes is no fault of the model */
	bool explains = f->r2 > 0.9 || f->rms < 0.05 || f->rms < 1.5 * f->noise;
	if (!explains || (f->rms > 0.1 && has_runs(f, p, m)))
		return "the models do not fit what was measured";
	return NULL;
}

/* Those that stand on enough; how many. */
static size_t usable_points(const struct fit_point *points, size_t n,
			    struct fit_point used[FIT_POINTS])
{
	size_t m = 0;
	for (size_t i = 0; i < n && m < FIT_POINTS; i++)
		if (points[i].n >= 1 && points[i].rate > 0 && points[i].done >= FIT_MIN_DONE)
			used[m++] = points[i];
	return m;
}

/*
 * One worker is the law with sig = 1, too: workers say more, once they are all seen at work.  Where
 * levels are estimated the knee of a curve is blurred, and the law describes that better, whatever
 * is there: then a number of workers that is certain is enough.
 */
static bool is_of_workers(const struct fit *f, double bic, double usl_bic, bool estimated)
{
	if (!f->workers.saturated)
		return bic < usl_bic - BIC_TIE;
	bool certain = isfinite(bic) && f->workers.c_low == f->workers.c_high;
	return (estimated && certain) || bic < usl_bic + BIC_TIE;
}

void fit_curve(const struct fit_point *points, size_t n, bool estimated, struct fit *out)
{
	struct fit_point p[FIT_POINTS];
	size_t m = usable_points(points, n, p);
	double done = 0;
	*out = (struct fit){0};
	out->n_points = m;
	if (m) {
		int usl_coefs, workers_coefs;
		double usl_bic = INFINITY, workers_bic = INFINITY;
		out->n_min = p[0].n;
		out->n_max = p[m - 1].n;
		out->model = FIT_USL;
		if (fit_usl(p, m, out, &usl_coefs))
			usl_bic = bic(error_of(out, p, m), m, usl_coefs);
		out->model = FIT_WORKERS;
		if (fit_workers(p, m, out, &workers_coefs))
			workers_bic = bic(error_of(out, p, m), m, workers_coefs);
		if (!is_of_workers(out, workers_bic, usl_bic, estimated))
			out->model = isfinite(usl_bic) ? FIT_USL : FIT_NONE;
	}
	if (out->model != FIT_NONE) {
		for (size_t i = 0; i < m; i++)
			done += p[i].done;
		out->rms = sqrt(error_of(out, p, m) / done);
		out->noise = sqrt((double)m / done);
		out->r2 = fmax(r_squared(out, p, m, false), r_squared(out, p, m, true));
	}
	out->refusal = refusal_of(out, p, m);
}

/* ---- intervals ---- */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static int by_level(const void *a, const void *b)
{
	return by_value(&((const struct fit_point *)a)->n, &((const struct fit_point *)b)->n);
}

/* The chosen model again, on other points; workers only near their c. */
static bool refit(const struct fit_point *p, size_t m, struct fit *f)
{
	int n_coef;
	if (f->model == FIT_USL)
		return fit_usl(p, m, f, &n_coef);
	double from = f->workers.c_low > 1 ? f->workers.c_low - 1 : 1;
	return fit_workers_range(p, m, from, (double)f->workers.c_high + 1, f) > 0;
}

void fit_rate_interval(const struct fit_point *points, size_t n, const struct fit *fit, double at,
		       struct rng *rng, double *low, double *high)
{
	struct fit_point used[FIT_POINTS], drawn[FIT_POINTS];
	double rates[BOOTSTRAPS];
	size_t n_rates = 0, m = usable_points(points, n, used);
	*low = *high = 0;
	for (int b = 0; b < BOOTSTRAPS && m && fit->model != FIT_NONE; b++) {
		struct fit f = *fit;
		for (size_t i = 0; i < m; i++)
			drawn[i] = used[rng_below(rng, (uint32_t)m)];
		qsort(drawn, m, sizeof(*drawn), by_level);
		if (refit(drawn, m, &f))
			rates[n_rates++] = fit_rate(&f, at);
	}
	if (!n_rates)
		return;
	qsort(rates, n_rates, sizeof(*rates), by_value);
	*low = rates[n_rates * 25 / 1000];
	*high = rates[n_rates - 1 - n_rates * 25 / 1000];
}

void fit_rate_pass_over(const struct fit *fit, struct rng *rng)
{
	size_t n = fit->model != FIT_NONE ? fit->n_points * BOOTSTRAPS : 0;
	while (n--)
		rng_next(rng);
}
