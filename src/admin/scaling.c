/* SPDX-License-Identifier: MIT */
/*
 * GET /v1/pools/P/scaling: is it the code or the load, and what would one more
 * backend change?  What nobody knows is null; `refusal` says why.
 *
 *   {"pool": "app",
 *    "verdict": "scalability",        a row of tbl/verdicts.def
 *    "problem": true, "sentence": "p95 is 12.1 ms alone ...", "meaning": "requests are ...",
 *    "next": {"verdict": "healthy", "looks": 1, "of": 3},   another one is knocking, or null
 *    "looked_at": "2026-11-24T01:02:03.456Z", "interval_s": 10,
 *    "evidence": {"window": "10s", "window_s": 5, "slo_p95_us": 200000,
 *      "alone": {"n": 1200, "p50_us": 9900, "p95_us": 12100, "p95_low_us": .., "p95_high_us": ..},
 *      "now": {the same, "p99_us": ..}, "growth": 4.2, "rate": 812,
 *      "mean": {"queue_us": 0, "connect_us": 3, "self_us": 41, "total_us": 10210},
 *      "waiting_share": 0.01,         of the mean: queue, connect, self, loop lag
 *      "shared": {"known": true, "found": false, "change": 0.02, "se": 0.01, "z": 2.0,
 *                 "by_size": null},
 *                                     of the duration at equal level, others busier
 *      "changed": {"at": "..", "factor": 3.1, "what": "speed"},   or "kind", or null
 *      "cv2_arrivals": 1.02, "cv2_service": 0.98},
 *    "other_nodes": {"in_flight": 3.2, "rate": 120},   of the same backends, not judged here
 *    "curve": [{"in_flight": 1, "rate": 99.1, "completions": 1234}],  of a typical backend
 *    "model": {"kind": "workers", "refusal": null, "n_min": 1, "n_max": 31, "levels": 31,
 *      "r2": 0.99, "error": 0.02,
 *      "rate_alone": 99.8, "contention": null, "coherency": null, "peak_in_flight": null,
 *      "se": {"rate_alone": .., "contention": .., "coherency": ..},
 *      "workers": 4, "workers_low": 4, "workers_high": 5, "workers_at_least": false,
 *      "capacity": 398, "capacity_at_least": false,
 *      "fitted": [{"in_flight": 1, "rate": 99.8}],
 *      "at_n_max": {"low": 390, "mid": 398, "high": 404}},
 *    "forecast": [{"backends": 3, "change": -1, "load": 1, "refusal": null, "saturated": false,
 *      "rate": 812, "utilisation": 0.68, "p50_us": {"low": .., "mid": .., "high": ..},
 *      "p99_us": {..}, "capacity": {"low": 1194, "high": 1194, "at_least": false},
 *      "sentence": "with 3 backends: p99 48.0 - 60.1 ms (now 89.2); assumes ..."}],
 *    "scores": {"median_error": 0.12, "of": 14, "held": 12,
 *      "sentence": "of 14 forecasts 12 held", "rows": [{"at": .., "from": 3, "to": 4, "p99_us":
 * {..}, "actual_us": 51000, "rate_then": 800, "rate_now": 812, "comparable": true, "quantile":
 * "p99"}]}, "backends": [{"name": "app1", "verdict": "healthy", "sentence": "..", "alone": {..},
 *      "now": {..}, "rate": 203,
 *      "littles_law": {"in_flight": 2.1, "rate_times_time": 2.08}}]}   of the last 10 s
 *
 * forecast has n-1 (one lost), n+1 and, unless that is the same, 2n backends, then n with 1.5 and 2
 * times the load, in this order.  Intervals are meant to hold in eight of ten cases.
 */
#include <math.h>
#include <stdio.h>

#include "api.h"

#include "weir/base/clock.h"

/* NaN and infinities become null. */
static void put_us(struct json *j, const char *key, double us)
{
	json_key(j, key);
	if (us >= 0 && us < 1e15)
		json_u64(j, (uint64_t)llround(us));
	else
		json_null(j);
}

static void put_known(struct json *j, const char *key, double x, bool known)
{
	json_member_double(j, key, known ? x : (double)NAN);
}

