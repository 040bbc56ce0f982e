/* SPDX-License-Identifier: MIT */
/*
 * weir-sim --verdicts and --forecasts: worlds whose truth is known, what was said of them
 * look by look, and how often forecasts held.
 */
#include "worlds.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/stats/sim.h"
#include "weir/base/defs.h"

enum told { TOLD_NOTHING, TOLD_SPEED, TOLD_KIND };
enum truth { NOT_SHARED, SHARED };

/* A load that swings between two shares of the capacity once a minute, then stays. */
struct world {
	const char *name;
	struct sim_plan plan;
	double capacity, low, high, last;
	enum truth truth;
	double factor;             /* of the speed from the middle on; 0: none */
	double mix_then;           /* that there are from the middle on */
	unsigned passes;           /* after so many times five seconds it is as it was; 0: stays */
	enum told told;            /* what has to be said of it */
	double mix_end;            /* share of long ones that a mix drifts to; 0: stays */
	unsigned remove;           /* so many go in the middle */
	enum verdict end;          /* what is to be said in the end, unless not_enough_data */
	double other_end;          /* the other node's share from the middle on; 0: stays */
	double reports, report_us; /* of another kind, that share from the middle on */
	bool night;                /* half a minute of low load comes first */
	bool deaf;                 /* it is not heard in the second half */
	double unrest;             /* how much a busy host makes speed vary, a logarithm */
};

