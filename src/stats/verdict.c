/* SPDX-License-Identifier: MIT */
/* From the evidence to a verdict and the sentence that gives it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "scaling.h"

#include "weir/base/check.h"

#define GROWTH_MIN 2.0
#define GROWTH_SOME 1.2 /* of who misses an objective that it holds alone */
#define TIGHT 0.67      /* of the objective, alone */
#define CHANGE_SAID_US (UINT64_C(900) * 1000000)
#define UNSETTLED_S 30
#define SLOWED_US (UINT64_C(300) * 1000000) /* load that slows is no news for so long */
#define BLOCKS_US (UINT64_C(1000000) * (2 * SCALING_BLOCK_S + 1))
#define HOT_AFTER_US (UINT64_C(60) * 1000000) /* after a change a backend has its share */
#define SKEW_SERVICE 1.5                      /* times what the others take */
#define SKEW_SERVICE_US 500                   /* and by that much: less is noise */
#define SKEW_RATE 1.5
#define SKEW_HOLD 1.25  /* who was called so remains so above it, that none flickers */
#define FINE_KEEP 0.998 /* of a rate, at each look */
#define WAITING_SHARE 0.2
#define WAITING_US 1000 /* a share of less is nobody's problem */
#define LAG_US 50000    /* a shorter turn is the scheduler's noise */

static const struct {
	const char *name, *sentence;
	bool is_problem;
} verdicts[] = {
#define VERDICT(name, is_problem, sentence) {#name, sentence, is_problem},
#include "weir/tbl/verdicts.def"
#undef VERDICT
};

const char *verdict_name(enum verdict verdict)
{
	check((size_t)verdict < N_VERDICTS);
	return verdicts[verdict].name;
}

const char *verdict_sentence(enum verdict verdict)
{
	check((size_t)verdict < N_VERDICTS);
	return verdicts[verdict].sentence;
}

bool verdict_is_problem(enum verdict verdict)
{
	check((size_t)verdict < N_VERDICTS);
	return verdicts[verdict].is_problem;
}

/* ---- text ---- */

struct text {
	char at[16];
};

/* "850 us", "12.3 ms", "1.24 s" */
static struct text us(double x)
{
	struct text t;
	if (x < 1000)
		snprintf(t.at, sizeof(t.at), "%.0f us", x);
	else if (x < 1e6)
		snprintf(t.at, sizeof(t.at), "%.*f ms", x < 1e5 ? 1 : 0, x / 1e3);
	else
		snprintf(t.at, sizeof(t.at), "%.2f s", fmin(x, 1e12) / 1e6);
	return t;
}

#define SAY(...) snprintf(say, SCALING_SENTENCE, __VA_ARGS__)

/* ---- one backend against the others ---- */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

enum trait { TRAIT_SERVICE, TRAIT_NOW, TRAIT_RATE, N_TRAITS };

static double trait_of(const struct scaling_part *p, enum trait trait)
{
	switch (trait) {
	case TRAIT_SERVICE:
		return p->alone.n >= SCALING_SAMPLES ? p->alone.p50_us : 0;
	case TRAIT_NOW:
		return p->now.n >= SCALING_SAMPLES / 4 ? p->now.p95_us : 0;
	case TRAIT_RATE:
	case N_TRAITS:
		break;
	}
	return p->weight > 0 ? p->rate / p->weight : 0;
}

/* Each trait of the usable backends that have it, in order; of at most 256 of them. */
struct company {
	double sorted[N_TRAITS][256];
	size_t n[N_TRAITS];
};

static void meet(const struct scaling_input *in, struct company *company)
{
	for (int t = 0; t < N_TRAITS; t++) {
		double *values = company->sorted[t];
		size_t n = 0;
		for (size_t i = 0; i < in->n && n < ARRAY_LEN(company->sorted[t]); i++) {
			const struct scaling_member *m = &in->members[i];
			double x = m->part && m->usable ? trait_of(m->part, (enum trait)t) : 0;
			if (x > 0)
				values[n++] = x;
		}
		qsort(values, n, sizeof(*values), by_value);
		company->n[t] = n;
	}
}

