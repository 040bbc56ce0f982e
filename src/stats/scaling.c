/* SPDX-License-Identifier: MIT */
/* Gathering the evidence: curves, service times alone and now, shared bottlenecks. */
#include "scaling.h"

#include <math.h>
#include <stdlib.h>

#define CURVE_MEMORY_S 600.0
#define SERVICE_MEMORY_LOOKS 360.0 /* an hour of looks */
/* Completions, weighted, that a comparison of two loads must stand on. */
#define SHIFT_INFO 200.0
#define SHIFT_SE 4 /* one of many pairs is that far off by chance once in thousands */
/* A change of speed smaller than this is no sharing, whatever its significance. */
#define SHIFT_MIN 0.10

/* ---- one backend, once a second ---- */

struct scaling_part *scaling_part_new(void)
{
	return calloc(1, sizeof(struct scaling_part));
}

void scaling_part_free(struct scaling_part *part)
{
	if (!part)
		return;
	for (unsigned c = 0; c < LEVEL_CLASSES; c++)
		free(part->served[c]);
	free(part);
}

static void forget(struct scaling_part *part, double keep)
{
	for (uint32_t k = 0; k < LEVEL_BINS; k++) {
		part->time_s[k] *= keep;
		part->done[k] *= keep;
	}
	for (unsigned l = 0; l < SCALING_LOADS; l++)
		for (uint32_t k = 0; k < SCALING_LOAD_BINS; k++) {
			part->load_time_s[l][k] *= (float)keep;
			part->load_done[l][k] *= (float)keep;
		}
}

void scaling_part_fold(struct scaling_part *part, const struct levels *const *levels, size_t n,
		       double others)
{
	unsigned load = level_class((uint32_t)fmin(others + 0.5, 1e6));
	bool any = false;
	uint32_t top = 0;
	for (size_t i = 0; i < n; i++) {
		uint32_t of = levels[i] ? levels_top(levels[i]) : 0;
		top = of > top ? of : top;
	}
	for (uint32_t k = 0; k <= top; k++) {
		uint64_t time_us = 0, done = 0;
		for (size_t i = 0; i < n; i++)
			if (levels[i]) {
				time_us += counter_get(&levels[i]->bin[k].time_us);
				done += counter_get(&levels[i]->bin[k].done);
			}
		if (time_us == part->last_time_us[k] && done == part->last_done[k])
			continue;
		if (!any)
			forget(part, exp(-1 / CURVE_MEMORY_S));
		any = true;
		double dt = (double)(int64_t)(time_us - part->last_time_us[k]) / 1e6;
		double dn = (double)(done - part->last_done[k]);
		part->last_time_us[k] = time_us;
		part->last_done[k] = done;
		part->time_s[k] += dt;
		part->done[k] += dn;
		if (k < SCALING_LOAD_BINS) {
			part->load_time_s[load][k] += (float)dt;
			part->load_done[load][k] += (float)dn;
		}
	}
}

/* ---- service times at low load ---- */

/* Takes in what was served since the last look, of all workers. */
static void fold_served(struct scaling_part *part, const struct levels *const *levels, size_t n)
{
	for (unsigned c = 0; c < LEVEL_CLASSES; c++) {
		struct hist_total now = {0};
		for (size_t i = 0; i < n; i++)
			if (levels[i])
				hist_total_add_hist(&now,
						    atomic_load_explicit(&levels[i]->served[c],
									 memory_order_acquire));
		if (now.n == 0)
			continue;
		struct scaling_served *s = part->served[c];
		if (!s && !(s = part->served[c] = calloc(1, sizeof(*s))))
			continue; /* nothing is lost: the next look takes it all */
		double keep = exp(-1 / SERVICE_MEMORY_LOOKS);
		for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
			uint32_t new = (uint32_t)now.count[i] - s->last[i];
			s->last[i] = (uint32_t)now.count[i];
			s->weight[i] = s->weight[i] * keep + new;
		}
	}
}

/* Those who met at most `others`. */
static void add_served(const struct scaling_part *part, uint32_t others, struct spread *out)
{
	for (unsigned c = 0; c < LEVEL_CLASSES; c++)
		if (part->served[c] && level_class_top(c) <= others)
			spread_add(out, part->served[c]->weight);
}

static void side_of_spread(const struct spread *s, struct scaling_side *out)
{
	out->n = s->n;
	out->p50_us = spread_quantile(s, 0.5);
	out->p95_us = spread_quantile(s, 0.95);
	spread_interval(s, 0.95, &out->p95_low_us, &out->p95_high_us);
}

static void spread_of_total(const struct hist_total *t, struct spread *out)
{
	out->n = (double)t->n;
	for (uint32_t i = 0; i < HIST_BUCKETS; i++)
		out->weight[i] = (double)t->count[i];
}