#define BASE .interval = 2, .slo_p95_us = 60000
static const struct world worlds[] = {
    {.name = "fixed, 1 worker",
     .plan = {BASE, .backends = 3, .workers = 1, .service_us = 10000, .times = SIM_FIXED},
     .capacity = 300,
     .low = 0.2,
     .high = 0.9,
     .last = 0.9},
    {.name = "fixed, round robin",
     .plan = {BASE, .backends = 3, .workers = 1, .service_us = 10000, .times = SIM_FIXED,
	      .round_robin = true},
     .capacity = 300,
     .low = 0.2,
     .high = 0.9,
     .last = 0.9},
    {.name = "fixed, 2 workers",
     .plan = {BASE, .backends = 3, .workers = 2, .service_us = 20000, .times = SIM_FIXED},
     .capacity = 300,
     .low = 0.2,
     .high = 0.9,
     .last = 0.93},
    {.name = "fixed, 4 workers",
     .plan = {BASE, .backends = 3, .workers = 4, .service_us = 20000, .times = SIM_FIXED},
     .capacity = 600,
     .low = 0.2,
     .high = 0.95,
     .last = 0.95},
    {.name = "exponential, 1 worker",
     .plan = {BASE, .backends = 3, .workers = 1, .service_us = 10000},
     .capacity = 300,
     .low = 0.2,
     .high = 0.9,
     .last = 0.85},
    {.name = "exponential, random",
     .plan = {BASE, .backends = 3, .workers = 4, .service_us = 20000, .random = true},
     .capacity = 600,
     .low = 0.2,
     .high = 0.9,
     .last = 0.9},
    {.name = "exponential, 4 workers",
     .plan = {BASE, .backends = 3, .workers = 4, .service_us = 20000},
     .capacity = 600,
     .low = 0.2,
     .high = 0.95,
     .last = 0.95},
    {.name = "Pareto, 2 workers",
     .plan = {BASE, .backends = 3, .workers = 2, .service_us = 10000, .times = SIM_PARETO},
     .capacity = 600,
     .low = 0.2,
     .high = 0.85,
     .last = 0.8},
    {.name = "two kinds",
     .plan = {BASE, .backends = 3, .workers = 2, .service_us = 10000, .times = SIM_MIX, .mix = 0.2},
     .capacity = 600,
     .low = 0.2,
     .high = 0.9,
     .last = 0.9},
    {.name = "two kinds, shifting",
     .plan = {BASE, .backends = 3, .workers = 2, .service_us = 10000, .times = SIM_MIX,
	      .mix = 0.05},
     .capacity = 600,
     .low = 0.2,
     .high = 0.6,
     .last = 0.6,
     .mix_end = 0.3},
    {.name = "two kinds, all at once",
     .plan = {BASE, .backends = 3, .workers = 2, .service_us = 10000, .times = SIM_MIX,
	      .mix = 0.05},
     .capacity = 600,
     .low = 0.2,
     .high = 0.4,
     .last = 0.4,
     .factor = 1,
     .mix_then = 0.5,
     .told = TOLD_KIND},
/* nothing ever queues there */
#define NO_QUEUES .interval = 2, .workers = 10000
    {.name = "reports come",
     .plan = {NO_QUEUES, .backends = 2, .service_us = 5000, .slo_p95_us = 100000},
     .capacity = 100,
     .low = 0.4,
     .high = 0.7,
     .last = 0.9,
     .reports = 0.3,
     .report_us = 150000,
     .told = TOLD_KIND},
    {.name = "few reports, no objective",
     .plan = {NO_QUEUES, .backends = 3, .service_us = 4000, .times = SIM_FIXED},
     .capacity = 200,
     .low = 0.4,
     .high = 0.7,
     .last = 0.6,
     .reports = 0.1,
     .report_us = 300000,
     .told = TOLD_KIND},
    {.name = "many reports, at random",
     .plan = {NO_QUEUES, .backends = 4, .service_us = 3000, .random = true, .slo_p95_us = 50000},
     .capacity = 300,
     .low = 0.4,
     .high = 1,
     .last = 1,
     .reports = 0.4,
     .report_us = 400000,
     .told = TOLD_KIND},
    {.name = "deploy x2",
     .plan = {BASE, .backends = 3, .workers = 4, .service_us = 10000},
     .capacity = 1200,
     .low = 0.1,
     .high = 0.35,
     .last = 0.3,
     .factor = 2,
     .told = TOLD_SPEED},
    {.name = "deploy x3",
     .plan = {BASE, .backends = 3, .workers = 4, .service_us = 10000},
     .capacity = 1200,
     .low = 0.1,
     .high = 0.3,
     .last = 0.2,
     .factor = 3,
     .told = TOLD_SPEED},
    {.name = "deploy x3, no objective",
     .plan = {.interval = 2, .backends = 3, .workers = 4, .service_us = 10000},
     .capacity = 1200,
     .low = 0.1,
     .high = 0.3,
     .last = 0.2,
     .factor = 3,
     .told = TOLD_SPEED},
    {.name = "deploy x10 quicker",
     .plan = {BASE, .backends = 2, .workers = 4, .service_us = 50000},
     .capacity = 160,
     .low = 0.2,
     .high = 0.5,
     .last = 0.3,
     .factor = 0.1,
     .told = TOLD_SPEED},
    {.name = "a dependency, 30 s",
     .plan = {BASE, .backends = 3, .workers = 4, .service_us = 10000},
     .capacity = 1200,
     .low = 0.1,
     .high = 0.3,
     .last = 0.3,
     .factor = 8,
     .passes = 6,
     .told = TOLD_SPEED,
     .end = VERDICT_healthy},
    {.name = "they collect garbage",
     .plan = {BASE, .backends = 3, .workers = 4, .service_us = 10000, .pause_s = 5,
	      .pause_us = 200000},
     .capacity = 1200,
     .low = 0.1,
     .high = 0.6,
     .last = 0.5,
     .end = VERDICT_healthy},
    {.name = "one in a hundred hangs",
     .plan = {BASE, .backends = 3, .workers = 16, .service_us = 10000, .hangs = 0.01,
	      .hang_us = 5e6},
     .capacity = 1200,
     .low = 0.02,
     .high = 0.3,
     .last = 0.1,
     .end = VERDICT_healthy},
    {.name = "one of three goes",
     .plan = {BASE, .backends = 3, .workers = 2, .service_us = 10000},
     .capacity = 600,
     .low = 0.2,
     .high = 0.6,
     .last = 0.55,
     .remove = 1},
    {.name = "shared lock behind two",
     .plan = {BASE, .backends = 2, .workers = 8, .service_us = 1, .shared_workers = 1,
	      .shared_us = 10000},
     .capacity = 100,
     .low = 0.3,
     .high = 0.9,
     .last = 0.95,
     .truth = SHARED},
    {.name = "shared lock, fixed",
     .plan = {BASE, .backends = 3, .workers = 8, .service_us = 1, .shared_workers = 1,
	      .shared_us = 5000, .times = SIM_FIXED},
     .capacity = 200,
     .low = 0.3,
     .high = 0.95,
     .last = 0.95,
     .truth = SHARED},
    {.name = "shared, 4 places",
     .plan = {BASE, .backends = 3, .workers = 4, .service_us = 2000, .shared_workers = 4,
	      .shared_us = 20000},
     .capacity = 200,
     .low = 0.3,
     .high = 0.95,
     .last = 0.97,
     .truth = SHARED},
    /* next to nothing to do, on a host that is now busy with something else and now not */
    {.name = "idle on a busy host",
     .plan = {BASE, .backends = 2, .workers = 4, .service_us = 1000},
     .capacity = 8000,
     .low = 0.0005,
     .high = 0.001,
     .last = 0.0008,
     .unrest = 0.6},
    {.name = "idle, far slower at times",
     .plan = {BASE, .backends = 2, .workers = 4, .service_us = 3000},
     .capacity = 2700,
     .low = 0.003,
     .high = 0.01,
     .last = 0.005,
     .unrest = 1},
    {.name = "a tenth, on a busy host",
     .plan = {BASE, .backends = 2, .workers = 4, .service_us = 3000, .times = SIM_FIXED},
     .capacity = 2700,
     .low = 0.02,
     .high = 0.1,
     .last = 0.05,
     .unrest = 0.5},
/* one backend differs, by much or little, with an objective that it breaks or not */
#define ONE_OF_FOUR(factor) \
	.backends = 4, .workers = 4, .service_us = 10000, .slow = {1, 1, factor, 1}
    {.name = "one 6 times slower",
     .plan = {BASE, ONE_OF_FOUR(6)},
     .capacity = 1300,
     .low = 0.1,
     .high = 0.6,
     .last = 0.5,
     .end = VERDICT_skewed},
    {.name = "one 6 times, random",
     .plan = {BASE, ONE_OF_FOUR(6), .random = true},
     .capacity = 1300,
     .low = 0.02,
     .high = 0.2,
     .last = 0.15,
     .end = VERDICT_skewed},
    {.name = "one 6 times, few requests",
     .plan = {BASE, ONE_OF_FOUR(6)},
     .capacity = 40,
     .low = 0.3,
     .high = 0.8,
     .last = 0.6,
     .end = VERDICT_skewed},
    {.name = "one 1.7 times, it is fine",
     .plan = {.interval = 2, .slo_p95_us = 200000, ONE_OF_FOUR(1.7)},
     .capacity = 1500,
     .low = 0.1,
     .high = 0.6,
     .last = 0.5,
     .end = VERDICT_skewed},
    {.name = "one 1.5 times, it is fine",
     .plan = {.interval = 2, .slo_p95_us = 200000, ONE_OF_FOUR(1.5)},
     .capacity = 1500,
     .low = 0.1,
     .high = 0.6,
     .last = 0.5},
    {.name = "one 1.2 times slower",
     .plan = {.interval = 2, .slo_p95_us = 200000, ONE_OF_FOUR(1.2)},
     .capacity = 1500,
     .low = 0.1,
     .high = 0.6,
     .last = 0.5,
     .end = VERDICT_healthy},
    {.name = "one 3 times, fixed",
     .plan = {BASE, ONE_OF_FOUR(3), .times = SIM_FIXED},
     .capacity = 1300,
     .low = 0.1,
     .high = 0.8,
     .last = 0.7,
     .end = VERDICT_skewed},
    {.name = "one 3 times, Pareto",
     .plan = {BASE, ONE_OF_FOUR(3), .times = SIM_PARETO},
     .capacity = 1300,
     .low = 0.1,
     .high = 0.8,
     .last = 0.7,
     .end = VERDICT_skewed},
    /* two nodes on one pool, whose load is judged by one of them */
    {.name = "two nodes, fixed",
     .plan = {.interval = 2,
	      .slo_p95_us = 25000,
	      .backends = 3,
	      .workers = 1,
	      .service_us = 10000,
	      .times = SIM_FIXED,
	      .other = 0.5},
     .capacity = 300,
     .low = 0.05,
     .high = 0.9,
     .last = 0.87,
     .end = VERDICT_scalability},
    {.name = "two nodes",
     .plan = {.interval = 2,
	      .slo_p95_us = 75000,
	      .backends = 3,
	      .workers = 4,
	      .service_us = 20000,
	      .other = 0.5},
     .capacity = 600,
     .low = 0.05,
     .high = 0.95,
     .last = 0.98,
     .end = VERDICT_scalability},
    {.name = "two nodes, a fifth here",
     .plan = {.interval = 2,
	      .slo_p95_us = 75000,
	      .backends = 3,
	      .workers = 4,
	      .service_us = 20000,
	      .other = 0.8},
     .capacity = 600,
     .night = true,
     .low = 0.05,
     .high = 0.95,
     .last = 0.98,
     .end = VERDICT_scalability},
    {.name = "two nodes, no objective",
     .plan = {.interval = 2, .backends = 3, .workers = 1, .service_us = 10000, .other = 0.6},
     .capacity = 300,
     .low = 0.05,
     .high = 0.9,
     .last = 0.87,
     .end = VERDICT_scalability},
    {.name = "the other takes over",
     .plan = {BASE, .backends = 3, .workers = 2, .service_us = 10000, .other = 0.2},
     .capacity = 600,
     .low = 0.05,
     .high = 0.6,
     .last = 0.5,
     .other_end = 0.8,
     .end = VERDICT_healthy},
    {.name = "two nodes, slow alone",
     .plan = {BASE, .backends = 3, .workers = 4, .service_us = 40000, .other = 0.5},
     .capacity = 300,
     .low = 0.05,
     .high = 0.5,
     .last = 0.4,
     .end = VERDICT_performance},
    {.name = "the other is not heard",
     .plan = {.interval = 2,
	      .slo_p95_us = 75000,
	      .backends = 3,
	      .workers = 4,
	      .service_us = 20000,
	      .other = 0.8},
     .capacity = 600,
     .night = true,
     .low = 0.05,
     .high = 0.93,
     .last = 0.93,
     .deaf = true},
};

