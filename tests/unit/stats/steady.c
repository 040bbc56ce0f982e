/* SPDX-License-Identifier: MIT */
/* What does not change is not said to: one backend that differs, and a host that is busy. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "sim.h"
#include "weir/base/defs.h"

struct watch {
	enum verdict last;
	unsigned changes, looks;
	bool said_kind, said_speed;
};

static void on_look(void *ctx, const struct scaling *s)
{
	struct watch *w = ctx;
	w->changes += w->looks++ > 0 && s->opinion.verdict != w->last;
	w->last = s->opinion.verdict;
	w->said_kind |= s->change.at_us && s->change.of_kind;
	w->said_speed |= s->change.at_us && !s->change.of_kind;
}

/* A load that swings once a minute, watched once it has been learned. */
static struct watch watch(struct sim *sim, double capacity, double low, double high)
{
	struct watch w = {.looks = 0};
	for (unsigned i = 0; i < 42; i++) {
		double swing = (high - low) / 2 * cos(2 * M_PI * i / 12);
		if (i == 12)
			sim_on_look(sim, on_look, &w);
		sim_run(sim, capacity * ((high + low) / 2 - swing), 5);
	}
	return w;
}

/* ---- one of four ---- */

Test(differs, is_said_of_one_and_does_not_flicker)
{
	static const struct {
		const char *name;
		double factor, capacity, low, high;
		uint64_t slo_us;
		bool random;
		enum verdict want; /* not_enough_data: any */
	} worlds[] = {
	    {"6 times", 6, 1300, 0.1, 0.5, 60000, false, VERDICT_skewed},
	    {"6 times, at random", 6, 1300, 0.02, 0.2, 60000, true, VERDICT_skewed},
	    {"6 times, few requests", 6, 40, 0.3, 0.8, 60000, false, VERDICT_skewed},
	    {"6 times, nobody minds", 6, 1300, 0.1, 0.5, 2000000, false, VERDICT_skewed},
	    {"1.7 times, nobody minds", 1.7, 1300, 0.1, 0.6, 200000, false, VERDICT_skewed},
	    {"on the line", 1.5, 1300, 0.1, 0.6, 200000, false, VERDICT_not_enough_data},
	    {"a little", 1.2, 1300, 0.1, 0.6, 200000, false, VERDICT_healthy},
	};
	for (size_t i = 0; i < ARRAY_LEN(worlds); i++) {
		const struct sim_plan plan = {.backends = 4,
					      .interval = 5,
					      .workers = 4,
					      .service_us = 10000,
					      .slow = {1, 1, worlds[i].factor, 1},
					      .random = worlds[i].random,
					      .slo_p95_us = worlds[i].slo_us};
		struct sim *sim = sim_new(&plan, i + 101);
		struct watch w = watch(sim, worlds[i].capacity, worlds[i].low, worlds[i].high);
		const struct scaling *s = sim_result(sim).scaling;
		/* once, by way of learning */
		cr_expect_leq(w.changes, 2, "%s: %u, %s", worlds[i].name, w.changes, s->sentence);
		cr_expect(!worlds[i].want || w.last == worlds[i].want, "%s: %s", worlds[i].name,
			  s->sentence);
		sim_free(sim);
	}
}

/* Where some queue at a bad host the others' requests are of no other kind, nor is it a deploy. */
Test(differs, is_no_change_of_all)
{
	const struct sim_plan plan = {.backends = 4,
				      .interval = 2,
				      .workers = 4,
				      .service_us = 10000,
				      .slow = {1, 1, 6, 1},
				      .random = true,
				      .slo_p95_us = 60000};
	for (uint64_t seed = 701; seed <= 702; seed++) {
		struct sim *sim = sim_new(&plan, seed);
		struct watch w = watch(sim, 1300, 0.02, 0.2);
		cr_expect(!w.said_kind && !w.said_speed, "seed %u: %s", (unsigned)seed,
			  sim_result(sim).scaling->sentence);
		sim_free(sim);
	}
}

/* Where all are slow alone that is what is said, though one is slower still. */
Test(differs, is_not_blamed_for_what_all_are)
{
	const struct sim_plan plan = {.backends = 4,
				      .interval = 5,
				      .workers = 4,
				      .service_us = 40000,
				      .slow = {1, 1, 2, 1},
				      .slo_p95_us = 30000};
	struct sim *sim = sim_new(&plan, 1);
	watch(sim, 400, 0.1, 0.4);
	const struct scaling *s = sim_result(sim).scaling;
	cr_assert_eq(s->opinion.verdict, VERDICT_performance, "%s", s->sentence);
	sim_free(sim);
}

/* ---- everybody ---- */

#define TWO .backends = 2, .interval = 2, .workers = 4, .slo_p95_us = 60000

/* A host with something else to do makes requests slow, now more and now less. */
Test(change, is_not_said_of_a_busy_host)
{
	static const struct {
		struct sim_plan plan;
		double rate, unrest;
	} worlds[] = {
	    {{TWO, .service_us = 1000}, 6, 0.6},
	    {{TWO, .service_us = 3000}, 20, 1},
	    {{TWO, .service_us = 3000, .times = SIM_FIXED}, 150, 0.5},
	};
	for (size_t i = 0; i < ARRAY_LEN(worlds); i++) {
		struct sim *sim = sim_new(&worlds[i].plan, i + 1);
		struct watch w = {.looks = 0};
		struct rng rng;
		double level = 0;
		rng_init(&rng, i + 1);
		sim_on_look(sim, on_look, &w);
		for (unsigned second = 0; second < 200; second++) {
			double step = (double)rng_below(&rng, 2001) / 1000 - 1;
			level = 0.8 * level + worlds[i].unrest * step;
			sim_set_speed(sim, exp(level), 0);
			sim_run(sim, worlds[i].rate, 1);
		}
		cr_expect(!w.said_kind && !w.said_speed, "world %zu", i);
		sim_free(sim);
	}
}

static struct watch change(const struct sim_plan *plan, double factor, double mix)
{
	struct sim *sim = sim_new(plan, 1);
	struct watch w = {.looks = 0};
	sim_on_look(sim, on_look, &w);
	sim_run(sim, 160, 60);
	sim_set_speed(sim, factor, mix);
	sim_run(sim, 160, 30);
	sim_free(sim);
	return w;
}

/* Levels rise with it, and who waits varies less: that is no other kind of requests. */
Test(change, is_a_deploy_or_other_requests)
{
	static const struct sim_plan same = {TWO, .service_us = 10000},
				     mixed = {TWO, .service_us = 10000, .times = SIM_MIX,
					      .mix = 0.05};
	struct watch deploy = change(&same, 3, 0), mix = change(&mixed, 1, 0.5);
	cr_expect(deploy.said_speed && !deploy.said_kind);
	cr_expect(mix.said_kind && !mix.said_speed);
}
