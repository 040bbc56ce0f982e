/* SPDX-License-Identifier: MIT */
/*
 * What another number of backends, or another load, would change.
 *
 * Workers with a queue: the pool is simulated with the service times that were measured
 * (replay.c), a few runs at each look; the last looks' runs make the interval, together with
 * what few service times say of a quantile by chance.  The universal law: forecast_law.c.  Demand
 * is what arrives, never what is completed: a full pool completes what it can, and one more would
 * always seem to be enough.
 *
 * Today is predicted, too, and what it is off corrects what is said about tomorrow: as much
 * as the service times may be off, and as little as today itself varies.
 *
 * Constants of width are from weir-sim --forecasts 24 of each family from seed 101 on; those that
 * the guide tells were not used for that.
 */
#include <math.h>
#include <stdlib.h>

#include "replay.h"
#include "scaling.h"

#define CARRIED 1.03 /* more arrives than can be done: then what arrives is the demand */
#define HEAVY 0.85   /* above it queues settle slowly and balancing is imperfect */
#define RUNS 8       /* at the first look; then some more at each, the oldest make room */
#define RUNS_MORE 3
#define EIGHT_OF_TEN 1.28 /* standard deviations */
#define OF_APART 1.5      /* queues of their own are remembered longer than one of all together */
#define OF_BURSTS 0.7     /* of bursts, where all are busy */
#define OFF_MIN 0.014     /* no quantile of service times is surer */
#define BUCKET 0.015      /* half of what a quantile of a histogram can be told apart by */
#define LOAD_S 60         /* of a full pool the load must be known for so long */
#define MARGIN_LAW 0.25
#define OFF_OTHERS 0.12  /* of their share: levels are estimated, the model may be off by it */
#define OFF_CAPACITY 0.1 /* and what they can take by so much of it */
#define OTHERS_CURVE 0.8 /* then the curve counts for so much, and who was alone for the rest */
#define OTHERS 0.05      /* share of what comes: fewer are not noticed */
#define BURSTS 0.15      /* of the rate of seconds: less is carried by queues of a second */
#define UNEVEN 1.7       /* squared variation of service times: queues make more of it */
#define SWUNG 0.93       /* in a run the load is as high for a shorter time than it will be */
#define BUSY 0.8
#define MUCH_MORE 1.2 /* of what they take than was seen */

/* ---- c workers ---- */

/* Of the numbers of workers that fit, one. */
static double draw_workers(struct scaling *s)
{
	uint32_t low = s->fit.workers.c_low, high = s->fit.workers.c_high;
	return high > low ? low + rng_below(&s->rng, high - low + 1) : s->fit.workers.c;
}

static bool has_others(const struct scaling *s)
{
	return s->others_rate > OTHERS * s->rate;
}

/*
 * The mean of few who were alone is less certain than what the whole curve says.  With other
 * nodes both are off, by opposite signs: some who seem to be alone met one of theirs, and the
 * levels of the curve are estimated.  The truth is between them.
 */
static double stretch_of(const struct scaling *s)
{
	double mean = spread_mean(&s->service) / 1e6 * s->fit.workers.per_worker;
	double stretch = mean > 0 ? fmin(fmax(1 / mean, 0.8), 1.25) : 1;
	return has_others(s) ? pow(stretch, OTHERS_CURVE) : stretch;
}

static double capacity_of_one(const struct scaling *s)
{
	double each = s->fit.workers.per_worker, mean = spread_mean(&s->service);
	if (has_others(s) && mean > 0)
		each = 1e6 / (mean * stretch_of(s));
	return s->fit.workers.c * each;
}

static void run_once(struct scaling *s, const struct scaling_input *in,
		     const struct replay_times *times, const struct scaling_forecast *f,
		     struct scaling_runs *runs)
{
	struct replay_plan plan = {
	    .backends = f->backends,
	    .workers = draw_workers(s),
	    .pooled = in->pooled,
	    .elsewhere = s->rate > 0 ? fmin(s->others_rate / s->rate, 1) : 0,
	    .rate = f->rate / 1e6,
	    .bursts = 0.9 * s->bursts, /* of two rates that take turns it says too much */
	    .swing = s->swing,
	};
	struct replay_result r = replay(&plan, times, stretch_of(s), &s->rng);
	runs->p50_us[runs->n % SCALING_RUNS] = r.p50_us;
	runs->fall_us[runs->n % SCALING_RUNS] = r.fall_us;
	runs->requests = r.requests;
	runs->p99_us[runs->n++ % SCALING_RUNS] = r.p99_us;
}

/* Mean, and what runs differ by: the standard deviation of logarithms. */
struct spread_of_runs {
	double mean, sd;
};

static struct spread_of_runs spread_of(const double *values, unsigned n)
{
	double sum = 0, log_sum = 0, squares = 0;
	n = n < SCALING_RUNS ? n : SCALING_RUNS;
	for (unsigned i = 0; i < n; i++) {
		double x = log(values[i]);
		sum += values[i];
		log_sum += x;
		squares += x * x;
	}
	double mean = log_sum / n;
	return (struct spread_of_runs){sum / n, sqrt(fmax(squares / n - mean * mean, 0))};
}