/* ---- verdicts ---- */

#define FLAPS_MAX 2

struct tally {
	unsigned looks, said[N_VERDICTS], wrong_end, denied, found, false_healthy;
	unsigned changes;  /* that were told: slower, quicker, other requests */
	enum told told;    /* last */
	unsigned flaps;    /* verdicts that came after another one, from the first minute on */
	unsigned run_over; /* looks in a row that are healthy with a broken objective */
	double first_found_s;
	enum verdict end;
	bool forecast; /* one more, in the end */
	bool loud;
	uint64_t slo_us, start_us;
};

static void on_look(void *ctx, const struct scaling *s)
{
	struct tally *t = ctx;
	enum verdict v = s->opinion.verdict;
	t->looks++;
	t->flaps += v != t->end && s->looked_us > t->start_us + 60000000;
	t->end = v;
	t->said[v]++;
	if (s->change.at_us)
		t->told = s->change.of_kind ? TOLD_KIND : TOLD_SPEED;
	t->denied += s->shift.known && !s->shift.found;
	t->found += s->shift.found;
	if (s->shift.found && t->first_found_s < 0)
		t->first_found_s = (double)(s->looked_us - t->start_us) / 1e6;
	bool over = v == VERDICT_healthy && t->slo_us && s->now.p95_us > (double)t->slo_us;
	t->run_over = over ? t->run_over + 1 : 0;
	t->false_healthy += t->run_over == 3;
	if (t->loud)
		printf("  %5.0f s %s [%.2f z %.1f n %.0f drift %.2f] %s\n",
		       (double)s->looked_us / 1e6, verdict_name(v), s->shift.change, s->shift.z,
		       s->shift.samples, s->drifting, s->sentence);
}