/* Without one of value `own`, when there is one; 0: there are no others. */
static double median_of_others(const struct company *company, enum trait trait, double own)
{
	const double *values = company->sorted[trait];
	size_t n = company->n[trait];
	const double *self = n ? bsearch(&own, values, n, sizeof(own), by_value) : NULL;
	if (!self)
		return n ? values[n / 2] : 0;
	size_t middle = (n - 1) / 2;
	return n < 2 ? 0 : values[middle + (middle >= (size_t)(self - values))];
}

struct case_file {
	const struct scaling *s;
	const struct scaling_input *in;
	const struct scaling_side *alone, *now;
	char *say;
};

/* How many times as long as at the others a request takes there; 0: not known. */
static double slowness(const struct scaling *s, const struct company *company,
		       const struct scaling_part *part, bool *sure)
{
	double by_level = scaling_peer_factor(s, part, sure), own = trait_of(part, TRAIT_SERVICE);
	double median = median_of_others(company, TRAIT_SERVICE, own);
	if (*sure || own <= 0 || median <= 0)
		return by_level;
	/* where next to nobody is met at the same level; this many are sure */
	*sure = by_level <= 0;
	return *sure ? own / median : by_level;
}

/* ---- the state of a backend that is called a bad host: it begins at 1.5, and ends at 1.25 */

static void set_slower(const struct scaling *s, const struct company *company,
		       struct scaling_part *part)
{
	bool sure, was = part->slower > 0;
	double factor = slowness(s, company, part, &sure);
	double longer_us = part->now.p50_us * (1 - 1 / fmax(factor, 1));
	if (factor <= 0) /* nobody asks it any more: that is how it stays */
		return;
	if (was ? factor < SKEW_HOLD
		: !sure || factor < SKEW_SERVICE || longer_us < SKEW_SERVICE_US)
		factor = 0;
	part->slower = factor;
}

static void say_slow_host(const struct company *company, const struct scaling_member *m, char *say)
{
	double own = trait_of(m->part, TRAIT_SERVICE);
	double median = median_of_others(company, TRAIT_SERVICE, own);
	char alone[64] = "";
	if (own > median && median > 0)
		snprintf(alone, sizeof(alone), " (median alone %s, the others' %s)", us(own).at,
			 us(median).at);
	SAY("%.*s is slower than the others: with as much to do a request takes %.1f times as long "
	    "there%s: a bad host; lower its weight or take it out",
	    (int)m->name.len, m->name.ptr, m->part->slower, alone);
}

/* More to do than the others, and slower for it. */
static bool is_hot(const struct case_file *c, const struct company *company,
		   const struct scaling_member *m)
{
	const struct scaling_part *p = m->part;
	const struct scaling_input *in = c->in;
	double own = trait_of(p, TRAIT_RATE);
	double rate = median_of_others(company, TRAIT_RATE, own);
	double median = median_of_others(company, TRAIT_NOW, trait_of(p, TRAIT_NOW));
	char *say = c->say;
	bool was = p->opinion.verdict == VERDICT_skewed;
	double slower_min = was ? SKEW_HOLD : GROWTH_MIN, rate_min = was ? SKEW_HOLD : SKEW_RATE;
	bool matters = in->slo_p95_us ? p->now.p95_us > (double)in->slo_p95_us
				      : p->now.p95_us > GROWTH_MIN * c->s->alone.p95_us;
	if (c->s->epoch_cause && in->now_us < c->s->epoch_us + HOT_AFTER_US)
		return false;
	if (!matters || p->now.n < SCALING_SAMPLES || median <= 0 ||
	    p->now.p95_us < slower_min * median || own < rate_min * rate)
		return false;
	SAY("%.*s has %.1f times the requests of the others and is slow under them: p95 %s, the "
	    "others' %s: clients are pinned or hashed unevenly; more backends will not help as "
	    "long as these stay together",
	    (int)m->name.len, m->name.ptr, rate > 0 ? own / rate : 0, us(p->now.p95_us).at,
	    us(median).at);
	return true;
}

/* ---- the rules, for a pool or one backend ---- */

