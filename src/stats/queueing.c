/* SPDX-License-Identifier: MIT */
/* Queues with several workers (Erlang C), and service times as they were measured. */
#include "weir/stats/queueing.h"

#include <math.h>

/* ---- M/M/c ---- */

double erlang_c(double c, double a)
{
	double b = 1, rho = a / c;
	if (rho >= 1)
		return 1;
	for (double k = 1; k <= c; k++)
		b = a * b / (k + a * b);
	return b / (1 - rho * (1 - b));
}

double mmc_wait(double c, double mu, double rate)
{
	if (rate >= c * mu)
		return INFINITY;
	return erlang_c(c, rate / mu) / (c * mu - rate);
}

double mmc_tail(double c, double mu, double rate, double t)
{
	double p = erlang_c(c, rate / mu), th = c * mu - rate;
	if (th <= 0)
		return 1;
	if (fabs(th - mu) < 1e-9 * mu)
		return exp(-mu * t) * (1 + p * mu * t);
	return (1 - p) * exp(-mu * t) + p * (th * exp(-mu * t) - mu * exp(-th * t)) / (th - mu);
}

/* The t at which a falling tail is 1 - q: doubles to find a bound, then halves. */
#define QUANTILE(tail_at_t, start, q, result)                            \
	do {                                                             \
		double low_ = 0, t = (start) > 0 ? (start) : 1;          \
		for (int i_ = 0; i_ < 60 && (tail_at_t) > 1 - (q); i_++) \
			t *= 2;                                          \
		double high_ = t;                                        \
		for (int i_ = 0; i_ < 24; i_++) {                        \
			t = (low_ + high_) / 2;                          \
			if ((tail_at_t) > 1 - (q))                       \
				low_ = t;                                \
			else                                             \
				high_ = t;                               \
		}                                                        \
		(result) = high_;                                        \
	} while (0)

double mmc_quantile(double c, double mu, double rate, double q)
{
	double result;
	if (rate >= c * mu)
		return INFINITY;
	QUANTILE(mmc_tail(c, mu, rate, t), 1 / mu, q, result);
	return result;
}

/* ---- measured distributions ---- */

static double bucket_us(uint32_t i)
{
	return (double)hist_lower_us(i) + (double)(hist_width_us(i) - 1) / 2;
}

void spread_add(struct spread *s, const double *weight)
{
	for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
		s->weight[i] += weight[i];
		s->n += weight[i];
	}
}

double spread_mean(const struct spread *s)
{
	double sum = 0;
	for (uint32_t i = 0; i < HIST_BUCKETS; i++)
		sum += s->weight[i] * bucket_us(i);
	return s->n > 0 ? sum / s->n : 0;
}

double spread_cv2(const struct spread *s)
{
	double mean = spread_mean(s), sum = 0;
	if (mean <= 0)
		return 0;
	for (uint32_t i = 0; i < HIST_BUCKETS; i++)
		sum += s->weight[i] * (bucket_us(i) - mean) * (bucket_us(i) - mean);
	return sum / s->n / (mean * mean);
}

static double at_rank(const struct spread *s, double rank)
{
	double seen = 0;
	uint32_t last = 0;
	for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
		if (s->weight[i] <= 0)
			continue;
		seen += s->weight[i];
		last = i;
		if (seen >= rank)
			break;
	}
	return bucket_us(last);
}

double spread_quantile(const struct spread *s, double q)
{
	return s->n > 0 ? at_rank(s, q * s->n) : 0;
}

void spread_interval(const struct spread *s, double q, double *low, double *high)
{
	double half = 1.96 * sqrt(s->n * q * (1 - q));
	*low = s->n > 0 ? at_rank(s, fmax(q * s->n - half, 0)) : 0;
	*high = s->n > 0 ? at_rank(s, fmin(q * s->n + half, s->n)) : 0;
}

/* P(service + wait > t); the sum over buckets is the convolution, exactly. */
static double wait_tail(const struct spread *s, double p_wait, double mean, double t)
{
	double sum = 0;
	for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
		if (s->weight[i] <= 0)
			continue;
		double left = t - bucket_us(i);
		sum += s->weight[i] * (left < 0 ? 1 : mean > 0 ? p_wait * exp(-left / mean) : 0);
	}
	return sum / s->n;
}

double wait_quantile(const struct spread *s, double p_wait, double mean_wait, double q)
{
	double mean = p_wait > 0 ? mean_wait / p_wait : 0, result;
	if (s->n <= 0 || !isfinite(mean_wait))
		return INFINITY;
	QUANTILE(wait_tail(s, p_wait, mean, t), spread_mean(s), q, result);
	return result;
}

static double stretch_tail(const struct spread *s, const double *above, const double *p,
			   const double *stretch, size_t n, double t)
{
	double sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += p[i] * above[hist_index((uint64_t)(t / stretch[i]))];
	return sum / s->n;
}

double stretch_quantile(const struct spread *s, const double *p, const double *stretch, size_t n,
			double q)
{
	double above[HIST_BUCKETS], sum = 0, result;
	if (s->n <= 0)
		return 0;
	for (uint32_t i = HIST_BUCKETS; i-- > 0;) {
		above[i] = sum + s->weight[i] / 2; /* half of a bucket is above its middle */
		sum += s->weight[i];
	}
	QUANTILE(stretch_tail(s, above, p, stretch, n, t), spread_mean(s), q, result);
	return result;
}