static void put_side(struct json *j, const char *key, const struct scaling_side *side,
		     double p99_us)
{
	json_key(j, key);
	json_object_begin(j);
	json_member_u64(j, "n", (uint64_t)side->n);
	put_us(j, "p50_us", side->p50_us);
	put_us(j, "p95_us", side->p95_us);
	put_us(j, "p95_low_us", side->p95_low_us);
	put_us(j, "p95_high_us", side->p95_high_us);
	if (p99_us > 0)
		put_us(j, "p99_us", p99_us);
	json_object_end(j);
}

static void put_range(struct json *j, const char *key, const struct scaling_range *r, bool us)
{
	json_key(j, key);
	json_object_begin(j);
	if (us) {
		put_us(j, "low", r->low);
		put_us(j, "mid", r->mid);
		put_us(j, "high", r->high);
	} else {
		json_member_double(j, "low", r->low);
		json_member_double(j, "mid", r->mid);
		json_member_double(j, "high", r->high);
	}
	json_object_end(j);
}

/* ---- the verdict and its evidence ---- */

static void put_verdict(struct json *j, const struct pool *pool, const struct scaling *s,
			const struct conf *conf)
{
	enum verdict verdict = scaling_verdict(s);
	json_member_view(j, "pool", pool->conf->name);
	json_member_text(j, "verdict", verdict_name(verdict));
	json_member_bool(j, "problem", verdict_is_problem(verdict));
	json_member_text(j, "sentence", scaling_sentence(s));
	json_member_text(j, "meaning", verdict_sentence(verdict));
	json_key(j, "next");
	if (s->opinion.agreed && verdict == s->opinion.verdict) { /* else it would not be shown */
		json_object_begin(j);
		json_member_text(j, "verdict", verdict_name(s->opinion.next));
		json_member_u64(j, "looks", s->opinion.agreed);
		json_member_u64(j, "of", SCALING_HOLD);
		json_object_end(j);
	} else {
		json_null(j);
	}
	if (s->looked_us) {
		json_member_time(j, "looked_at", s->looked_us + clock_wall_us() - clock_us());
	} else {
		json_key(j, "looked_at");
		json_null(j);
	}
	json_member_double(j, "interval_s", (double)conf->insight.interval_us / 1e6);
}

static void put_fall(struct json *j, const struct scaling_fall *fall)
{
	json_key(j, "by_size");
	if (!fall->to) {
		json_null(j);
		return;
	}
	json_object_begin(j);
	json_member_bool(j, "found", fall->found);
	json_member_u64(j, "from", fall->from);
	json_member_u64(j, "to", fall->to);
	put_known(j, "rate_from", fall->rate_from, fall->rate_from > 0);
	put_known(j, "rate_to", fall->rate_to, fall->rate_to > 0);
	put_known(j, "z", fall->z, fall->rate_to > 0);
	json_object_end(j);
}

static void put_shift(struct json *j, const struct scaling *s)
{
	const struct scaling_shift *shift = &s->shift;
	json_key(j, "shared");
	json_object_begin(j);
	json_member_bool(j, "known", shift->known || s->fall.found);
	json_member_bool(j, "found", scaling_is_shared(s));
	put_known(j, "change", shift->change, shift->measured);
	put_known(j, "se", shift->se, shift->measured);
	put_known(j, "z", shift->z, shift->measured);
	put_fall(j, &s->fall);
	json_object_end(j);
}

static void put_change(struct json *j, const struct scaling_change *change)
{
	json_key(j, "changed");
	if (!change->at_us) {
		json_null(j);
		return;
	}
	json_object_begin(j);
	json_member_time(j, "at", change->at_wall_us);
	json_member_double(j, "factor", change->factor);
	json_member_text(j, "what", change->of_kind ? "kind" : "speed");
	json_object_end(j);
}

static void put_evidence(struct json *j, const struct scaling *s, uint64_t slo_us)
{
	json_key(j, "evidence");
	json_object_begin(j);
	json_member_double(j, "window_s", s->window_s);
	json_member_text(j, "window", s->window_s > 60 ? "10m" : s->window_s > 10 ? "1m" : "10s");
	json_key(j, "slo_p95_us");
	if (slo_us)
		json_u64(j, slo_us);
	else
		json_null(j);
	put_side(j, "alone", &s->alone, 0);
	put_side(j, "now", &s->now, s->now_p99_us);
	put_known(j, "growth", s->growth, s->growth > 0);
	json_member_double(j, "rate", s->rate);
	json_key(j, "mean");
	json_object_begin(j);
	put_us(j, "queue_us", s->queue_us);
	put_us(j, "connect_us", s->connect_us);
	put_us(j, "self_us", s->self_us);
	put_us(j, "total_us", s->total_us);
	json_object_end(j);
	json_member_double(j, "waiting_share", s->waiting);
	json_member_bool(j, "alone_in_pool", s->alone_in_pool);
	put_shift(j, s);
	put_change(j, &s->change);
	json_member_double(j, "cv2_arrivals", s->cv2_arrivals);
	json_member_double(j, "cv2_service", s->cv2_service);
	json_object_end(j);
}

