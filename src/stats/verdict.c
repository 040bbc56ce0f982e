/* SPDX-License-Identifier: MIT */
/*
 * From the evidence to a verdict: the first rule that holds.  Who differs from the others is found
 * in verdict_host.c, how it is said in verdict_say.c, and since when it holds in opinion.c.
 */
#include "verdict.h"

#include <math.h>
#include <stdio.h>

#define UNSETTLED_S 30
#define SLOWED_US (UINT64_C(300) * 1000000) /* load that slows is no news for so long */
#define BLOCKS_US (UINT64_C(1000000) * (2 * SCALING_BLOCK_S + 1))
#define MISSED_LEAST 30
#define NO_LOAD_TIMES 3 /* the longest p95 of the time when nobody was slow */
#define NO_LOAD_SIGMAS 3
#define USUAL_BLOCKS 6
#define USUAL_SKIP 3    /* the newest of them */
#define FINE_KEEP 0.998 /* of a rate, at each look */
#define DRIFT_SHARE 0.5 /* of the logarithm of the growth: what is left is little */
#define DRIFT_KEEP 0.25 /* and then until it is less: what is usual is learned anew */
#define WAITING_SHARE 0.2
#define WAITING_US 1000 /* a share of less is nobody's problem */
#define LAG_US 50000    /* a shorter turn is the scheduler's noise */

/* ---- the rules, for a pool or one backend ---- */

static bool has_few_now(const struct case_file *c)
{
	return c->now->n < SCALING_SAMPLES;
}

static bool has_objective(const struct case_file *c)
{
	return c->in->slo_p95_us > 0;
}

static bool is_healthy(const struct case_file *c)
{
	return has_objective(c) && c->seen_us <= (double)c->in->slo_p95_us;
}

static bool is_deaf(const struct case_file *c)
{
	return c->s->deaf;
}

static bool has_few_alone(const struct case_file *c)
{
	return c->alone->n < SCALING_SAMPLES;
}

/*
 * Where alone is about the objective chance decides whether it is slow on its own or under load:
 * what was said last stays until the other is clearer.  How much clearer this one has to be.
 */
static double firmness(const struct case_file *c, enum verdict cause)
{
	if (c->cause != VERDICT_performance && c->cause != VERDICT_scalability)
		return 1;
	return c->cause == cause ? 1 / FIRMER : FIRMER;
}

static bool is_slow_alone(const struct case_file *c)
{
	double slo = (double)c->in->slo_p95_us * fmax(firmness(c, VERDICT_performance), 1);
	return slo > 0 && c->alone->p95_low_us > slo;
}

/*
 * Slow in company.  Whoever holds the objective alone and does not in company is slow under
 * load, however little is left alone: the objective says what is slow, and there more backends
 * would hold it.
 */
static bool is_slowed(const struct case_file *c)
{
	double firm = firmness(c, VERDICT_scalability);
	double slo = (double)c->in->slo_p95_us / firm; /* 0: none, and nobody is below it */
	bool by_load = c->alone->p95_high_us < fmin(slo, (double)c->in->slo_p95_us) &&
		       c->now->p95_low_us > (double)c->in->slo_p95_us;
	return c->growth > GROWTH_MIN || by_load ||
	       (c->alone->p95_us < slo && c->growth > GROWTH_SOME * firm);
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

static bool slows_others(const struct case_file *c)
{
	return c->s->shift.found;
}

static bool falls_with_size(const struct case_file *c)
{
	return c->s->fall.found;
}

static bool has_drifted(const struct case_file *c)
{
	return c->s->drifted;
}

/* Per second, of the blocks from `age` on, of which there are `n`. */
static double mean_rate(const struct scaling *s, unsigned age, unsigned n)
{
	double sum = 0;
	unsigned seen = 0;
	for (; seen < n && scaling_block_at(s, age + seen); seen++)
		sum += scaling_block_at(s, age + seen)->rate;
	return seen ? sum / seen : 0;
}

/* The most of the newest n blocks. */
static double most_rate(const struct scaling *s, unsigned n)
{
	double most = 0;
	for (unsigned i = 0; i < n && scaling_block_at(s, i); i++)
		most = fmax(most, scaling_block_at(s, i)->rate);
	return most;
}

/*
 * As many as have come at any time since were served well for long, and not by backends that were
 * full: it is no load, whatever levels it has led to.  Who asks and waits comes no faster, however
 * many there are.
 */
static bool is_no_load(const struct case_file *c)
{
	const struct scaling *s = c->s;
	unsigned slow = (unsigned)((c->in->now_us - s->fine_us) / 1000000 / SCALING_BLOCK_S) + 1;
	double usual = s->fine_usual, chance = NO_LOAD_SIGMAS * sqrt(usual / SCALING_BLOCK_S);
	return usual > 0 && !s->closed && !scaling_hears(s) &&
	       c->now->p95_us > NO_LOAD_TIMES * s->fine_p95_us &&
	       most_rate(s, slow) <= usual + chance;
}

static bool is_loaded(const struct case_file *c)
{
	return c->s->today.utilisation > FULL_FROM || scaling_is_flooded(c->s) ||
	       scaling_load_slows(c->s, c->growth);
}

/* Slow in company would be another verdict, and who is called alone may have met others. */
static bool is_doubtful(const struct case_file *c)
{
	double slo = (double)c->in->slo_p95_us;
	double growth_min = c->alone->p95_least_us < slo ? GROWTH_SOME : GROWTH_MIN;
	return c->alone->p95_least_us < c->alone->p95_us &&
	       c->now->p95_us > growth_min * c->alone->p95_least_us;
}

enum state { ANYHOW, SLOWED };

static const struct rule {
	enum state state;
	bool (*holds)(const struct case_file *c); /* NULL: always */
	say_fn *say;
} rules[] = {
    {ANYHOW, has_few_now, say_few_now},
    {ANYHOW, is_healthy, say_healthy},
    {ANYHOW, is_deaf, say_deaf},
    {ANYHOW, has_few_alone, say_few_alone},
    {ANYHOW, is_slow_alone, say_performance},
    {SLOWED, is_unsettled, say_unsettled},
    {SLOWED, slows_others, say_shared},
    {SLOWED, falls_with_size, say_shared_by_size},
    {SLOWED, has_drifted, say_drifted},
    {SLOWED, is_no_load, say_no_load},
    {SLOWED, is_loaded, say_scalability},
    {SLOWED, NULL, say_no_cause},
    {ANYHOW, is_doubtful, say_not_alone},
    {ANYHOW, has_objective, say_performance}, /* as long alone as now, and that is about it */
    {ANYHOW, NULL, say_steady},
};

static enum verdict judge_case(const struct case_file *c)
{
	const struct rule *rule = rules;
	while ((rule->state == SLOWED && !is_slowed(c)) || (rule->holds && !rule->holds(c)))
		rule++;
	return rule->say(c);
}

static struct case_file case_of(const struct scaling *s, const struct scaling_input *in,
				const struct scaling_part *part, char *say)
{
	const struct scaling_side *alone = part ? &part->alone : &s->alone;
	const struct scaling_side *now = part ? &part->now : &s->now;
	return (struct case_file){
	    .s = s,
	    .in = in,
	    .alone = alone,
	    .now = now,
	    .say = say,
	    .growth = alone->p95_us > 0 ? now->p95_us / alone->p95_us : 0,
	    .cause = part ? part->opinion.cause : s->opinion.cause,
	    .seen_us = part ? now->p95_us : s->seen_p95_us,
	};
}

/* ---- weir itself ---- */

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
	    text_us(s->total_us).at, 100 * s->waiting, text_us(s->queue_us).at,
	    text_us(s->connect_us).at, text_us(s->self_us).at, text_us(lag).at, advice);
	return true;
}

