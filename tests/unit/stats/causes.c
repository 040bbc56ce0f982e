/* SPDX-License-Identifier: MIT */
/* Worlds that were drawn at random and in which the wrong cause was named. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sim.h"

struct diary {
	unsigned advice;      /* to add backends */
	unsigned speed, kind; /* looks that tell of a change of either */
	double found_s;       /* when sharing was; 0: never */
	unsigned scores;
	char last[SCALING_SENTENCE];
};

static void on_look(void *ctx, const struct scaling *s)
{
	struct diary *d = ctx;
	d->advice += s->opinion.verdict == VERDICT_scalability;
	d->speed += s->change.at_us && !s->change.of_kind;
	d->kind += s->change.at_us && s->change.of_kind;
	if (scaling_is_shared(s) && d->found_s <= 0)
		d->found_s = (double)s->looked_us / 1e6;
	d->scores = s->n_scores;
	cr_expect(!strstr(s->sentence, "healthy: healthy"), "%s", s->sentence);
	snprintf(d->last, sizeof(d->last), "%s", s->sentence);
}

/* Slow on its own, or under load: how often the one has come after the other, and what it was. */
struct causes {
	unsigned switches;
	enum verdict last;
};

static void on_cause(void *ctx, const struct scaling *s)
{
	struct causes *c = ctx;
	enum verdict v = s->opinion.verdict;
	if (v != VERDICT_performance && v != VERDICT_scalability)
		return;
	c->switches += c->last && c->last != v;
	c->last = v;
}

/* What alone is about the objective is either, but not the one and the other by turns. */
Test(causes, about_the_objective_one_is_named)
{
	unsigned switches = 0;
	for (uint64_t seed = 1; seed <= 6; seed++) {
		const struct sim_plan plan = {.backends = 2,
					      .workers = 1,
					      .interval = 2,
					      .service_us = 25000,
					      .times = SIM_BY_CV2,
					      .cv2 = 0.25,
					      .slo_p95_us = 47000 + 1000 * seed};
		struct causes c = {.switches = 0};
		struct sim *sim = sim_new(&plan, seed);
		sim_on_look(sim, on_cause, &c);
		for (unsigned i = 0; i < 60; i++)
			sim_run(sim, 80 * (0.22 - 0.13 * cos(2 * M_PI * i / 12)), 5);
		cr_expect(c.last, "seed %u: nothing was named", (unsigned)seed);
		switches += c.switches;
		sim_free(sim);
	}
	cr_expect_leq(switches, 3, "%u", switches);
}

/* Its load rises for the first time: that others meet at the lock is no deploy. */
Test(causes, a_lock_is_no_deploy)
{
	static const struct sim_plan plans[] = {
	    {.backends = 6, .shared_us = 2000, .times = SIM_LOGNORMAL, .slo_p95_us = 8000},
	    {.backends = 10, .shared_us = 2000, .times = SIM_PARETO, .slo_p95_us = 8000},
	};
	for (size_t i = 0; i < sizeof(plans) / sizeof(*plans); i++)
		for (uint64_t seed = 1; seed <= 3; seed++) {
			struct diary d = {.advice = 0};
			struct sim_plan plan = plans[i];
			plan.interval = 2;
			plan.workers = 8;
			plan.service_us = 1;
			plan.shared_workers = 1;
			struct sim *sim = sim_new(&plan, seed);
			sim_on_look(sim, on_look, &d);
			for (unsigned k = 0; k < 10; k++)
				sim_run(sim, 500 * (0.3 + 0.07 * k), 5);
			cr_expect_eq(d.speed + d.kind, 0, "plan %zu: %s", i, d.last);
			cr_expect(d.found_s > 0, "plan %zu: %s", i, d.last);
			sim_free(sim);
		}
}

/* Some that began before it end after it: they are of another time, not of another kind. */
Test(causes, a_deploy_of_even_requests_is_no_other_kind)
{
	static const double factors[] = {4, 2, 0.25};
	for (size_t i = 0; i < 3; i++) {
		const struct sim_plan plan = {.backends = 6,
					      .workers = 7,
					      .interval = 2,
					      .service_us = 25000,
					      .times = SIM_FIXED};
		struct diary d = {.advice = 0};
		struct sim *sim = sim_new(&plan, i + 1);
		sim_on_look(sim, on_look, &d);
		sim_run(sim, 60, 81); /* amid five seconds */
		sim_set_speed(sim, factors[i], 0);
		sim_run(sim, 60, 40);
		cr_expect(d.speed > 0 && !d.kind, "times %f: %s", factors[i], d.last);
		sim_free(sim);
	}
}

/* It jumps, after a lull in which next to nothing came: what was slow was so before the lull. */
Test(causes, a_jump_of_load_is_no_deploy)
{
	for (uint64_t seed = 1; seed <= 6; seed++) {
		const struct sim_plan plan = {.backends = 2,
					      .workers = seed % 2 ? 1 : 2,
					      .interval = 2,
					      .service_us = seed % 2 ? 8000 : 25000,
					      .times = seed % 2 ? SIM_LOGNORMAL : SIM_PARETO,
					      .slo_p95_us = seed % 2 ? 0 : 125000};
		double capacity = seed % 2 ? 250 : 160;
		struct diary d = {.advice = 0};
		struct sim *sim = sim_new(&plan, seed);
		sim_on_look(sim, on_look, &d);
		for (unsigned k = 0; k < 4; k++)
			sim_run(sim, capacity * (k % 2 ? 0.85 : 0.05), 30);
		sim_run(sim, capacity * 0.05, 15);
		sim_run(sim, capacity * 0.9, 30);
		cr_expect_eq(d.speed + d.kind, 0, "seed %u: %s", (unsigned)seed, d.last);
		sim_free(sim);
	}
}

/* Of so few that it is not certain: then that is what is said, and no backend is asked for. */
Test(causes, slower_at_equal_load_is_no_lack_of_backends)
{
	for (uint64_t seed = 1; seed <= 3; seed++) {
		const struct sim_plan plan = {.backends = 10,
					      .workers = 1,
					      .interval = 2,
					      .service_us = 60000,
					      .cv2 = 4,
					      .slo_p95_us = 300000};
		struct diary d = {.advice = 0};
		struct sim *sim = sim_new(&plan, seed);
		sim_on_look(sim, on_look, &d);
		for (unsigned k = 0; k < 8; k++)
			sim_run(sim, k % 2 ? 14 : 6, 10);
		sim_set_speed(sim, 4, 0);
		sim_run(sim, 10, 90);
		cr_expect_eq(d.advice, 0, "seed %u: %s", (unsigned)seed, d.last);
		sim_free(sim);
	}
}

/* What comes before they have settled is not what was forecast, and a second is not enough. */
Test(causes, a_forecast_is_scored_once_they_have_settled)
{
	const struct sim_plan plan = {
	    .backends = 3, .workers = 4, .interval = 2, .service_us = 10000};
	struct diary d = {.advice = 0};
	struct sim *sim = sim_new(&plan, 1);
	sim_on_look(sim, on_look, &d);
	sim_set_backends(sim, 2);
	sim_run(sim, 100, 30);
	for (unsigned k = 0; k < 12; k++)
		sim_run(sim, k % 2 ? 650 : 200, 5);
	sim_run(sim, 600, 70);
	sim_set_backends(sim, 3);
	sim_run(sim, 600, 30);
	cr_expect_eq(d.scores, 0);
	sim_run(sim, 600, 12);
	cr_expect_eq(d.scores, 1);
	cr_expect(sim_result(sim).scaling->scores[0].comparable);
	sim_free(sim);
}