/* What other nodes have at these backends, by shared: it is judged with what is sent here. */
static void put_others(struct json *j, const struct pool *pool, const struct scaling *s)
{
	double in_flight = 0, rate = 0;
	for (uint32_t i = 0; i < pool->n; i++) {
		in_flight += pool->backends[i]->others_in_flight;
		rate += pool->backends[i]->others_rate;
	}
	json_key(j, "other_nodes");
	json_object_begin(j);
	json_member_bool(j, "known", !s->deaf && !s->looked_deaf); /* as what is said beside it */
	json_member_double(j, "in_flight", in_flight);
	json_member_double(j, "rate", rate);
	json_object_end(j);
}

/* ---- curve and model ---- */

static void put_point(struct json *j, double n, double rate)
{
	json_member_double(j, "in_flight", n);
	json_member_double(j, "rate", rate);
}

static void put_curve(struct json *j, const struct scaling *s)
{
	json_key(j, "curve");
	json_array_begin(j);
	for (size_t i = 0; i < s->n_points; i++) {
		json_object_begin(j);
		put_point(j, s->points[i].n, s->points[i].rate);
		json_member_u64(j, "completions", (uint64_t)s->points[i].done);
		json_object_end(j);
	}
	json_array_end(j);
}

static void put_parameters(struct json *j, const struct fit *f)
{
	bool shown = !f->refusal, usl = shown && f->model == FIT_USL;
	bool kap = usl && f->usl.kap_significant, workers = shown && f->model == FIT_WORKERS;
	put_known(j, "rate_alone", usl ? f->usl.lam : f->workers.per_worker, usl || workers);
	put_known(j, "contention", f->usl.sig, usl);
	put_known(j, "coherency", f->usl.kap, kap);
	put_known(j, "peak_in_flight", f->usl.peak_n, kap);
	json_key(j, "se");
	json_object_begin(j);
	put_known(j, "rate_alone", f->usl.se_lam, usl);
	put_known(j, "contention", f->usl.se_sig, usl);
	put_known(j, "coherency", f->usl.se_kap, kap);
	json_object_end(j);
	put_known(j, "workers", f->workers.c, workers);
	put_known(j, "workers_low", f->workers.c_low, workers);
	put_known(j, "workers_high", f->workers.c_high, workers);
	json_key(j, "workers_at_least");
	if (workers)
		json_bool(j, !f->workers.saturated);
	else
		json_null(j);
}

static void put_model(struct json *j, const struct scaling *s)
{
	const struct fit *f = &s->fit;
	static const char *const kinds[] = {
	    [FIT_NONE] = NULL, [FIT_USL] = "usl", [FIT_WORKERS] = "workers"};
	bool shown = !f->refusal && s->looked_us, at_least = false;
	double capacity = shown ? fit_capacity(f, &at_least) : 0;
	json_key(j, "model");
	json_object_begin(j);
	json_member_text(j, "kind", kinds[f->model]);
	json_member_text(j, "refusal", s->looked_us ? f->refusal : "nobody has looked yet");
	put_known(j, "n_min", f->n_min, f->n_points > 0);
	put_known(j, "n_max", f->n_max, f->n_points > 0);
	json_member_u64(j, "levels", f->n_points);
	put_known(j, "r2", f->r2, f->model != FIT_NONE);
	put_known(j, "error", f->rms, f->model != FIT_NONE);
	put_parameters(j, f);
	put_known(j, "capacity", capacity, shown);
	json_member_bool(j, "capacity_at_least", at_least);
	json_key(j, "fitted");
	json_array_begin(j);
	double reach = f->n_max * FIT_REACH, step = reach > 64 ? reach / 64 : 1;
	for (double n = 1; shown && n <= reach; n += step) {
		json_object_begin(j);
		put_point(j, n, fit_rate(f, n));
		json_object_end(j);
	}
	json_array_end(j);
	struct scaling_range at_n_max = scaling_at_n_max(s);
	put_range(j, "at_n_max", &at_n_max, false);
	json_object_end(j);
}

