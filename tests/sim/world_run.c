/* SPDX-License-Identifier: MIT */
/*
 * weir-sim --verdicts and --invented: worlds whose truth is known, and what was said of them look
 * by look.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"
#include "worlds.h"

#include "weir/base/defs.h"

/* ---- verdicts ---- */

#define FLAPS_MAX 2
#define MIDDLE_US (UINT64_C(1000000) * 80)
/* By the objective: what is this far from it alone is slow on its own, or is not, for certain. */
#define SLOW_ALONE 1.3
#define QUICK_ALONE 0.75
#define QUICK_ANYHOW 0.5 /* with so little load as there is after a deploy */

struct tally {
	unsigned looks, said[N_VERDICTS], wrong_end, denied, found, false_healthy;
	unsigned advice;   /* looks from the middle on that said to add backends */
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
	bool from_middle = s->looked_us > t->start_us + MIDDLE_US;
	t->advice += from_middle && (v == VERDICT_scalability || v == VERDICT_scalability_shared);
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

static double wave(const struct world *w, double angle)
{
	double up = cos(angle);
	return w->steps ? copysign(1, up) : up;
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
		double share = i < 24 ? middle - swing * wave(w, 2 * M_PI * i / 12) : w->last;
		if (i == 16 && w->factor > 0)
			sim_set_speed(sim, w->factor, w->mix_then > 0 ? w->mix_then : w->plan.mix);
		if (i == 16 && w->reports > 0)
			sim_set_reports(sim, w->reports, w->report_us);
		if (i == 26 && w->again > 0)
			sim_set_speed(sim, w->factor * w->again, w->plan.mix);
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

/* Whether it is slow alone is known of worlds that are drawn. */
static bool is_wrong_cause(const struct world *w, enum verdict end)
{
	if (end == VERDICT_not_enough_data)
		return false;
	if (w->alone > SLOW_ALONE)
		return end != VERDICT_performance;
	if (w->alone < QUICK_ANYHOW && w->factor > 0)
		return end != VERDICT_healthy;
	return w->alone < QUICK_ALONE && end == VERDICT_performance;
}

/* With two nodes: nobody may say that more would not help where it does, or forecast deaf. */
static bool is_wrong_end(const struct world *w, const struct tally *t)
{
	bool load_only = !w->mix_end && !w->remove && w->plan.slow[2] <= 0 && w->plan.other <= 0;
	bool missed = w->may_miss && !t->told;
	if (t->told != w->told && (w->told ? !missed : load_only))
		return true;
	if (w->plan.clients && t->forecast)
		return true;
	/* nothing changes but the load, which swings once a minute: verdicts follow that at most */
	if (t->flaps > FLAPS_MAX && w->plan.slow[2] > 0)
		return true;
	if (w->deaf)
		return t->forecast ||
		       (t->end != VERDICT_not_enough_data && t->end != VERDICT_healthy);
	if ((w->factor > 0 || w->reports > 0) && t->advice)
		return true;
	if (w->alone > 0 && is_wrong_cause(w, t->end))
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

static void print_heading(void)
{
	printf("%-26s %5s", "looks of", "seeds");
	for (int v = 0; v < N_VERDICTS; v++)
		printf(" %11.11s", verdict_name((enum verdict)v));
	printf(" %6s %6s %6s %6s %6s\n", "found", "first", "denied", "changed", "wrong");
}

static bool run_seeds(const struct world *w, struct seeds seeds, bool loud,
		      struct confusion matrix[N_KINDS])
{
	struct tally sum = {.first_found_s = 0}, t = {.loud = loud};
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
	unsigned bad =
	    sum.false_healthy + sum.wrong_end + (w->truth == SHARED ? sum.denied : sum.found);
	printf("%-26s %5u", w->name, seeds.n);
	for (int v = 0; v < N_VERDICTS; v++)
		printf(" %11u", sum.said[v]);
	printf(" %6u %6.0f %6u %7u %6u\n", sum.found, sum.first_found_s, sum.denied, sum.flaps,
	       bad);
	fflush(stdout);
	return bad > 0;
}

int world_verdicts(const char *only, struct seeds seeds)
{
	int wrong = 0;
	struct confusion matrix[N_KINDS] = {{0}};
	print_heading();
	for (size_t i = 0; i < n_worlds; i++)
		if (!only || strcmp(only, worlds[i].name) == 0)
			wrong += run_seeds(&worlds[i], seeds, only != NULL, matrix);
	print_matrix(matrix);
	return wrong;
}

int world_invented(struct seeds seeds)
{
	int wrong = 0;
	struct confusion matrix[N_KINDS] = {{0}};
	print_heading();
	for (uint64_t seed = seeds.first; seed < seeds.first + seeds.n; seed++) {
		struct world w = world_draw(seed);
		wrong += run_seeds(&w, (struct seeds){seed, 1}, seeds.n == 1, matrix);
	}
	print_matrix(matrix);
	return wrong;
}

int world_check(void)
{
	static const uint64_t seeds[] = {202, 205, 212, 213, 226, 242,
					 243, 247, 278, 316, 434, 607};
	int wrong = 0;
	struct confusion matrix[N_KINDS] = {{0}};
	print_heading();
	for (size_t i = 0; i < ARRAY_LEN(seeds); i++) {
		struct world w = world_draw(seeds[i]);
		wrong += run_seeds(&w, (struct seeds){seeds[i], 1}, false, matrix);
	}
	return wrong;
}