/*
 * The p99 of all runs together: tails of queues are exponential, and what is slow comes from
 * few of the runs, so that the mean of what each says is too little.  About half of what they
 * differ by is the load, which looks know a little differently.
 */
static double p99_of_all(const struct scaling_runs *runs)
{
	struct spread_of_runs p99 = spread_of(runs->p99_us, runs->n);
	double sd = p99.mean * p99.sd, fall = spread_of(runs->fall_us, runs->n).mean;
	return sd > 0 && isfinite(sd) ? p99.mean + sd * sd / 4 / fmax(fall, sd / 2) : p99.mean;
}

/* ---- intervals ---- */

static double clamp(double x, double low, double high)
{
	return fmin(fmax(x, low), high);
}

/* Eight of ten are in it that differ by so much. */
static struct scaling_range range_about(double mid, double sd, double margin)
{
	double times = exp(EIGHT_OF_TEN * hypot(sd, BUCKET)) * (1 + margin);
	return (struct scaling_range){mid / times, mid, mid * times};
}

/* The share of others; of that half is as certain as service is even. */
static double unsure_of_others(const struct scaling *s)
{
	return s->others_rate / s->rate * (1 + fmin(s->cv2_service, 1)) / 2;
}

/*
 * What comes is known from some of it, a minute at most, and will differ in those that are meant;
 * how much of it they can take is about as certain.  The logarithm of what that makes of a
 * duration, of which `alone` would be without a queue: queues grow as 1 / (1 - utilisation) does.
 */
static double unsure_of_load(const struct scaling *s, const struct scaling_forecast *f,
			     double alone, double us)
{
	double by_chance = fmax(s->cv2_arrivals, 1) / fmax(f->rate * s->rate_s, 1);
	double load = hypot(sqrt(by_chance), s->bursts / sqrt(s->rate_s));
	load = hypot(load, has_others(s) ? OFF_CAPACITY * unsure_of_others(s) : 0);
	double left = fmax(1 - f->utilisation, 1 - OVERLOAD), queued = clamp(1 - alone / us, 0, 1);
	return queued * load * f->utilisation / left;
}

/* One quantile: what is seen of it now, and what was said that it would be. */
struct seen {
	double q, now_us, unsure, apart;
	const double *today, *runs;
	const struct scaling_runs *all;
	const struct scaling_forecast *of;
};

/* A run is of fewer requests than what is seen or will be, and varies more. */
static double chance_of(const struct scaling_runs *runs, double sd, double n)
{
	return sd * sqrt(runs->requests / fmax(n, runs->requests));
}

/*
 * What few who were alone say of a quantile is off by chance, today as tomorrow: what is seen
 * today corrects that, but for what it differs itself from one minute to the next.  And what will
 * be measured is itself some requests of many.
 */
static struct scaling_range range_of_runs(const struct scaling *s, const struct seen *seen,
					  unsigned n, bool known, double margin)
{
	double low, high, share = 0, by = 0;
	struct spread_of_runs then = spread_of(seen->runs, n);
	struct spread_of_runs today = spread_of(seen->today, s->runs_today.n);
	if (seen->q > 0.9) {
		then.mean = p99_of_all(seen->all);
		today.mean = p99_of_all(&s->runs_today);
	}
	spread_interval(&s->service, seen->q, &low, &high);
	double off = fmax(low > 0 ? log(high / low) / 4 : 0, seen->unsure);
	today.sd = chance_of(&s->runs_today, today.sd, s->now.n);
	if (known && isfinite(today.mean)) {
		share = off * off / (off * off + today.sd * today.sd);
		by = share * clamp(log(seen->now_us / today.mean), -M_LN2, M_LN2);
	}
	double load = unsure_of_load(s, seen->of, spread_quantile(&s->service, seen->q), then.mean);
	double chance = chance_of(seen->all, seen->apart * then.sd, seen->of->rate * FORECAST_S);
	double sd = hypot(hypot(chance, load), sqrt(1 - share) * off);
	if (s->cv2_service > UNEVEN) /* few make the tail, and meet each other */
		sd *= EXCESS;
	if (has_others(s)) /* what is not known of others differs by what they do */
		sd = hypot(sd, by / 2);
	return range_about(then.mean * exp(by), sd, margin);
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
	if (rate <= 0)
		return "nothing comes";
	if (s->deaf)
		return "what other nodes send is not known";
	if (s->closed)
		return "as many are in flight at all times: who asks seems to wait for his answer "
		       "before he asks again, and what he would ask of others is not known";
	if (s->fit.refusal)
		return s->fit.refusal;
	if (s->fit.model == FIT_USL && has_others(s))
		return "what other nodes have in flight is estimated, and no number of workers "
		       "explains what is seen";
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
	if (s->rate_changes)
		return "the load is another than before, and what comes now is known in some "
		       "seconds";
	if (utilisation < OVERLOAD || s->rate_s < LOAD_S)
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
	if (s->swing > 0 && f->utilisation * (1 + M_SQRT2 * s->swing) > SWUNG)
		return "where the load swings highest it is about as much as they would take, and "
		       "how long that lasts is not known";
	if (s->bursts > BURSTS && f->utilisation * (1 + s->bursts) > OVERLOAD)
		return "the load comes in bursts that are more than they would take, and how long "
		       "these last is not known";
	if (s->cv2_service > UNEVEN && f->utilisation > BUSY &&
	    f->utilisation > MUCH_MORE * s->today.utilisation)
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
	for (int i = runs->n ? RUNS_MORE : RUNS; i > 0; i--)
		run_once(s, in, times, f, runs);
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
		forecast_law(s, in->pooled, f);
}