/* ---- forecasts ---- */

struct capacity {
	char at[48];
};

/* "1458", or "1390 to 1458" */
static struct capacity capacity_of(const struct scaling_forecast *f)
{
	struct capacity c;
	int n = snprintf(c.at, sizeof(c.at), "%.0f", f->capacity_low);
	if (round(f->capacity_high) > round(f->capacity_low) && n > 0)
		snprintf(c.at + n, sizeof(c.at) - (size_t)n, " to %.0f", f->capacity_high);
	return c;
}

static void put_forecast_sentence(struct json *j, const struct scaling *s,
				  const struct scaling_forecast *f, double load)
{
	char text[400], times[40] = "";
	struct capacity capacity = capacity_of(f);
	int change = (int)f->backends - (int)s->n_backends;
	const char *shared = scaling_is_shared(s) ? "something behind them is shared"
			     : s->shift.known     ? "no shared bottleneck (as measured)"
						  : "no shared bottleneck";
	if (load != 1)
		snprintf(times, sizeof(times), " and %.3g times the load", load);
	if (f->refusal)
		snprintf(text, sizeof(text), "no forecast for %u backend%s%s: %s", f->backends,
			 f->backends == 1 ? "" : "s", times, f->refusal);
	else if (f->saturated)
		snprintf(text, sizeof(text),
			 "%u backend%s cannot take this load of %.0f requests/s: %s at %s%s",
			 f->backends, f->backends == 1 ? "" : "s", f->rate,
			 f->backends == 1 ? "it ends" : "they end",
			 f->capacity_at_least ? "no less than " : "", capacity.at);
	else
		snprintf(text, sizeof(text),
			 "with %u backend%s (%+d)%s: p99 %.1f - %.1f ms (now %.1f) at %.0f "
			 "requests/s; assumes the same mix and %s; based on 1 to %.0f in flight at "
			 "each, not valid above %.0f",
			 f->backends, f->backends == 1 ? "" : "s", change, times,
			 f->p99_us.low / 1e3, f->p99_us.high / 1e3, s->now_p99_us / 1e3, f->rate,
			 shared, s->fit.n_max, s->fit.n_max * FIT_REACH);
	json_member_text(j, "sentence", text);
}

static void put_forecast(struct json *j, const struct scaling *s, const struct scaling_forecast *f,
			 double load)
{
	bool stands = !f->refusal;
	json_object_begin(j);
	json_member_u64(j, "backends", f->backends);
	json_key(j, "change");
	json_i64(j, (int64_t)f->backends - (int64_t)s->n_backends);
	json_member_double(j, "load", load);
	json_member_text(j, "refusal", f->refusal);
	json_member_bool(j, "saturated", f->saturated);
	json_member_double(j, "rate", f->rate);
	put_known(j, "utilisation", f->utilisation, stands);
	if (stands && !f->saturated) {
		put_range(j, "p50_us", &f->p50_us, true);
		put_range(j, "p99_us", &f->p99_us, true);
	} else {
		json_key(j, "p50_us");
		json_null(j);
		json_key(j, "p99_us");
		json_null(j);
	}
	json_key(j, "capacity");
	if (stands) {
		json_object_begin(j);
		json_member_double(j, "low", f->capacity_low);
		json_member_double(j, "high", f->capacity_high);
		json_member_bool(j, "at_least", f->capacity_at_least);
		json_object_end(j);
	} else {
		json_null(j);
	}
	put_forecast_sentence(j, s, f, load);
	json_object_end(j);
}

/* In this order; twice as many as one are one more, and said once. */
static void put_forecasts(struct json *j, const struct scaling *s)
{
	static const double loads[N_FORECASTS] = {
	    [FORECAST_LESS] = 1,           [FORECAST_MORE] = 1,
	    [FORECAST_DOUBLE] = 1,         [FORECAST_HALF_MORE_LOAD] = 1.5,
	    [FORECAST_TWICE_THE_LOAD] = 2,
	};
	json_key(j, "forecast");
	json_array_begin(j);
	for (int i = 0; s->looked_us && i < N_FORECASTS; i++)
		if (i != FORECAST_DOUBLE || s->n_backends != 1)
			put_forecast(j, s, &s->forecasts[i], loads[i]);
	json_array_end(j);
}

