/* SPDX-License-Identifier: MIT */
/*
 * What another number of backends, or another load, would change.
 *
 * Workers with a queue: the pool is simulated with the service times that were measured
 * (replay.c), a few runs at each look, and the last looks' runs make the interval: they
 * differ as minutes do.  The universal law: a birth-death chain whose death rates are the
 * fitted curve, and service times stretched by what company costs at each state.  Demand is
 * what arrives, never what is completed: a full pool completes what it can, and one more
 * would always seem to be enough.
 *
 * Today is predicted, too: how far it is off widens what is said about tomorrow.
 */
#include <math.h>
#include <stdlib.h>

#include "replay.h"
#include "scaling.h"

#define STATES_MAX 2048
#define OVERLOAD 0.97 /* from here on a queue has no steady state worth a number */
#define CARRIED 1.03  /* more arrives than can be done: then what arrives is the demand */
#define HEAVY 0.9     /* above it queues settle slowly and balancing is imperfect */
#define RUNS 8        /* at each look */
#define MARGIN_LAW 0.25
#define MARGIN_OTHERS 0.25 /* their levels are estimated */
#define BURSTS 0.15        /* of the rate of seconds: less is carried by queues of a second */
#define UNEVEN 4           /* squared variation of service times */
#define MUCH_MORE 1.2      /* load than was seen with them */
#define P99_SAMPLES 1000
#define SETTLE_US (UINT64_C(15) * 1000000)
#define SCORE_US (UINT64_C(300) * 1000000) /* with fewer samples than wanted, not later */

struct answer {
	double p50_us, p99_us;
	double utilisation;
};

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

/* ---- c workers ---- */

static double gauss(struct rng *rng)
{
	double sum = -6;
	for (int i = 0; i < 12; i++)
		sum += (double)(rng_next(rng) >> 11) / 9007199254740992.0;
	return sum;
}

/* Of the numbers of workers that fit, one. */
static double draw_workers(struct scaling *s)
{
	uint32_t low = s->fit.workers.c_low, high = s->fit.workers.c_high;
	return high > low ? low + rng_below(&s->rng, high - low + 1) : s->fit.workers.c;
}

static double capacity_of_one(const struct scaling *s)
{
	return s->fit.workers.c * s->fit.workers.per_worker;
}

/* The mean of few who were alone is less certain than what the whole curve says. */
static double stretch_of(const struct scaling *s)
{
	double mean = spread_mean(&s->service) / 1e6 * s->fit.workers.per_worker;
	return mean > 0 ? fmin(fmax(1 / mean, 0.8), 1.25) : 1;
}