/* "slower since 14:05 at equal load (3.0 times as long): a deploy, or other work?; " */
static void say_change(const struct case_file *c, char *out, size_t size)
{
	const struct scaling_change *change = &c->s->change;
	char clock[8] = "", much[32];
	time_t at = (time_t)(change->at_wall_us / 1000000);
	struct tm tm;
	*out = '\0';
	if (!change->at_us || c->in->now_us > change->at_us + CHANGE_SAID_US)
		return;
	if (localtime_r(&at, &tm))
		strftime(clock, sizeof(clock), "%H:%M", &tm);
	snprintf(much, sizeof(much), "%.1f",
		 change->factor > 1 ? change->factor : 1 / change->factor);
	if (change->of_kind)
		snprintf(out, size,
			 "the kind of requests changed at %s (at equal load they are at least %s "
			 "times as %s); ",
			 clock, much, change->factor > 1 ? "long" : "quick");
	else
		snprintf(out, size,
			 "%s since %s at equal load (at least %s times as %s): a deploy?; ",
			 change->factor > 1 ? "slower" : "quicker", clock, much,
			 change->factor > 1 ? "long" : "quick");
}

static enum verdict say_learning(const struct case_file *c, double n, const char *of)
{
	char *say = c->say, change[160];
	say_change(c, change, sizeof(change));
	SAY("%slearning (%.0f of %d requests %s%s%s)", change, n, SCALING_SAMPLES, of,
	    c->s->epoch_cause ? ", since " : "", c->s->epoch_cause ? c->s->epoch_cause : "");
	return VERDICT_not_enough_data;
}

static enum verdict say_deaf(const struct case_file *c)
{
	char *say = c->say;
	SAY("learning: p95 is %s, and what other nodes send to these backends is not known: "
	    "whether "
	    "that is load cannot be told",
	    us(c->now->p95_us).at);
	return VERDICT_not_enough_data;
}

/* Slow in company would be another verdict, and who is called alone may have met others. */
static bool is_doubtful(const struct case_file *c, double growth_min)
{
	return c->alone->p95_least_us < c->alone->p95_us &&
	       c->now->p95_us > growth_min * c->alone->p95_least_us;
}

static enum verdict say_not_alone(const struct case_file *c)
{
	char *say = c->say;
	SAY("learning: p95 is %s, and between %s and %s alone, since some of those met requests of "
	    "other nodes there: an hour with less load would tell",
	    us(c->now->p95_us).at, us(c->alone->p95_least_us).at, us(c->alone->p95_us).at);
	return VERDICT_not_enough_data;
}

/* ", 10 ms alone": with who was alone. */
static const char *alone_where(const struct case_file *c)
{
	return c->alone == &c->s->alone && c->s->alone_in_pool ? "alone in the pool" : "alone";
}

/* "with one more: p99 48.0 to 60.1 ms (now 89.2)", or why nobody knows. */
static void say_forecast(const struct case_file *c, char *out, size_t size)
{
	const struct scaling_forecast *f = &c->s->forecasts[FORECAST_MORE];
	if (f->refusal)
		snprintf(out, size, "what one more would bring is not known (%s)", f->refusal);
	else if (f->saturated)
		snprintf(out, size, "one more is not enough for %.0f requests/s", f->rate);
	else
		snprintf(out, size, "with one more p99 would be %s to %s (now %s)",
			 us(f->p99_us.low).at, us(f->p99_us.high).at, us(c->s->now_p99_us).at);
}

/* ", which alone is 92 % of the objective": quicker code would leave room, too. */
static void say_tight(const struct case_file *c, char *out, size_t size)
{
	double slo = (double)c->in->slo_p95_us, share = slo > 0 ? c->alone->p95_us / slo : 0;
	*out = '\0';
	if (share > TIGHT && share < 1)
		snprintf(out, size,
			 ", or look at the code: alone it takes %.0f %% of the objective",
			 100 * share);
}

/* Above its peak a backend does less the more it has at once. */
static bool is_over_the_peak(const struct scaling *s)
{
	return s->fit.model == FIT_USL && s->fit.usl.kap_significant && !s->fit.refusal &&
	       s->fit.n_max > s->fit.usl.peak_n;
}