/* Few enough to have the backend almost to oneself. */
static uint32_t few_others(const struct scaling *s)
{
	uint32_t quarter =
	    s->fit.model == FIT_WORKERS && s->fit.workers.saturated ? s->fit.workers.c / 4 : 0;
	return quarter > 1 ? quarter : 1;
}

static void look_alone(struct scaling *s, const struct scaling_input *in)
{
	uint32_t others = few_others(s);
	s->service = (struct spread){0};
	for (size_t i = 0; i < in->n; i++) {
		struct scaling_part *part = in->members[i].part;
		struct spread own = {0};
		if (!part)
			continue;
		fold_served(part, in->members[i].levels, in->members[i].n_levels);
		add_served(part, others, &own);
		side_of_spread(&own, &part->alone);
		spread_add(&s->service, own.weight);
	}
	side_of_spread(&s->service, &s->alone);
	s->cv2_service = spread_cv2(&s->service);
}

/* ---- latency now ---- */

/* Sums a phase over the pool's backends; of one backend when `only` is not NULL. */
static void read_phase(const struct scaling_input *in, const struct scaling_member *only,
		       enum phase phase, enum window window, struct hist_total *sum)
{
	struct hist_total part;
	*sum = (struct hist_total){0};
	for (size_t i = 0; i < in->n; i++) {
		const struct scaling_member *m = &in->members[i];
		if (!m->windows || (only && only != m))
			continue;
		windows_read(m->windows, phase, window, &part);
		hist_total_add(sum, &part);
	}
}

static void look_now(struct scaling *s, const struct scaling_input *in)
{
	struct hist_total t;
	struct spread now;
	s->window = WINDOW_10S;
	read_phase(in, NULL, PHASE_total, s->window, &t);
	if (t.n < 1000) { /* too few for a p99: take more time */
		s->window = WINDOW_1M;
		read_phase(in, NULL, PHASE_total, s->window, &t);
	}
	spread_of_total(&t, &now);
	side_of_spread(&now, &s->now);
	s->now_p99_us = spread_quantile(&now, 0.99);
	s->total_us = hist_total_mean_us(&t);
	s->rate = t.span_us ? (double)t.n / ((double)t.span_us / 1e6) : 0;
	read_phase(in, NULL, PHASE_queue, s->window, &t);
	s->queue_us = hist_total_mean_us(&t);
	read_phase(in, NULL, PHASE_connect, s->window, &t);
	s->connect_us = hist_total_mean_us(&t);
	read_phase(in, NULL, PHASE_self, s->window, &t);
	s->self_us = hist_total_mean_us(&t);
	for (size_t i = 0; i < in->n; i++) {
		struct scaling_part *part = in->members[i].part;
		if (!part)
			continue;
		read_phase(in, &in->members[i], PHASE_total, s->window, &t);
		spread_of_total(&t, &now);
		side_of_spread(&now, &part->now);
		part->weight = in->members[i].weight;
		part->rate = t.span_us ? (double)t.n / ((double)t.span_us / 1e6) : 0;
	}
}

/* ---- the curve ---- */

static void look_curve(struct scaling *s, const struct scaling_input *in)
{
	s->n_points = 0;
	for (uint32_t k = 1; k < LEVEL_BINS; k++) {
		double time_s = 0, done = 0;
		for (size_t i = 0; i < in->n; i++)
			if (in->members[i].part && in->members[i].usable) {
				time_s += in->members[i].part->time_s[k];
				done += in->members[i].part->done[k];
			}
		if (done >= 1 && time_s > 1e-6)
			s->points[s->n_points++] =
			    (struct fit_point){level_value(k), done / time_s, done};
	}
	fit_curve(s->points, s->n_points, &s->fit);
	s->at_n_max = (struct scaling_range){0};
	if (s->fit.model == FIT_NONE || s->fit.refusal)
		return;
	s->at_n_max.mid = fit_rate(&s->fit, s->fit.n_max);
	fit_rate_interval(s->points, s->n_points, &s->fit, s->fit.n_max, &s->rng, &s->at_n_max.low,
			  &s->at_n_max.high);
}

/* ---- is the bottleneck shared? ---- */

/*
 * Logarithm of the ratio of rates at equal level between two loads of the other
 * backends: Mantel and Haenszel's estimate for person-time, each level of each backend a
 * stratum, since an overload passes through most levels too fast for any of them to
 * say something on its own.  How much it stands on comes back: one over the variance of
 * Greenland and Robins (Biometrics 41, 1985).
 */