/* Five seconds, in each of which the host has more or less time for its requests. */
static void run_step(const struct world *w, struct sim *sim, double rate, struct rng *rng,
		     double *unrest)
{
	for (unsigned i = 0; i < 5; i++) {
		double step = (double)rng_below(rng, 2001) / 1000 - 1;
		*unrest = 0.8 * *unrest + w->unrest * step;
		if (w->unrest > 0)
			sim_set_speed(sim, exp(*unrest), w->plan.mix);
		sim_run(sim, rate, 1);
	}
}

static void run_world(const struct world *w, uint64_t seed, struct tally *t)
{
	struct sim *sim = sim_new(&w->plan, seed);
	struct rng rng;
	double unrest = 0;
	rng_init(&rng, seed);
	*t = (struct tally){.slo_us = w->plan.slo_p95_us, .loud = t->loud, .first_found_s = -1};
	sim_on_look(sim, on_look, t);
	if (w->night)
		sim_run(sim, w->capacity * w->low, 30);
	for (unsigned i = 0; i < 36; i++) {
		double swing = (w->high - w->low) / 2, middle = (w->high + w->low) / 2;
		double share = i < 24 ? middle - swing * cos(2 * M_PI * i / 12) : w->last;
		if (i == 16 && w->factor > 0)
			sim_set_speed(sim, w->factor, w->mix_then > 0 ? w->mix_then : w->plan.mix);
		if (i == 16 && w->reports > 0)
			sim_set_reports(sim, w->reports, w->report_us);
		if (w->passes && i == 16 + w->passes)
			sim_set_speed(sim, 1, w->plan.mix);
		if (w->mix_end > 0)
			sim_set_speed(sim, 1, w->plan.mix + (w->mix_end - w->plan.mix) * i / 36);
		if (i == 16 && w->plan.other > 0)
			sim_set_other(sim, w->other_end > 0 ? w->other_end : w->plan.other,
				      !w->deaf);
		if (i == 16 && w->remove)
			sim_set_backends(sim, w->plan.backends - w->remove);
		run_step(w, sim, w->capacity * share, &rng, &unrest);
	}
	t->end = sim_result(sim).scaling->opinion.verdict;
	t->forecast = !sim_result(sim).scaling->forecasts[FORECAST_MORE].refusal;
	sim_free(sim);
}