static enum verdict say_shared(const struct case_file *c, double growth)
{
	const struct scaling_shift *shift = &c->s->shift;
	char *say = c->say;
	SAY("slow under load, and the backends share a bottleneck: p95 is %s %s and %s now (%.1f "
	    "times); a request takes %.0f %% longer (+- %.0f) at a backend with as much to do when "
	    "the others are busier: fix what they share first, more backends help less",
	    us(c->alone->p95_us).at, alone_where(c), us(c->now->p95_us).at, growth,
	    100 * shift->change, 196 * shift->se);
	return VERDICT_scalability_shared;
}

static enum verdict say_shared_by_size(const struct case_file *c, double growth)
{
	const struct scaling_fall *fall = &c->s->fall;
	char *say = c->say;
	SAY("slow under load, and the backends share a bottleneck: p95 is %s %s and %s now (%.1f "
	    "times); with more than it could do a backend did %.0f requests/s as one of %u and "
	    "%.0f as one of %u, and alone it is as quick as before: fix what they share first, "
	    "more backends help less",
	    us(c->alone->p95_us).at, alone_where(c), us(c->now->p95_us).at, growth, fall->rate_from,
	    fall->from, fall->rate_to, fall->to);
	return VERDICT_scalability_shared;
}

static enum verdict say_scalability(const struct case_file *c, double growth)
{
	const struct scaling_shift *shift = &c->s->shift;
	char *say = c->say, forecast[200], tight[96];
	if (shift->found)
		return say_shared(c, growth);
	if (c->s->fall.found)
		return say_shared_by_size(c, growth);
	say_forecast(c, forecast, sizeof(forecast));
	say_tight(c, tight, sizeof(tight));
	SAY("slow under load: p95 is %s %s (%.0f requests) and %s now (%.1f times)%s: %s%s; %s",
	    us(c->alone->p95_us).at, alone_where(c), c->alone->n, us(c->now->p95_us).at, growth,
	    shift->known           ? ", and a backend is not slower when the others are busier"
	    : c->s->n_backends > 1 ? ", whether they share a bottleneck is not known"
				   : "",
	    is_over_the_peak(c->s) ? "lower limits.requests below the peak now, then add backends"
				   : "add backends",
	    tight, forecast);
	return VERDICT_scalability;
}

static enum verdict say_performance(const struct case_file *c)
{
	char *say = c->say, change[160];
	say_change(c, change, sizeof(change));
	if (c->alone->p95_us > (double)c->in->slo_p95_us)
		SAY("%sslow on its own: p95 is %s for requests that are %s (%.0f of them), the "
		    "objective is %s: look at the code, its queries and calls; the load from here "
		    "is not the cause",
		    change, us(c->alone->p95_us).at, alone_where(c), c->alone->n,
		    us((double)c->in->slo_p95_us).at);
	else
		SAY("%sslow on its own: p95 is %s for requests that are %s (%.0f of them) and %s "
		    "now, which is about the objective of %s: load adds little; look at the code, "
		    "its queries and calls",
		    change, us(c->alone->p95_us).at, alone_where(c), c->alone->n,
		    us(c->now->p95_us).at, us((double)c->in->slo_p95_us).at);
	return VERDICT_performance;
}

static enum verdict say_healthy(const struct case_file *c, double seen_p95)
{
	char *say = c->say, change[160];
	say_change(c, change, sizeof(change));
	SAY("%shealthy: p95 is %s, within the objective of %s (%.0f requests)", change,
	    us(seen_p95).at, us((double)c->in->slo_p95_us).at, c->now->n);
	return VERDICT_healthy;
}

static enum verdict say_steady(const struct case_file *c)
{
	char *say = c->say, change[160];
	say_change(c, change, sizeof(change));
	SAY("%sload does not slow it: p95 is %s alone and %s now (%.0f requests); whether %s is "
	    "good enough you must say: pools." VIEW_FMT ".slo.p95",
	    change, us(c->alone->p95_us).at, us(c->now->p95_us).at, c->now->n,
	    us(c->now->p95_us).at, VIEW_ARG(c->in->pool));
	return VERDICT_steady;
}

/*
 * Everybody at equal load has just become slower: whether that stays, and is a change and
 * no load, is known in half a minute.  Until then nobody is told to add backends.
 */