/* How far the model is off today; 1: not known. */
static double off_by(double seen, const struct scaling_range *said, bool known)
{
	return known && said->mid > 0 && isfinite(said->mid) ? clamp(seen / said->mid, 0.5, 2) : 1;
}

static void give_intervals(const struct scaling *s, bool pooled, struct scaling_forecast *f,
			   const struct scaling_runs *runs)
{
	const struct scaling_forecast *now = &s->today;
	bool bursts = s->bursts > BURSTS, others = has_others(s);
	/* what bursts do today more or fewer backends would not do as much */
	bool known = !now->saturated && !bursts && s->now.n >= FORECAST_P99_SAMPLES;
	double margin = fmax(f->utilisation - HEAVY, 0);
	if (bursts) /* the fuller they are the more of them queue */
		margin += OF_BURSTS * s->bursts * f->utilisation * f->utilisation;
	double unsure = others ? fmax(OFF_OTHERS * unsure_of_others(s), OFF_MIN) : OFF_MIN;
	struct seen p50 = {
	    .q = 0.5,
	    .now_us = s->now.p50_us,
	    .unsure = unsure,
	    .apart = pooled ? 1 : OF_APART,
	    .today = s->runs_today.p50_us,
	    .runs = runs->p50_us,
	    .all = runs,
	    .of = f,
	};
	struct seen p99 = p50;
	p99.q = 0.99;
	p99.now_us = s->now_p99_us;
	p99.today = s->runs_today.p99_us;
	p99.runs = runs->p99_us;
	if (s->fit.model == FIT_WORKERS) {
		f->p50_us = range_of_runs(s, &p50, runs->n, known, margin);
		f->p99_us = range_of_runs(s, &p99, runs->n, known, margin);
		return;
	}
	margin += MARGIN_LAW;
	correct(&f->p50_us, off_by(s->now.p50_us, &now->p50_us, known), margin);
	correct(&f->p99_us, off_by(s->now_p99_us, &now->p99_us, known), margin);
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
	give_intervals(s, in->pooled, f, &s->runs[at]);
	make_possible(s, f);
}

/* ---- all of it ---- */

/* The same members and about the same load: runs of earlier looks still count. */
static void plan(struct scaling *s, int at, double backends, double rate)
{
	struct scaling_forecast *f = &s->forecasts[at];
	if (f->backends != (uint32_t)fmax(backends, 0) || fabs(f->rate - rate) > 0.15 * f->rate)
		s->runs[at].n = 0;
	*f = (struct scaling_forecast){.backends = (uint32_t)fmax(backends, 0), .rate = rate};
}

/* How full they are is known where no forecast is. */
static double utilisation_of(const struct scaling *s, const struct scaling_forecast *f)
{
	bool at_least;
	double each =
	    s->fit.model == FIT_WORKERS ? capacity_of_one(s) : fit_capacity(&s->fit, &at_least);
	return each > 0 ? f->rate / (f->backends * each) : 0;
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
	else if (now->backends && !s->deaf && !s->fit.refusal)
		now->utilisation = utilisation_of(s, now);
}

void scaling_predict(struct scaling *s, const struct scaling_input *in)
{
	struct replay_times times;
	double n = 0, rate = s->demand;
	for (size_t i = 0; i < in->n; i++)
		n += in->members[i].usable;
	if (s->n_backends && n != s->n_backends)
		forecast_remember(s, s->n_backends, (uint32_t)n, in->now_us);
	s->n_backends = (uint32_t)n;
	forecast_score(s, in->now_us);
	replay_times_init(&times, &s->service);
	predict_today(s, in, &times);
	plan(s, FORECAST_LESS, n - 1, rate);
	plan(s, FORECAST_MORE, n + 1, rate);
	plan(s, FORECAST_DOUBLE, 2 * n, rate);
	plan(s, FORECAST_HALF_MORE_LOAD, n, 1.5 * rate);
	plan(s, FORECAST_TWICE_THE_LOAD, n, 2 * rate);
	for (int i = 0; i < N_FORECASTS; i++)
		forecast(s, in, &times, i);
}