/* With two nodes: nobody may say that more would not help where it does, or forecast deaf. */
static bool is_wrong_end(const struct world *w, const struct tally *t)
{
	bool load_only = !w->mix_end && !w->remove && w->plan.slow[2] <= 0 && w->plan.other <= 0;
	if (t->told != w->told && (w->told || load_only))
		return true;
	/* nothing changes but the load, which swings once a minute: verdicts follow that at most */
	if (t->flaps > FLAPS_MAX && w->plan.slow[2] > 0)
		return true;
	if (w->deaf)
		return t->forecast ||
		       (t->end != VERDICT_not_enough_data && t->end != VERDICT_healthy);
	if ((w->factor > 0 || w->reports > 0) &&
	    (t->said[VERDICT_scalability] || t->said[VERDICT_scalability_shared]))
		return true;
	bool wrongly = t->said[VERDICT_performance] && w->end != VERDICT_performance;
	return w->end && (t->end != w->end || wrongly);
}

static bool is_wrong(const struct world *w, const struct tally *t)
{
	return t->false_healthy || is_wrong_end(w, t) ||
	       (w->truth == SHARED ? t->denied : t->found) > 0;
}

/* ---- what was said of each kind of world ---- */

enum kind { OWN, CHANGE, BUSY_HOST, BOTTLENECK, ONE_DIFFERS, NODES, DEAF, N_KINDS };
static const char *const kinds[N_KINDS] = {
    [OWN] = "load, nothing shared",    [CHANGE] = "a deploy, another mix",
    [BUSY_HOST] = "idle, a busy host", [BOTTLENECK] = "a shared bottleneck",
    [ONE_DIFFERS] = "one differs",     [NODES] = "two nodes",
    [DEAF] = "the other is not heard",
};