static bool is_unsettled(const struct case_file *c)
{
	const struct scaling *s = c->s;
	double age_s = (double)(c->in->now_us - s->change.at_us) / 1e6;
	if (scaling_is_shared(s))
		return false;
	bool known = (s->slowed_us && c->in->now_us < s->slowed_us + SLOWED_US) ||
		     (s->today.utilisation > FULL_FROM && s->drifting <= 1.2);
	if (!known && c->in->now_us < s->fine_us + BLOCKS_US) /* the first seconds of a change? */
		return true;
	if (s->change.at_us && age_s < UNSETTLED_S + 15)
		return c->alone->n < SCALING_SAMPLES * 2;
	return s->drifting > 1.2 && (double)(c->in->now_us - s->drift_from_us) / 1e6 < UNSETTLED_S;
}

static enum verdict judge_slowed(const struct case_file *c, double growth)
{
	char *say = c->say, change[160], times[48] = "";
	bool unsettled = is_unsettled(c);
	bool load = c->s->today.utilisation > FULL_FROM || scaling_load_slows(c->s, growth);
	if (!unsettled && (scaling_is_shared(c->s) || load))
		return say_scalability(c, growth);
	say_change(c, change, sizeof(change));
	double much = fmax(c->s->drifting, c->s->change.at_us ? c->s->change.factor : 1);
	if (much > GROWTH_SOME)
		snprintf(times, sizeof(times), " (%.1f times at equal load)", much);
	if (unsettled)
		SAY("%slearning: requests have become slower%s; whether that is load or a change "
		    "is known in half a minute",
		    change, times);
	else
		SAY("%slearning: p95 is %s %s and %s now, but who meets more others does not take "
		    "as much longer in the same seconds: whether that is load or other requests "
		    "is not known",
		    change, us(c->alone->p95_us).at, alone_where(c), us(c->now->p95_us).at);
	return VERDICT_not_enough_data;
}

/*
 * The objective is not held: slow alone, or slow in company?  Whoever holds it alone and does
 * not in company is slow under load, however little is left alone: the objective says what is
 * slow, and there more backends would hold it.
 */
static enum verdict judge_broken(const struct case_file *c, double growth)
{
	double slo = (double)c->in->slo_p95_us;
	if (c->alone->p95_low_us > slo)
		return say_performance(c);
	bool by_load = c->alone->p95_high_us < slo && c->now->p95_low_us > slo;
	if (growth > GROWTH_MIN || by_load || (c->alone->p95_us < slo && growth > GROWTH_SOME))
		return judge_slowed(c, growth);
	if (is_doubtful(c, c->alone->p95_least_us < slo ? GROWTH_SOME : GROWTH_MIN))
		return say_not_alone(c);
	return say_performance(c); /* as long alone as now, and that is about the objective */
}

/* Slow alone, or slow in company, or neither. */
static enum verdict judge_growth(const struct case_file *c)
{
	double slo = (double)c->in->slo_p95_us;
	double growth = c->alone->p95_us > 0 ? c->now->p95_us / c->alone->p95_us : 0;
	bool pool = c->now == &c->s->now;
	double seen = pool ? c->s->seen_p95_us : c->now->p95_us;
	if (c->now->n < SCALING_SAMPLES)
		return say_learning(c, c->now->n, "of the last minutes");
	if (slo > 0 && seen <= slo)
		return say_healthy(c, seen);
	if (c->s->deaf)
		return say_deaf(c);
	if (c->alone->n < SCALING_SAMPLES)
		return say_learning(c, c->alone->n, "that had a backend to themselves");
	if (slo > 0)
		return judge_broken(c, growth);
	if (growth > GROWTH_MIN)
		return judge_slowed(c, growth);
	return is_doubtful(c, GROWTH_MIN) ? say_not_alone(c) : say_steady(c);
}

/* Their limit is at least what they can work on: who waits does so for them. */
static bool limit_is_enough(const struct scaling *s, const struct scaling_input *in)
{
	uint32_t limit = 0;
	for (size_t i = 0; i < in->n; i++)
		if (in->members[i].usable && in->members[i].limit > limit)
			limit = in->members[i].limit;
	return limit && !s->fit.refusal && s->fit.model == FIT_WORKERS &&
	       s->fit.workers.saturated && limit >= s->fit.workers.c_low;
}