static void put_scores(struct json *j, const struct scaling *s)
{
	double error = scaling_median_error(s);
	char text[64];
	json_key(j, "scores");
	json_object_begin(j);
	put_known(j, "median_error", error, error >= 0);
	json_member_u64(j, "of", s->n_comparable);
	json_member_u64(j, "held", s->n_held);
	snprintf(text, sizeof(text), "of %u forecast%s %u held", s->n_comparable,
		 s->n_comparable == 1 ? "" : "s", s->n_held);
	json_member_text(j, "sentence", s->n_comparable ? text : "no forecast has met its event");
	json_key(j, "rows");
	json_array_begin(j);
	for (unsigned i = 0; i < SCALING_SCORES && i < s->n_scores; i++) {
		const struct scaling_score *row =
		    &s->scores[(s->n_scores - 1 - i) % SCALING_SCORES];
		json_object_begin(j);
		json_member_time(j, "at", row->at_us + clock_wall_us() - clock_us());
		json_member_u64(j, "from", row->from);
		json_member_u64(j, "to", row->to);
		put_range(j, "p99_us", &row->p99_us, true);
		put_us(j, "actual_us", row->actual_us);
		json_member_double(j, "rate_then", row->rate_then);
		json_member_double(j, "rate_now", row->rate_now);
		json_member_bool(j, "comparable", row->comparable);
		json_member_text(j, "quantile", row->of_p50 ? "p50" : "p99");
		json_object_end(j);
	}
	json_array_end(j);
	json_object_end(j);
}

/* ---- backends ---- */

/* N = X R over the last ten seconds: when it does not hold, a number here is wrong. */
static void put_littles_law(struct json *j, const struct backend *b)
{
	static const enum phase phases[] = {PHASE_connect, PHASE_wait, PHASE_transfer};
	double in_flight = 0, time_us = 0, rate = 0;
	uint32_t n = 0;
	for (struct history_row row; b->history && n < 10 && history_at(b->history, n, &row); n++)
		in_flight += (double)row.in_flight;
	for (size_t i = 0; b->windows && i < ARRAY_LEN(phases); i++) {
		struct hist_total t;
		windows_read(b->windows, phases[i], WINDOW_10S, &t);
		time_us += hist_total_mean_us(&t);
		rate = t.span_us ? (double)t.n / ((double)t.span_us / 1e6) : 0;
	}
	json_key(j, "littles_law");
	json_object_begin(j);
	put_known(j, "in_flight", n ? in_flight / n : 0, n > 0);
	json_member_double(j, "rate_times_time", rate * time_us / 1e6);
	json_object_end(j);
}

static void put_members(struct json *j, const struct pool *pool)
{
	json_key(j, "backends");
	json_array_begin(j);
	for (uint32_t i = 0; i < pool->n; i++) {
		const struct backend *b = pool->backends[i];
		json_object_begin(j);
		json_member_view(j, "name", b->name);
		if (b->scaling) {
			json_member_text(j, "verdict",
					 verdict_name(scaling_part_verdict(b->scaling)));
			json_member_text(j, "sentence", scaling_part_sentence(b->scaling));
			put_side(j, "alone", &b->scaling->alone, 0);
			put_side(j, "now", &b->scaling->now, 0);
			json_member_double(j, "rate", b->scaling->rate);
		}
		put_littles_law(j, b);
		json_object_end(j);
	}
	json_array_end(j);
}

void api_scaling(struct call *call)
{
	const struct admin_host *host = &call->api->host;
	const struct pool *pool = call_pool(call);
	struct json j;
	if (!pool)
		return;
	const struct scaling *s = pool->state->scaling;
	if (!s) {
		call_error(call, 503, "there was no memory for this pool's statistics");
		return;
	}
	json_init(&j, &call->answer.body, false);
	json_object_begin(&j);
	put_verdict(&j, pool, s, host->conf(host->ctx));
	put_evidence(&j, s, pool->conf->slo.p95_us);
	put_others(&j, pool, s);
	put_curve(&j, s);
	put_model(&j, s);
	put_forecasts(&j, s);
	put_scores(&j, s);
	put_members(&j, pool);
	json_object_end(&j);
}
