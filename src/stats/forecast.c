/* SPDX-License-Identifier: MIT */
/*
 * What one backend more or less would change.
 *
 * Workers with a queue: Erlang C with Allen-Cunneen's correction for the
 * measured variation, the wait convolved with the measured service times.  The
 * universal law: a birth-death chain whose death rates are the fitted curve, and
 * service times stretched by what company costs at each state.  Strategies that
 * look at load act almost as one pool of all workers, others as separate queues.
 *
 * The theory is applied to today, too, where the answer is known: how far it is
 * off there widens the interval of what it says about tomorrow.
 */
#include <math.h>
#include <stdlib.h>

#include "scaling.h"

#define STATES_MAX 2048
#define OVERLOAD 0.97 /* from here on a queue has no steady state worth a number */
#define HEAVY 0.9     /* above it queues settle slowly and balancing is imperfect */
#define MARGIN 0.06
#define P99_SAMPLES 1000
#define SCORE_AFTER_US (UINT64_C(15) * 1000000)

struct answer {
	double p50_us, p99_us;
	double utilisation;
};

/* ---- c workers ---- */

static void predict_workers(const struct scaling *s, bool pooled, double n, double rate,
			    struct answer *out)
{
	double c = s->fit.workers.c, mu = s->fit.workers.per_worker / 1e6; /* per us */
	double servers = pooled ? n * c : c, load = (pooled ? rate : rate / n) / 1e6;
	out->utilisation = load / (servers * mu);
	if (out->utilisation >= OVERLOAD)
		return;
	double p_wait = erlang_c(servers, load / mu);
	double wait = mmc_wait(servers, mu, load) * (s->cv2_arrivals + s->cv2_service) / 2;
	out->p50_us = wait_quantile(&s->service, p_wait, wait, 0.5);
	out->p99_us = wait_quantile(&s->service, p_wait, wait, 0.99);
}

/* ---- the universal law ---- */

/* Rate of `parts` backends that share k requests evenly. */
static double shared_rate(const struct fit *f, double parts, double k)
{
	double each = k / parts;
	return each < 1 ? k * fit_rate(f, 1) : parts * fit_rate(f, each);
}

static void predict_usl(const struct scaling *s, bool pooled, double n, double rate,
			struct answer *out)
{
	double p[STATES_MAX], stretch[STATES_MAX], sum = 1, at_least = 0;
	double parts = pooled ? n : 1, load = pooled ? rate : rate / n, one = fit_rate(&s->fit, 1);
	bool lower_bound;
	at_least = parts * fit_capacity(&s->fit, &lower_bound);
	out->utilisation = load / at_least;
	if (out->utilisation >= OVERLOAD)
		return;
	size_t states = 1;
	p[0] = 1;
	stretch[0] = 1;
	/* an arrival that finds k others shares its backend with k / parts of them */
	while (states < STATES_MAX) {
		double k = (double)states, x = fmax(shared_rate(&s->fit, parts, k), 1e-9);
		double each = k / parts + 1;
		p[states] = p[states - 1] * load / x;
		stretch[states] = fmax(1, each * one / fmax(fit_rate(&s->fit, each), 1e-9));
		sum += p[states++];
		if (p[states - 1] < sum * 1e-9)
			break;
	}
	for (size_t i = 0; i < states; i++)
		p[i] /= sum;
	out->p50_us = stretch_quantile(&s->service, p, stretch, states, 0.5);
	out->p99_us = stretch_quantile(&s->service, p, stretch, states, 0.99);
}

static struct answer predict(const struct scaling *s, bool pooled, double n, double rate)
{
	struct answer a = {INFINITY, INFINITY, 0};
	if (s->fit.model == FIT_WORKERS)
		predict_workers(s, pooled, n, rate, &a);
	else
		predict_usl(s, pooled, n, rate, &a);
	return a;
}

/* ---- intervals ---- */

static double clamp(double x, double low, double high)
{
	return fmin(fmax(x, low), high);
}

/*
 * Theory, and theory as far off as it is today; then what the load and the
 * quantiles themselves are not sure of.
 */
static struct scaling_range range_of(double theory, double off, double less, double more,
				     double noise)
{
	double corrected = theory * off;
	struct scaling_range r = {
	    .low = fmin(fmin(theory, corrected), less) * (1 - MARGIN) * (1 - noise),
	    .mid = sqrt(theory * corrected),
	    .high = fmax(fmax(theory, corrected), more) * (1 + MARGIN) * (1 + noise),
	};
	return r;
}

/* Half the relative width of the service time's p99: the tail is hard to know. */
static double tail_noise(const struct scaling *s)
{
	double low, high, mid = spread_quantile(&s->service, 0.99);
	spread_interval(&s->service, 0.99, &low, &high);
	return mid > 0 ? clamp((high - low) / (2 * mid), 0, 0.5) : 0;
}

