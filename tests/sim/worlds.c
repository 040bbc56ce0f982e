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

enum truth { NOT_SHARED, SHARED };

/* A load that swings between two shares of the capacity once a minute, then stays. */
struct world {
	const char *name;
	struct sim_plan plan;
	double capacity, low, high, last;
	enum truth truth;
	double factor;   /* of the speed from the middle on; 0: none */
	double mix_end;  /* share of long ones that a mix drifts to; 0: stays */
	unsigned remove; /* so many go in the middle */
};

#define BASE .interval = 2, .slo_p95_us = 60000
static const struct world worlds[] = {
    {"fixed, 1 worker",
     {BASE, .backends = 3, .workers = 1, .service_us = 10000, .times = SIM_FIXED},
     300,
     0.2,
     0.9,
     0.9,
     NOT_SHARED,
     0,
     0,
     0},
    {"fixed, round robin",
     {BASE, .backends = 3, .workers = 1, .service_us = 10000, .times = SIM_FIXED,
      .round_robin = true},
     300,
     0.2,
     0.9,
     0.9,
     NOT_SHARED,
     0,
     0,
     0},
    {"fixed, 2 workers",
     {BASE, .backends = 3, .workers = 2, .service_us = 20000, .times = SIM_FIXED},
     300,
     0.2,
     0.9,
     0.93,
     NOT_SHARED,
     0,
     0,
     0},
    {"fixed, 4 workers",
     {BASE, .backends = 3, .workers = 4, .service_us = 20000, .times = SIM_FIXED},
     600,
     0.2,
     0.95,
     0.95,
     NOT_SHARED,
     0,
     0,
     0},
    {"exponential, 1 worker",
     {BASE, .backends = 3, .workers = 1, .service_us = 10000},
     300,
     0.2,
     0.9,
     0.85,
     NOT_SHARED,
     0,
     0,
     0},
    {"exponential, random",
     {BASE, .backends = 3, .workers = 4, .service_us = 20000, .random = true},
     600,
     0.2,
     0.9,
     0.9,
     NOT_SHARED,
     0,
     0,
     0},
    {"exponential, 4 workers",
     {BASE, .backends = 3, .workers = 4, .service_us = 20000},
     600,
     0.2,
     0.95,
     0.95,
     NOT_SHARED,
     0,
     0,
     0},
    {"Pareto, 2 workers",
     {BASE, .backends = 3, .workers = 2, .service_us = 10000, .times = SIM_PARETO},
     600,
     0.2,
     0.85,
     0.8,
     NOT_SHARED,
     0,
     0,
     0},
    {"two kinds",
     {BASE, .backends = 3, .workers = 2, .service_us = 10000, .times = SIM_MIX, .mix = 0.2},
     600,
     0.2,
     0.9,
     0.9,
     NOT_SHARED,
     0,
     0,
     0},
    {"two kinds, shifting",
     {BASE, .backends = 3, .workers = 2, .service_us = 10000, .times = SIM_MIX, .mix = 0.05},
     600,
     0.2,
     0.6,
     0.6,
     NOT_SHARED,
     0,
     0.3,
     0},
    {"deploy x2",
     {BASE, .backends = 3, .workers = 4, .service_us = 10000},
     1200,
     0.1,
     0.35,
     0.3,
     NOT_SHARED,
     2,
     0,
     0},
    {"deploy x3",
     {BASE, .backends = 3, .workers = 4, .service_us = 10000},
     1200,
     0.1,
     0.3,
     0.2,
     NOT_SHARED,
     3,
     0,
     0},
    {"deploy x3, no objective",
     {.interval = 2, .backends = 3, .workers = 4, .service_us = 10000},
     1200,
     0.1,
     0.3,
     0.2,
     NOT_SHARED,
     3,
     0,
     0},
    {"deploy x10 quicker",
     {BASE, .backends = 2, .workers = 4, .service_us = 50000},
     160,
     0.2,
     0.5,
     0.3,
     NOT_SHARED,
     0.1,
     0,
     0},
    {"one of three goes",
     {BASE, .backends = 3, .workers = 2, .service_us = 10000},
     600,
     0.2,
     0.6,
     0.55,
     NOT_SHARED,
     0,
     0,
     1},
    {"shared lock behind two",
     {BASE, .backends = 2, .workers = 8, .service_us = 1, .shared_workers = 1, .shared_us = 10000},
     100,
     0.3,
     0.9,
     0.95,
     SHARED,
     0,
     0,
     0},
    {"shared lock, fixed",
     {BASE, .backends = 3, .workers = 8, .service_us = 1, .shared_workers = 1, .shared_us = 5000,
      .times = SIM_FIXED},
     200,
     0.3,
     0.95,
     0.95,
     SHARED,
     0,
     0,
     0},
    {"shared, 4 places",
     {BASE, .backends = 3, .workers = 4, .service_us = 2000, .shared_workers = 4,
      .shared_us = 20000},
     200,
     0.3,
     0.95,
     0.97,
     SHARED,
     0,
     0,
     0},
};