/* Time lost in weir itself: in its queue, connecting, or its loop. */
static bool is_balancer(struct scaling *s, const struct scaling_input *in, char *say)
{
	double lag = in->lag_us >= LAG_US ? (double)in->lag_us / 2 : 0;
	double own = s->queue_us + s->connect_us + s->self_us + lag;
	s->waiting = s->total_us > 0 ? fmin(own / (s->total_us + lag), 1) : 0;
	if (s->now.n < SCALING_SAMPLES || own < WAITING_US || s->waiting < WAITING_SHARE)
		return false;
	if (in->slo_p95_us && s->seen_p95_high_us < (double)in->slo_p95_us)
		return false;
	const char *advice = "weir itself is short of CPU: add workers";
	if (s->queue_us >= s->connect_us && s->queue_us >= s->self_us + lag)
		advice = limit_is_enough(s, in)
			     ? "the backends are at limits.requests, which is as many as they can "
			       "work on at once: add backends"
			     : "the backends are at limits.requests: if they can work on more at "
			       "once raise it, else add backends";
	else if (s->connect_us >= s->self_us + lag)
		advice = "connecting takes long: raise keepalive.max_idle, look at the network; a "
			 "second and more is a lost SYN, often a backend's listen backlog";
	SAY("weir itself: of %s mean latency %.0f %% pass before a backend works: queue %s, "
	    "connecting %s, weir %s, half of the longest loop turn %s: %s",
	    us(s->total_us).at, 100 * s->waiting, us(s->queue_us).at, us(s->connect_us).at,
	    us(s->self_us).at, us(lag).at, advice);
	return true;
}

/* ---- opinions ---- */

enum verdict scaling_part_verdict(const struct scaling_part *part)
{
	if (!part)
		return VERDICT_not_enough_data;
	return part->odd[0] ? VERDICT_odd : part->opinion.verdict;
}

const char *scaling_part_sentence(const struct scaling_part *part)
{
	if (!part)
		return "";
	return part->odd[0] ? part->odd : part->sentence;
}

void scaling_part_odd(struct scaling_part *part, const char *why)
{
	snprintf(part->odd, sizeof(part->odd), "%s", why);
}

enum verdict scaling_verdict(const struct scaling *s)
{
	if (!s)
		return VERDICT_not_enough_data;
	return s->odd[0] ? VERDICT_odd : s->opinion.verdict;
}

const char *scaling_sentence(const struct scaling *s)
{
	if (!s)
		return "";
	return s->odd[0] ? s->odd : s->sentence;
}

void scaling_odd(struct scaling *s, const char *who)
{
	snprintf(s->odd, sizeof(s->odd), "%s", who);
}

/*
 * True when the sentence of this look belongs to the verdict that holds now.  "Healthy" does
 * not outlast two looks that see the objective broken, whatever they find the cause to be.
 */
static bool opine(struct scaling_opinion *o, enum verdict verdict)
{
	if (verdict == o->verdict) {
		o->agreed = o->against = 0;
		return true;
	}
	if (o->verdict == VERDICT_healthy && ++o->against >= SCALING_HOLD - 1) {
		o->verdict = VERDICT_not_enough_data;
		o->against = 0;
		if (verdict == o->verdict) {
			o->agreed = 0;
			return true;
		}
	}
	o->agreed = verdict == o->next ? o->agreed + 1 : 1;
	o->next = verdict;
	if (o->agreed < SCALING_HOLD)
		return false;
	o->verdict = verdict;
	o->agreed = 0;
	return true;
}

static void settle(struct scaling_opinion *o, char *sentence, enum verdict verdict,
		   const char *said)
{
	if (opine(o, verdict))
		snprintf(sentence, SCALING_SENTENCE, "%s", said);
	else if (o->verdict == VERDICT_not_enough_data) /* what came is no reason for it */
		snprintf(sentence, SCALING_SENTENCE,
			 "%u of the %d looks that must agree say %s: %s", o->agreed, SCALING_HOLD,
			 verdict_name(verdict), said);
	else /* figures of earlier looks are no longer so */
		snprintf(sentence, SCALING_SENTENCE,
			 "so far: %s; %u of the %d looks that must agree to change that: %s",
			 verdict_sentence(o->verdict), o->agreed, SCALING_HOLD, said);
}