/* ---- all of it ---- */

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
	struct case_file c = case_of(s, in, m->part, own);
	bool slow = m->usable && m->part->slower > 0;
	bool skewed = slow || (m->usable && company_is_hot(&c, company, m));
	if (slow)
		company_say_slow(company, m, own);
	enum verdict verdict = skewed ? VERDICT_skewed : judge_case(&c);
	if (skewed && (!f->any_skewed || (slow && f->slower <= 0)))
		snprintf(f->say, sizeof(f->say), "%s", own);
	f->any_skewed |= skewed;
	f->slower = fmax(f->slower, slow ? m->part->slower : 0);
	f->n_judged += verdict != VERDICT_not_enough_data && !slow;
	f->n_performance += verdict == VERDICT_performance;
	opinion_settle(&m->part->opinion, m->part->sentence, verdict, own);
}

/* One that is skewed makes the pool so. */
static void judge_members(const struct scaling *s, const struct scaling_input *in,
			  struct findings *f)
{
	struct company company;
	*f = (struct findings){.any_skewed = false};
	company_meet(in, &company);
	for (size_t i = 0; i < in->n; i++)
		if (in->members[i].part)
			company_set_slower(s, &company, in->members[i].part);
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

/* What they serve well: a queue that has begun to fill takes some time to be seen. */
static void note_usual(struct scaling *s)
{
	s->fine_p95_us = fmax(s->fine_p95_us * FINE_KEEP, s->now.p95_us);
	s->fine_usual =
	    s->today.utilisation < FULL_FROM ? mean_rate(s, USUAL_SKIP, USUAL_BLOCKS) : 0;
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
	note_usual(s);
}

static void note_missed(struct scaling *s, const struct scaling_input *in)
{
	bool missed = in->slo_p95_us && s->now.n >= MISSED_LEAST &&
		      s->now.p95_low_us > (double)in->slo_p95_us;
	s->missed = missed ? s->missed + 1 : 0;
	if (!missed)
		return;
	snprintf(s->missed_by, sizeof(s->missed_by), "p95 is %s, the objective %s; ",
		 text_us(s->now.p95_us).at, text_us((double)in->slo_p95_us).at);
}

/*
 * Most of what is slower than alone is slower at equal load: that may be too little for a change
 * that is certain, but it is no lack of backends.
 */
static void note_drift(struct scaling *s)
{
	double share = s->drifted ? DRIFT_KEEP : DRIFT_SHARE;
	s->drifted = s->drifting > 1.2 && s->growth > 0 && !scaling_hears(s) &&
		     log(s->drifting) > share * log(s->growth);
}

void scaling_judge(struct scaling *s, const struct scaling_input *in)
{
	char say[SCALING_SENTENCE];
	struct findings f;
	struct case_file c = case_of(s, in, NULL, say);
	note_fine(s, in);
	note_missed(s, in);
	note_drift(s);
	judge_members(s, in, &f);
	enum verdict verdict;
	if (is_balancer(s, in, say)) {
		verdict = VERDICT_balancer;
	} else {
		verdict = judge_case(&c);
		if (is_by_one(&c, &f, verdict)) {
			verdict = VERDICT_skewed;
			snprintf(say, sizeof(say), "%s", f.say);
		}
	}
	opinion_settle(&s->opinion, s->sentence, verdict, say);
	if (s->opinion.verdict == VERDICT_scalability)
		s->slowed_us = in->now_us;
}