static void run_once(struct scaling *s, const struct scaling_input *in,
		     const struct replay_times *times, const struct scaling_forecast *f,
		     struct scaling_runs *runs)
{
	double unsure = fmin(sqrt(fmax(s->cv2_arrivals, 1) / fmax(s->rate * 30, 1)), 0.1);
	struct replay_plan plan = {
	    .backends = f->backends,
	    .workers = draw_workers(s),
	    .pooled = in->pooled,
	    .elsewhere = s->rate > 0 ? fmin(s->others_rate / s->rate, 1) : 0,
	    .rate = f->rate / 1e6 * (1 + unsure * gauss(&s->rng)),
	    .cv2_arrivals = s->cv2_arrivals,
	};
	double off = sqrt(fmin(s->cv2_service, 20) / fmax(s->service.n, 1)) / 2;
	double stretch = stretch_of(s) * exp(fmin(off, 0.2) * gauss(&s->rng));
	struct replay_result r = replay(&plan, times, stretch, &s->rng);
	runs->p50_us[runs->n % SCALING_RUNS] = r.p50_us;
	runs->p99_us[runs->n++ % SCALING_RUNS] = r.p99_us;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

/* What eight of ten runs lie in. */
static struct scaling_range range_of_runs(const double *values, unsigned n)
{
	double sorted[SCALING_RUNS];
	n = n < SCALING_RUNS ? n : SCALING_RUNS;
	for (unsigned i = 0; i < n; i++)
		sorted[i] = values[i];
	qsort(sorted, n, sizeof(*sorted), by_value);
	return (struct scaling_range){sorted[n / 10], sorted[n / 2], sorted[n - 1 - n / 10]};
}

/* ---- intervals ---- */

static double clamp(double x, double low, double high)
{
	return fmin(fmax(x, low), high);
}

/* Half of what the model is off today, and wider by the other half on that side. */
static void correct(struct scaling_range *r, double off, double margin)
{
	double half = sqrt(off);
	r->mid *= half;
	r->low *= fmin(half, off < 1 ? off : 1) * (1 - margin);
	r->high *= fmax(half, off > 1 ? off : 1) * (1 + margin);
}

static const char *refusal_of(const struct scaling *s, const struct scaling_input *in, double n,
			      double rate)
{
	if (n < 1)
		return "no backend would be left";
	if (s->deaf)
		return "what other nodes send is not known";
	if (s->fit.refusal)
		return s->fit.refusal;
	if (s->alone.n < SCALING_SAMPLES || s->now.n < SCALING_SAMPLES)
		return "too few requests";
	if (scaling_is_shared(s))
		return "something behind the backends is shared, and how much it takes is not "
		       "known";
	double each = rate / n * s->total_us / 1e6;
	if (each > s->fit.n_max * FIT_REACH)
		return "each backend would have more in flight than was ever seen";
	for (size_t i = 0; i < in->n; i++)
		if (in->members[i].usable && in->members[i].weight > 0 &&
		    in->members[i].weight != in->members[0].weight)
			return "backends have different weights";
	return NULL;
}

/*
 * At its limit a pool takes what it can do: who waits for an answer before he asks again is
 * served as fast as that, and what he would ask of more backends is not known.
 */
static const char *refusal_of_demand(const struct scaling *s, double utilisation)
{
	if (utilisation < OVERLOAD || s->n_counts < SCALING_SECONDS)
		return utilisation < OVERLOAD ? NULL
					      : "they are full, and what would come is not "
						"known before a minute";
	return utilisation > CARRIED ? NULL
				     : "they are full: what would come if there was room is not "
				       "known";
}

/* What calibration has shown that the models do not know: weir-sim --forecasts. */
static const char *refusal_of_worlds(const struct scaling *s, const struct scaling_forecast *f)
{
	if (s->bursts > BURSTS && f->utilisation * (1 + s->bursts) > OVERLOAD)
		return "the load comes in bursts that are more than they would take, and how long "
		       "these last is not known";
	if (s->cv2_service > UNEVEN && f->rate > MUCH_MORE * s->rate)
		return "some requests take so much longer than most that what more load does to "
		       "the others is not known";
	return NULL;
}

static void forecast_workers(struct scaling *s, const struct scaling_input *in,
			     const struct replay_times *times, struct scaling_forecast *f,
			     struct scaling_runs *runs)
{
	double capacity = capacity_of_one(s) * f->backends;
	f->utilisation = capacity > 0 ? f->rate / capacity : 1;
	f->saturated = f->utilisation >= OVERLOAD;
	if (f->saturated) {
		runs->n = 0;
		return;
	}
	for (int i = 0; i < RUNS; i++)
		run_once(s, in, times, f, runs);
	f->p50_us = range_of_runs(runs->p50_us, runs->n);
	f->p99_us = range_of_runs(runs->p99_us, runs->n);
}

static void forecast_law(const struct scaling *s, const struct scaling_input *in,
			 struct scaling_forecast *f)
{
	struct answer a = {INFINITY, INFINITY, 0};
	predict_usl(s, in->pooled, f->backends, f->rate, &a);
	f->utilisation = a.utilisation;
	f->saturated = a.utilisation >= OVERLOAD;
	f->p50_us = (struct scaling_range){a.p50_us, a.p50_us, a.p50_us};
	f->p99_us = (struct scaling_range){a.p99_us, a.p99_us, a.p99_us};
}

/* Nothing impossible is ever printed. */
static bool is_possible(const struct scaling_range *r, double least)
{
	return r->low > 0 && r->low <= r->mid && r->mid <= r->high && isfinite(r->high) &&
	       r->high >= least;
}

static void make_possible(const struct scaling *s, struct scaling_forecast *f)
{
	double p50 = 0.9 * s->alone.p50_us, low, high;
	spread_interval(&s->service, 0.99, &low, &high);
	low *= 0.9;
	f->p50_us.low = fmin(fmax(f->p50_us.low, p50), f->p50_us.mid);
	f->p99_us.low = fmin(fmax(f->p99_us.low, low), f->p99_us.mid);
	if (!is_possible(&f->p50_us, p50) || !is_possible(&f->p99_us, low))
		f->refusal = "the model does not describe this load";
}

static void look_ahead(struct scaling *s, const struct scaling_input *in,
		       const struct replay_times *times, struct scaling_forecast *f,
		       struct scaling_runs *runs)
{
	if (s->fit.model == FIT_WORKERS)
		forecast_workers(s, in, times, f, runs);
	else
		forecast_law(s, in, f);
}

/* How far the model is off today; 1: not known. */
static double off_by(double seen, const struct scaling_range *said, bool known)
{
	return known && said->mid > 0 && isfinite(said->mid) ? clamp(seen / said->mid, 0.5, 2) : 1;
}

static void forecast(struct scaling *s, const struct scaling_input *in,
		     const struct replay_times *times, int at)
{
	struct scaling_forecast *f = &s->forecasts[at];
	const struct scaling_forecast *now = &s->today;
	f->refusal = refusal_of(s, in, f->backends, f->rate);
	if (!f->refusal)
		f->refusal = refusal_of_demand(s, now->utilisation);
	if (f->refusal) {
		s->runs[at].n = 0;
		return;
	}
	double each = s->fit.model == FIT_WORKERS ? capacity_of_one(s)
						  : fit_capacity(&s->fit, &f->capacity_at_least);
	if (s->fit.model == FIT_WORKERS)
		f->capacity_at_least = !s->fit.workers.saturated;
	f->capacity_low = f->capacity_high = f->backends * each;
	look_ahead(s, in, times, f, &s->runs[at]);
	if (f->saturated)
		return;
	f->refusal = refusal_of_worlds(s, f);
	if (f->refusal)
		return;
	bool known = !now->saturated && s->now.n >= P99_SAMPLES;
	double margin = s->fit.model == FIT_WORKERS ? 0.02 : MARGIN_LAW;
	margin += f->utilisation > HEAVY ? 0.2 : 0;
	margin += s->rate > 0 ? MARGIN_OTHERS * fmin(s->others_rate / s->rate, 1) : 0;
	correct(&f->p50_us, off_by(s->now.p50_us, &now->p50_us, known), margin);
	correct(&f->p99_us, off_by(s->now_p99_us, &now->p99_us, known), margin);
	make_possible(s, f);
}

/* ---- what came of it ---- */

static void remember(struct scaling *s, uint32_t from, uint32_t to, uint64_t now_us)
{
	s->pending.at_us = 0;
	for (int i = 0; i <= FORECAST_DOUBLE; i++) {
		const struct scaling_forecast *f = &s->forecasts[i];
		if (f->backends != to || f->refusal || f->saturated || f->p99_us.high <= 0)
			continue;
		s->pending = (struct scaling_score){
		    .at_us = now_us + SETTLE_US,
		    .from = from,
		    .to = to,
		    .rate_then = f->rate,
		    .p99_us = f->p99_us,
		    .p50_us = f->p50_us,
		};
		s->since = (struct spread){0};
	}
}

static bool holds(const struct scaling_score *p)
{
	return p->actual_us >= p->p99_us.low && p->actual_us <= p->p99_us.high;
}

/* Where a thousand do not come in five minutes, the median is what can be compared. */
static void score(struct scaling *s, uint64_t now_us)
{
	struct scaling_score *p = &s->pending;
	bool late = p->at_us && now_us > p->at_us + SCORE_US;
	if (!p->at_us || now_us < p->at_us || (s->since.n < P99_SAMPLES && !late))
		return;
	p->of_p50 = s->since.n < P99_SAMPLES;
	p->actual_us = spread_quantile(&s->since, p->of_p50 ? 0.5 : 0.99);
	if (p->of_p50)
		p->p99_us = p->p50_us;
	p->at_us = now_us;
	p->rate_now = s->rate;
	p->comparable = s->since.n >= SCALING_SAMPLES / 4 &&
			fabs(p->rate_now - p->rate_then) <= 0.2 * p->rate_then;
	s->scores[s->n_scores++ % SCALING_SCORES] = *p;
	s->n_comparable += p->comparable;
	s->n_held += p->comparable && holds(p);
	p->at_us = 0;
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

/* The same members and about the same load: runs of earlier looks still count. */
static void plan(struct scaling *s, int at, double backends, double rate)
{
	struct scaling_forecast *f = &s->forecasts[at];
	if (f->backends != (uint32_t)fmax(backends, 0) || fabs(f->rate - rate) > 0.15 * f->rate)
		s->runs[at].n = 0;
	*f = (struct scaling_forecast){.backends = (uint32_t)fmax(backends, 0), .rate = rate};
}

static void predict_today(struct scaling *s, const struct scaling_input *in,
			  const struct replay_times *times)
{
	struct scaling_forecast *now = &s->today;
	if (now->backends != s->n_backends || fabs(now->rate - s->rate) > 0.15 * now->rate)
		s->runs_today.n = 0;
	*now = (struct scaling_forecast){.backends = s->n_backends, .rate = s->rate};
	if (!refusal_of(s, in, now->backends, now->rate))
		look_ahead(s, in, times, now, &s->runs_today);
}

void scaling_predict(struct scaling *s, const struct scaling_input *in)
{
	struct replay_times times;
	double n = 0;
	for (size_t i = 0; i < in->n; i++)
		n += in->members[i].usable;
	if (s->n_backends && n != s->n_backends)
		remember(s, s->n_backends, (uint32_t)n, in->now_us);
	s->n_backends = (uint32_t)n;
	score(s, in->now_us);
	replay_times_init(&times, &s->service);
	predict_today(s, in, &times);
	plan(s, FORECAST_LESS, n - 1, s->rate);
	plan(s, FORECAST_MORE, n + 1, s->rate);
	plan(s, FORECAST_DOUBLE, 2 * n, s->rate);
	plan(s, FORECAST_HALF_MORE_LOAD, n, 1.5 * s->rate);
	plan(s, FORECAST_TWICE_THE_LOAD, n, 2 * s->rate);
	for (int i = 0; i < N_FORECASTS; i++)
		forecast(s, in, &times, i);
}