/* What was found of the backends. */
struct findings {
	bool any_skewed;
	double slower;                    /* the worst host; 0: none is bad */
	unsigned n_judged, n_performance; /* of the others */
	char say[SCALING_SENTENCE];       /* of the first that is skewed */
};

static void judge_member(const struct scaling *s, const struct scaling_input *in,
			 const struct company *company, const struct scaling_member *m,
			 struct findings *f)
{
	char own[SCALING_SENTENCE];
	struct case_file c = {s, in, &m->part->alone, &m->part->now, own};
	bool slow = m->usable && m->part->slower > 0;
	bool skewed = slow || (m->usable && is_hot(&c, company, m));
	if (slow)
		say_slow_host(company, m, own);
	enum verdict verdict = skewed ? VERDICT_skewed : judge_growth(&c);
	if (skewed && (!f->any_skewed || (slow && f->slower <= 0)))
		snprintf(f->say, sizeof(f->say), "%s", own);
	f->any_skewed |= skewed;
	f->slower = fmax(f->slower, slow ? m->part->slower : 0);
	f->n_judged += verdict != VERDICT_not_enough_data && !slow;
	f->n_performance += verdict == VERDICT_performance;
	settle(&m->part->opinion, m->part->sentence, verdict, own);
}

/* One that is skewed makes the pool so. */
static void judge_members(const struct scaling *s, const struct scaling_input *in,
			  struct findings *f)
{
	struct company company;
	*f = (struct findings){.any_skewed = false};
	meet(in, &company);
	for (size_t i = 0; i < in->n; i++)
		if (in->members[i].part)
			set_slower(s, &company, in->members[i].part);
	for (size_t i = 0; i < in->n; i++)
		if (in->members[i].part)
			judge_member(s, in, &company, &in->members[i], f);
}

/*
 * Slow alone is the pool's fault and not that of one, if the others are slow alone, too: most of
 * those that can be judged, or for certain if all of what is slow was of the bad host.
 */
static bool is_by_one(const struct case_file *c, const struct findings *f, enum verdict of_pool)
{
	if (!f->any_skewed)
		return false;
	if (of_pool != VERDICT_performance)
		return true;
	bool others_too = f->n_performance && 2 * f->n_performance >= f->n_judged;
	return f->slower > 0 && !others_too &&
	       c->alone->p95_low_us < f->slower * (double)c->in->slo_p95_us;
}

/* Nobody is slow under what comes now. */
static void note_fine(struct scaling *s, const struct scaling_input *in)
{
	double slo = (double)in->slo_p95_us;
	if (slo > 0 ? s->seen_p95_us > slo : s->growth > GROWTH_MIN)
		return;
	s->fine_us = in->now_us;
	if (s->now.n < SCALING_SAMPLES || s->n_blocks == s->member_block ||
	    (slo <= 0 && s->growth <= 0))
		return;
	if (s->change.behind)
		s->change = (struct scaling_change){.at_us = 0};
	const struct scaling_block *last = &s->blocks[(s->n_blocks - 1) % SCALING_BLOCKS];
	s->fine_rate = fmax(s->fine_rate * FINE_KEEP, last->served);
}

void scaling_judge(struct scaling *s, const struct scaling_input *in)
{
	char say[SCALING_SENTENCE];
	struct findings f;
	struct case_file c = {s, in, &s->alone, &s->now, say};
	note_fine(s, in);
	judge_members(s, in, &f);
	enum verdict verdict;
	if (is_balancer(s, in, say)) {
		verdict = VERDICT_balancer;
	} else {
		verdict = judge_growth(&c);
		if (is_by_one(&c, &f, verdict)) {
			verdict = VERDICT_skewed;
			snprintf(say, sizeof(say), "%s", f.say);
		}
	}
	settle(&s->opinion, s->sentence, verdict, say);
	if (s->opinion.verdict == VERDICT_scalability)
		s->slowed_us = in->now_us;
}