static enum kind kind_of(const struct world *w)
{
	if (w->truth == SHARED)
		return BOTTLENECK;
	if (w->unrest > 0)
		return BUSY_HOST;
	if (w->factor > 0 || w->mix_end > 0 || w->reports > 0)
		return CHANGE;
	if (w->plan.slow[2] > 0)
		return ONE_DIFFERS;
	if (w->deaf)
		return DEAF;
	return w->plan.other > 0 ? NODES : OWN;
}

struct confusion {
	unsigned runs, wrong, looks, said[N_VERDICTS];
};

static void confuse(struct confusion *c, const struct world *w, const struct tally *t)
{
	c->runs++;
	c->wrong += is_wrong(w, t);
	c->looks += t->looks;
	for (int v = 0; v < N_VERDICTS; v++)
		c->said[v] += t->said[v];
}

/* Of the looks of all runs of a kind of world, per cent. */
static void print_matrix(const struct confusion matrix[N_KINDS])
{
	printf("\n%-26s %5s", "% of looks", "runs");
	for (int v = 0; v < N_VERDICTS; v++)
		printf(" %11.11s", verdict_name((enum verdict)v));
	printf(" %6s\n", "wrong");
	for (int k = 0; k < N_KINDS; k++) {
		const struct confusion *c = &matrix[k];
		if (!c->runs)
			continue;
		printf("%-26s %5u", kinds[k], c->runs);
		for (int v = 0; v < N_VERDICTS; v++)
			printf(" %11.1f", 100.0 * c->said[v] / c->looks);
		printf(" %6u\n", c->wrong);
	}
}

int world_verdicts(const char *only, struct seeds seeds)
{
	int wrong = 0;
	struct confusion matrix[N_KINDS] = {{0}};
	printf("%-26s %5s", "looks of", "seeds");
	for (int v = 0; v < N_VERDICTS; v++)
		printf(" %11.11s", verdict_name((enum verdict)v));
	printf(" %6s %6s %6s %6s %6s\n", "found", "first", "denied", "changed", "wrong");
	for (size_t i = 0; i < ARRAY_LEN(worlds); i++) {
		const struct world *w = &worlds[i];
		struct tally sum = {.first_found_s = 0}, t = {.loud = only != NULL};
		if (only && strcmp(only, w->name) != 0)
			continue;
		for (uint64_t seed = seeds.first; seed < seeds.first + seeds.n; seed++) {
			run_world(w, seed, &t);
			confuse(&matrix[kind_of(w)], w, &t);
			for (int v = 0; v < N_VERDICTS; v++)
				sum.said[v] += t.said[v];
			sum.found += t.found;
			sum.denied += t.denied;
			sum.false_healthy += t.false_healthy;
			sum.flaps += t.flaps;
			sum.wrong_end += is_wrong_end(w, &t);
			sum.first_found_s = fmax(sum.first_found_s, t.first_found_s);
		}
		unsigned bad = sum.false_healthy + sum.wrong_end +
			       (w->truth == SHARED ? sum.denied : sum.found);
		wrong += bad > 0;
		printf("%-26s %5u", w->name, seeds.n);
		for (int v = 0; v < N_VERDICTS; v++)
			printf(" %11u", sum.said[v]);
		printf(" %6u %6.0f %6u %7u %6u\n", sum.found, sum.first_found_s, sum.denied,
		       sum.flaps, bad);
	}
	print_matrix(matrix);
	return wrong;
}