/* ---- verdicts ---- */

struct tally {
	unsigned looks, said[N_VERDICTS], denied, found, false_healthy;
	unsigned run_over; /* looks in a row that are healthy with a broken objective */
	double first_found_s;
	bool loud;
	uint64_t slo_us, start_us;
};

static void on_look(void *ctx, const struct scaling *s)
{
	struct tally *t = ctx;
	enum verdict v = s->opinion.verdict;
	t->looks++;
	t->said[v]++;
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

static void run_world(const struct world *w, uint64_t seed, struct tally *t)
{
	struct sim *sim = sim_new(&w->plan, seed);
	*t = (struct tally){.slo_us = w->plan.slo_p95_us, .loud = t->loud, .first_found_s = -1};
	sim_on_look(sim, on_look, t);
	for (unsigned i = 0; i < 36; i++) {
		double swing = (w->high - w->low) / 2, middle = (w->high + w->low) / 2;
		double share = i < 24 ? middle - swing * cos(2 * M_PI * i / 12) : w->last;
		if (i == 16 && w->factor > 0)
			sim_set_speed(sim, w->factor, w->plan.mix);
		if (w->mix_end > 0)
			sim_set_speed(sim, 1, w->plan.mix + (w->mix_end - w->plan.mix) * i / 36);
		if (i == 16 && w->remove)
			sim_set_backends(sim, w->plan.backends - w->remove);
		sim_run(sim, w->capacity * share, 5);
	}
	sim_free(sim);
}

int world_verdicts(const char *only, unsigned seeds)
{
	int wrong = 0;
	printf("%-26s %5s", "looks of", "seeds");
	for (int v = 0; v < N_VERDICTS; v++)
		printf(" %11.11s", verdict_name((enum verdict)v));
	printf(" %6s %6s %6s %6s\n", "found", "first", "denied", "wrong");
	for (size_t i = 0; i < ARRAY_LEN(worlds); i++) {
		const struct world *w = &worlds[i];
		struct tally sum = {.first_found_s = 0}, t = {.loud = only != NULL};
		if (only && strcmp(only, w->name) != 0)
			continue;
		for (uint64_t seed = 1; seed <= seeds; seed++) {
			run_world(w, seed, &t);
			for (int v = 0; v < N_VERDICTS; v++)
				sum.said[v] += t.said[v];
			sum.found += t.found;
			sum.denied += t.denied;
			sum.false_healthy += t.false_healthy;
			sum.first_found_s = fmax(sum.first_found_s, t.first_found_s);
		}
		unsigned bad = sum.false_healthy + (w->truth == SHARED ? sum.denied : sum.found);
		wrong += bad > 0;
		printf("%-26s %5u", w->name, seeds);
		for (int v = 0; v < N_VERDICTS; v++)
			printf(" %11u", sum.said[v]);
		printf(" %6u %6.0f %6u %6u\n", sum.found, sum.first_found_s, sum.denied, bad);
	}
	return wrong;
}