static const char *refusal_of(const struct scaling *s, const struct scaling_input *in, double n)
{
	if (n < 1)
		return "no backend would be left";
	if (s->fit.refusal)
		return s->fit.refusal;
	if (s->alone.n < SCALING_SAMPLES || s->now.n < SCALING_SAMPLES)
		return "too few requests";
	double each = s->rate / n * s->total_us / 1e6;
	if (each > s->fit.n_max * FIT_REACH)
		return "each backend would have more in flight than was ever seen";
	for (size_t i = 0; i < in->n; i++)
		if (in->members[i].usable && in->members[i].weight > 0 &&
		    in->members[i].weight != in->members[0].weight)
			return "backends have different weights";
	return NULL;
}

static void forecast(const struct scaling *s, const struct scaling_input *in, double n,
		     struct scaling_forecast *f)
{
	*f = (struct scaling_forecast){.backends = n > 0 ? (uint32_t)n : 0, .rate = s->rate};
	f->refusal = refusal_of(s, in, n);
	if (f->refusal)
		return;
	double have = s->n_backends, rate = s->rate;
	double unsure = fmin(0.02 + 2 / sqrt(fmax(s->now.n, 1)), 0.1);
	struct answer now = predict(s, in->pooled, have, rate);
	struct answer then = predict(s, in->pooled, n, rate);
	struct answer less = predict(s, in->pooled, n, rate * (1 - unsure));
	struct answer more = predict(s, in->pooled, n, rate * (1 + unsure));
	double each = fit_capacity(&s->fit, &f->capacity_at_least);
	f->capacity_low = (s->shift.found && n > have ? have : n) * each;
	f->capacity_high = n * each;
	f->utilisation = then.utilisation;
	f->saturated = !isfinite(then.p99_us);
	if (f->saturated)
		return;
	/* today's steady state is known only when there is one */
	bool known = isfinite(now.p99_us) && s->now.n >= P99_SAMPLES;
	double off50 = known ? clamp(s->now.p50_us / now.p50_us, 0.5, 2) : 1;
	double off99 = known ? clamp(s->now_p99_us / now.p99_us, 0.5, 2) : 1;
	double noise = tail_noise(s) + (then.utilisation > HEAVY ? 0.2 : 0);
	f->p50_us = range_of(then.p50_us, off50, less.p50_us,
			     isfinite(more.p50_us) ? more.p50_us : 2 * then.p50_us, noise / 2);
	f->p99_us = range_of(then.p99_us, off99, less.p99_us,
			     isfinite(more.p99_us) ? more.p99_us : 2 * then.p99_us, noise);
	if (s->shift.found && n > have) /* the shared part does not get faster */
		f->p99_us.high = fmax(f->p99_us.high, s->now_p99_us);
}

/* ---- what came of it ---- */

static void remember(struct scaling *s, uint32_t from, uint32_t to, uint64_t now_us)
{
	s->pending.at_us = 0;
	for (int i = 0; i < N_FORECASTS; i++) {
		const struct scaling_forecast *f = &s->forecasts[i];
		if (f->backends != to || f->refusal || f->saturated)
			continue;
		s->pending = (struct scaling_score){
		    .at_us = now_us + SCORE_AFTER_US,
		    .from = from,
		    .to = to,
		    .rate_then = f->rate,
		    .p99_us = f->p99_us,
		};
	}
}

static void score(struct scaling *s, uint64_t now_us)
{
	struct scaling_score *p = &s->pending;
	if (!p->at_us || now_us < p->at_us || s->window != WINDOW_10S)
		return;
	p->at_us = now_us;
	p->actual_us = s->now_p99_us;
	p->rate_now = s->rate;
	p->comparable = fabs(p->rate_now - p->rate_then) <= 0.2 * p->rate_then;
	s->scores[s->n_scores++ % SCALING_SCORES] = *p;
	p->at_us = 0;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

double scaling_median_error(const struct scaling *s)
{
	double errors[SCALING_SCORES];
	size_t n = 0;
	for (unsigned i = 0; i < SCALING_SCORES && i < s->n_scores; i++)
		if (s->scores[i].comparable && s->scores[i].actual_us > 0)
			errors[n++] = fabs(s->scores[i].p99_us.mid - s->scores[i].actual_us) /
				      s->scores[i].actual_us;
	if (!n)
		return -1;
	qsort(errors, n, sizeof(*errors), by_value);
	return errors[n / 2];
}

void scaling_predict(struct scaling *s, const struct scaling_input *in)
{
	uint32_t n = 0;
	for (size_t i = 0; i < in->n; i++)
		n += in->members[i].usable;
	if (s->n_backends && n != s->n_backends)
		remember(s, s->n_backends, n, in->now_us);
	s->n_backends = n;
	score(s, in->now_us);
	forecast(s, in, (double)n - 1, &s->forecasts[FORECAST_LESS]);
	forecast(s, in, (double)n + 1, &s->forecasts[FORECAST_MORE]);
	forecast(s, in, 2 * (double)n, &s->forecasts[FORECAST_DOUBLE]);
}
