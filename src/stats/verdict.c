/* SPDX-License-Identifier: MIT */
/* From the evidence to a verdict and the sentence that gives it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "scaling.h"

#include "weir/base/check.h"

#define GROWTH_MIN 2.0
#define SKEW_SERVICE 1.5    /* times the median of the others */
#define SKEW_SERVICE_US 500 /* and by that much: less is noise */
#define SKEW_RATE 1.5
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

static bool is_slow_host(const struct company *company, const struct scaling_member *m, char *say)
{
	double own = trait_of(m->part, TRAIT_SERVICE);
	double median = median_of_others(company, TRAIT_SERVICE, own);
	if (median <= 0 || own < SKEW_SERVICE * median || own - median < SKEW_SERVICE_US)
		return false;
	SAY("%.*s is slow even when it is alone: median service time %s, the others' %s "
	    "(%.0f requests at low load): a bad host; lower its weight or take it out",
	    (int)m->name.len, m->name.ptr, us(own).at, us(median).at, m->part->alone.n);
	return true;
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
	bool matters = in->slo_p95_us ? p->now.p95_us > (double)in->slo_p95_us
				      : p->now.p95_us > GROWTH_MIN * c->s->alone.p95_us;
	if (!matters || p->now.n < SCALING_SAMPLES || median <= 0 ||
	    p->now.p95_us < GROWTH_MIN * median || own < SKEW_RATE * rate)
		return false;
	SAY("%.*s has %.1f times the requests of the others and is slow under them: p95 %s, the "
	    "others' %s: clients are pinned or hashed unevenly; more backends will not help as "
	    "long as these stay together",
	    (int)m->name.len, m->name.ptr, rate > 0 ? own / rate : 0, us(p->now.p95_us).at,
	    us(median).at);
	return true;
}

/* ---- the rules, for a pool or one backend ---- */

static bool enough_data(const struct case_file *c)
{
	char *say = c->say;
	if (c->now->n < SCALING_SAMPLES) {
		SAY("%.0f of the %d requests that are needed, in the last minute", c->now->n,
		    SCALING_SAMPLES);
		return false;
	}
	if (c->alone->n < SCALING_SAMPLES) {
		SAY("%.0f requests that had a backend almost to themselves: %d are needed to tell "
		    "slow from slowed down",
		    c->alone->n, SCALING_SAMPLES);
		return false;
	}
	return true;
}

static enum verdict say_scalability(const struct case_file *c, double growth)
{
	const struct scaling_shift *shift = &c->s->shift;
	char *say = c->say, why[200];
	bool over = c->s->fit.model == FIT_USL && c->s->fit.usl.kap_significant &&
		    !c->s->fit.refusal && c->s->fit.n_max > c->s->fit.usl.peak_n;
	if (!shift->known)
		snprintf(why, sizeof(why),
			 "whether something behind the backends is shared is not known (draining "
			 "one of them for a minute would tell)");
	else if (shift->found)
		snprintf(why, sizeof(why),
			 "at equal load of its own a backend is %.0f %% slower (+- %.0f) when the "
			 "others have %.0f in flight instead of %.0f",
			 -100 * shift->change, 196 * shift->se, shift->high_load, shift->low_load);
	else
		snprintf(why, sizeof(why),
			 "a backend's speed does not depend on the others (%+.0f %% +- %.0f)",
			 100 * shift->change, 196 * shift->se);
	SAY("p95 is %s alone (%.0f requests) and %s now (%.0f): %.1f times as long; %s: %s",
	    us(c->alone->p95_us).at, c->alone->n, us(c->now->p95_us).at, c->now->n, growth, why,
	    shift->found ? "fix the shared part first, more backends help less than proportionally"
	    : over       ? "lower limits.requests below the peak now, then add backends"
			 : "add backends, or fewer requests at once");
	return shift->found ? VERDICT_scalability_shared : VERDICT_scalability;
}

