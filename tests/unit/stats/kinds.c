/* SPDX-License-Identifier: MIT */
/* Requests of another kind come beside the usual ones: no lack of backends, whatever they take. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sim.h"
#include "weir/base/defs.h"

struct kinds {
	const char *name;
	struct sim_plan plan;
	double rate, service_us;   /* of what always comes */
	double reports, report_us; /* per second; what each takes */
};

struct diary {
	unsigned looks[N_VERDICTS], found, of_kind, deploys;
	char wrong[SCALING_SENTENCE], last[SCALING_SENTENCE];
};

static void on_look(void *ctx, const struct scaling *s)
{
	struct diary *d = ctx;
	enum verdict v = s->opinion.verdict;
	d->looks[v]++;
	d->found += scaling_is_shared(s);
	d->of_kind += strstr(s->sentence, "the kind of requests changed at ") != NULL;
	d->deploys += strstr(s->sentence, ": a deploy?") != NULL;
	if (v == VERDICT_scalability || v == VERDICT_scalability_shared)
		snprintf(d->wrong, sizeof(d->wrong), "%s", s->sentence);
	snprintf(d->last, sizeof(d->last), "%s", s->sentence);
}

#define MANY .workers = 10000, .interval = 2
static const struct kinds kinds[] = {
    {"a third is slow", {MANY, .backends = 2, .slo_p95_us = 100000}, 60, 5000, 30, 150000},
    {"one in thirteen", {MANY, .backends = 2, .slo_p95_us = 100000}, 60, 5000, 5, 500000},
    {"alone is seldom", {MANY, .backends = 2, .slo_p95_us = 200000}, 60, 5000, 30, 500000},
    {"one backend", {MANY, .backends = 1, .slo_p95_us = 100000}, 60, 5000, 20, 300000},
    {"four, at random",
     {MANY, .backends = 4, .random = true, .slo_p95_us = 50000},
     300,
     3000,
     40,
     200000},
    {"fixed, no objective", {MANY, .backends = 3, .times = SIM_FIXED}, 100, 4000, 25, 200000},
};

/* Twenty-five seconds of the one, sixty of both, and it is over. */
static struct diary live(const struct kinds *k, uint64_t seed)
{
	struct diary d = {.found = 0};
	struct sim_plan plan = k->plan;
	plan.service_us = k->service_us;
	struct sim *sim = sim_new(&plan, seed);
	sim_on_look(sim, on_look, &d);
	sim_run(sim, k->rate, 25);
	sim_set_reports(sim, k->reports / (k->rate + k->reports), k->report_us);
	sim_run(sim, k->rate + k->reports, 60);
	sim_set_reports(sim, 0, 0);
	sim_run(sim, k->rate, 30);
	sim_free(sim);
	return d;
}

Test(kinds, another_kind_is_no_lack_of_backends)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		for (uint64_t seed = 1; seed <= 3; seed++) {
			struct diary d = live(&kinds[i], seed);
			cr_expect(d.wrong[0] == 0, "%s, seed %u: %s", kinds[i].name, (unsigned)seed,
				  d.wrong);
			cr_expect(d.of_kind > 0, "%s, seed %u: %s", kinds[i].name, (unsigned)seed,
				  d.last);
			cr_expect_eq(d.found, 0, "%s", kinds[i].name);
		}
}

/* When it is noticed few were alone: what comes then tells, and until then a deploy is a question.
 */
Test(kinds, are_told_once_enough_were_alone)
{
	const struct sim_plan plan = {MANY, .backends = 2, .service_us = 5000,
				      .slo_p95_us = 100000};
	static const uint64_t seeds[] = {601, 602, 703, 704};
	for (size_t i = 0; i < ARRAY_LEN(seeds); i++) {
		struct diary d = {.found = 0};
		struct sim *sim = sim_new(&plan, seeds[i]);
		sim_on_look(sim, on_look, &d);
		for (unsigned k = 0; k < 30; k++) {
			if (k == 16)
				sim_set_reports(sim, 0.3, 150000);
			for (unsigned second = 0; second < 5; second++)
				sim_run(sim, k < 24 ? 55 - 15 * cos(2 * M_PI * k / 12) : 90, 1);
		}
		cr_expect(sim_result(sim).scaling->change.of_kind, "seed %u: %s",
			  (unsigned)seeds[i], d.last);
		cr_expect_eq(d.deploys, 0, "seed %u: %u", (unsigned)seeds[i], d.deploys);
		sim_free(sim);
	}
}

/* It stands still now and then, at little load: that is not another kind, nor a deploy. */
Test(kinds, a_host_that_stands_still_is_none)
{
	for (uint64_t seed = 1; seed <= 5; seed++) {
		const struct sim_plan plan = {.backends = 1,
					      .workers = 1,
					      .interval = 2,
					      .service_us = 10000,
					      .times = SIM_FIXED,
					      .pause_s = 6,
					      .pause_us = 350000,
					      .slo_p95_us = 40000};
		struct sim *sim = sim_new(&plan, seed);
		sim_run(sim, 20, 90);
		const struct scaling *s = sim_result(sim).scaling;
		cr_expect_eq(s->change.at_us, 0, "seed %u: %s", (unsigned)seed, s->sentence);
		sim_free(sim);
	}
}

/* A queue of hundreds is load, though all of its seconds are alike. */
Test(kinds, a_deep_queue_is_load)
{
	const struct sim_plan plan = {.backends = 1,
				      .workers = 1,
				      .interval = 2,
				      .service_us = 10000,
				      .times = SIM_FIXED,
				      .slo_p95_us = 40000};
	struct sim *sim = sim_new(&plan, 1);
	sim_run(sim, 20, 40);
	sim_run(sim, 120, 15);
	sim_run(sim, 98, 45);
	const struct scaling *s = sim_result(sim).scaling;
	cr_assert_eq(s->opinion.verdict, VERDICT_scalability, "%s", s->sentence);
	sim_free(sim);
}