static double compare_loads(const struct scaling_input *in, unsigned low, unsigned high,
			    double *log_ratio)
{
	double above = 0, below = 0, spread = 0;
	for (size_t i = 0; i < in->n; i++) {
		const struct scaling_part *part = in->members[i].part;
		for (uint32_t k = 1; part && k < SCALING_LOAD_BINS; k++) {
			double da = (double)part->load_done[low][k];
			double db = (double)part->load_done[high][k];
			double ta = (double)part->load_time_s[low][k];
			double tb = (double)part->load_time_s[high][k];
			if (ta <= 0 || tb <= 0 || da < 0 || db < 0)
				continue;
			double both = ta + tb;
			above += db * ta / both;
			below += da * tb / both;
			spread += (da + db) * ta * tb / (both * both);
		}
	}
	if (above <= 0 || below <= 0 || spread <= 0)
		return 0;
	*log_ratio = log(above / below);
	return above * below / spread;
}

/* The middle of a class of loads. */
static double load_value(unsigned load)
{
	return load ? 0.75 * (double)(1u << load) : 0;
}

static void shift_of(struct scaling_shift *shift, unsigned low, unsigned high, double mean,
		     double info)
{
	*shift = (struct scaling_shift){
	    .known = true,
	    .change = exp(mean) - 1,
	    .se = exp(mean) / sqrt(info),
	    .low_load = load_value(low),
	    .high_load = load_value(high),
	};
	shift->found = shift->change < -SHIFT_MIN && shift->change < -SHIFT_SE * shift->se;
}

/* The load of the others, on the average backend, now. */
static double others_now(const struct scaling *s)
{
	double n = s->n_backends ? s->n_backends : 1;
	return s->rate * s->total_us / 1e6 * (n - 1) / n;
}

/*
 * Counts of what workers finish that are busy all the time vary by the squared coefficient
 * of variation of their service times (renewal theory): a long tail makes a comparison
 * stand on less.
 *
 * Of all pairs of loads that can be compared, the clearest fall decides that there
 * is one.  That there is none is known only from loads that are a factor of four
 * apart and reach up to the load of now.
 */
static void look_shift(struct scaling *s, const struct scaling_input *in)
{
	struct scaling_shift wide = {0}, clear = {0};
	double enough = others_now(s) / 2, dispersion = fmax(s->cv2_service, 1);
	for (unsigned low = 0; low < SCALING_LOADS; low++)
		for (unsigned high = low + 1; high < SCALING_LOADS; high++) {
			struct scaling_shift shift;
			double mean = 0, info = compare_loads(in, low, high, &mean) / dispersion;
			if (info < SHIFT_INFO)
				continue;
			shift_of(&shift, low, high, mean, info);
			if (shift.found &&
			    (!clear.found || shift.change / shift.se < clear.change / clear.se))
				clear = shift;
			if (high - low >= 2 && shift.high_load >= enough &&
			    (!wide.known || shift.high_load > wide.high_load))
				wide = shift;
		}
	s->shift = clear.found ? clear : wide;
}

/* ---- arrivals ---- */

void scaling_count(struct scaling *s, uint32_t requests)
{
	s->counts[s->n_counts++ % SCALING_SECONDS] = requests;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

/*
 * Squared coefficient of variation of the times between arrivals, from the
 * dispersion of counts a second; 1 is Poisson.  Differences of neighbours, so that
 * a slow change of the load does not look like bursts, and their median, so that
 * a jump does not either: half a squared difference is distributed as the
 * variance times chi-squared with one degree, whose median is 0.4549.
 */
static double cv2_of_arrivals(const struct scaling *s)
{
	double squares[SCALING_SECONDS];
	unsigned n = s->n_counts < SCALING_SECONDS ? s->n_counts : SCALING_SECONDS;
	double sum = 0;
	for (unsigned i = 0; i + 1 < n; i++) {
		double now = s->counts[(s->n_counts - 1 - i) % SCALING_SECONDS];
		double before = s->counts[(s->n_counts - 2 - i) % SCALING_SECONDS];
		/* relative to the mean there, which is the variance of Poisson */
		double mean = (now + before) / 2;
		squares[i] = mean > 0 ? (now - before) * (now - before) / 2 / mean : 0;
		sum += now;
	}
	if (n < 16 || sum <= 0)
		return 1;
	qsort(squares, n - 1, sizeof(*squares), by_value);
	return fmin(fmax(squares[(n - 1) / 2] / 0.4549, 0.1), 4);
}

/* ---- all of it ---- */

struct scaling *scaling_new(void)
{
	struct scaling *s = calloc(1, sizeof(*s));
	if (s)
		rng_init(&s->rng, 1); /* the same data give the same intervals */
	return s;
}

void scaling_look(struct scaling *s, const struct scaling_input *in)
{
	s->looked_us = in->now_us;
	look_curve(s, in);
	look_alone(s, in);
	look_now(s, in);
	look_shift(s, in);
	s->cv2_arrivals = cv2_of_arrivals(s);
	s->growth = s->alone.p95_us > 0 && s->now.n > 0 ? s->now.p95_us / s->alone.p95_us : 0;
	scaling_judge(s, in);
	scaling_predict(s, in);
}