/* Slow alone, or slow in company, or neither. */
static enum verdict judge_growth(const struct case_file *c)
{
	double slo = (double)c->in->slo_p95_us;
	double growth = c->alone->p95_us > 0 ? c->now->p95_us / c->alone->p95_us : 0;
	char *say = c->say;
	if (slo > 0 && c->now->n >= SCALING_SAMPLES && c->now->p95_high_us < slo) {
		SAY("p95 is %s, within the objective of %s (%.0f requests)", us(c->now->p95_us).at,
		    us(slo).at, c->now->n);
		return VERDICT_healthy;
	}
	if (!enough_data(c))
		return VERDICT_not_enough_data;
	if (slo > 0 && c->alone->p95_low_us > slo) {
		SAY("p95 is %s even for requests that are alone at their backend (%.0f of them, at "
		    "least %s), the objective is %s: more backends will not help; look at the code",
		    us(c->alone->p95_us).at, c->alone->n, us(c->alone->p95_low_us).at, us(slo).at);
		return VERDICT_performance;
	}
	bool slow_now = slo > 0 ? c->now->p95_us > slo && c->alone->p95_high_us < slo : true;
	if (slow_now && growth > GROWTH_MIN)
		return say_scalability(c, growth);
	SAY("p95 is %s alone (%.0f requests) and %s now (%.0f)", us(c->alone->p95_us).at,
	    c->alone->n, us(c->now->p95_us).at, c->now->n);
	return VERDICT_healthy;
}

/* Time lost in weir itself: in its queue, connecting, or its loop. */
static bool is_balancer(struct scaling *s, const struct scaling_input *in, char *say)
{
	double lag = in->lag_us >= LAG_US ? (double)in->lag_us / 2 : 0;
	double own = s->queue_us + s->connect_us + s->self_us + lag;
	s->waiting = s->total_us > 0 ? fmin(own / (s->total_us + lag), 1) : 0;
	if (s->now.n < SCALING_SAMPLES || own < WAITING_US || s->waiting < WAITING_SHARE)
		return false;
	if (in->slo_p95_us && s->now.p95_high_us < (double)in->slo_p95_us)
		return false;
	const char *advice = "weir itself is short of CPU: add workers";
	if (s->queue_us >= s->connect_us && s->queue_us >= s->self_us + lag)
		advice = "the backends are at limits.requests: raise it, or add backends";
	else if (s->connect_us >= s->self_us + lag)
		advice = "connecting takes long: raise keepalive.max_idle, look at the network; a "
			 "second and more is a lost SYN, often a backend's listen backlog";
	SAY("of %s mean latency %.0f %% pass before a backend works: queue %s, connecting %s, weir "
	    "%s, half of the longest loop turn %s: %s",
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

/* True when the sentence of this look belongs to the verdict that holds now. */
static bool opine(struct scaling_opinion *o, enum verdict verdict)
{
	if (verdict == o->verdict) {
		o->agreed = 0;
		return true;
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
}

/* One that is skewed makes the pool so; `say` is about the first of them. */
static bool judge_members(const struct scaling *s, const struct scaling_input *in, char *say)
{
	struct company company;
	bool any = false;
	meet(in, &company);
	for (size_t i = 0; i < in->n; i++) {
		const struct scaling_member *m = &in->members[i];
		char own[SCALING_SENTENCE];
		if (!m->part)
			continue;
		struct case_file c = {s, in, &m->part->alone, &m->part->now, own};
		enum verdict verdict;
		bool skewed =
		    m->usable && (is_slow_host(&company, m, own) || is_hot(&c, &company, m));
		if (skewed && !any)
			snprintf(say, SCALING_SENTENCE, "%s", own);
		any |= skewed;
		verdict = skewed ? VERDICT_skewed : judge_growth(&c);
		settle(&m->part->opinion, m->part->sentence, verdict, own);
	}
	return any;
}

void scaling_judge(struct scaling *s, const struct scaling_input *in)
{
	char say[SCALING_SENTENCE], skew[SCALING_SENTENCE];
	struct case_file c = {s, in, &s->alone, &s->now, say};
	bool skewed = judge_members(s, in, skew);
	enum verdict verdict;
	if (is_balancer(s, in, say)) {
		verdict = VERDICT_balancer;
	} else {
		verdict = judge_growth(&c);
		if (skewed && verdict != VERDICT_performance) {
			verdict = VERDICT_skewed;
			snprintf(say, sizeof(say), "%s", skew);
		}
	}
	settle(&s->opinion, s->sentence, verdict, say);
}
