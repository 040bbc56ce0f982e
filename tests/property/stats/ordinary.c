/* SPDX-License-Identifier: MIT */
/* What happens on an ordinary day: a slow dependency, a queue by turns, clients that wait. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../../rounds.h"
#include "../../unit/stats/sim.h"

struct diary {
	unsigned looks[N_VERDICTS], found, behind;
	char last[SCALING_SENTENCE];
};

static void on_look(void *ctx, const struct scaling *s)
{
	struct diary *d = ctx;
	d->looks[s->opinion.verdict]++;
	d->found += scaling_is_shared(s);
	d->behind += strstr(s->sentence, "slower since ") && s->change.behind;
	snprintf(d->last, sizeof(d->last), "%s", s->sentence);
}

/* Two minutes that swing between two shares of the capacity, once a minute. */
static void swing(struct sim *sim, double capacity, double low, double high)
{
	for (unsigned i = 0; i < 24; i++)
		sim_run(sim, capacity * ((high + low) / 2 - (high - low) / 2 * cos(M_PI * i / 6)),
			5);
}

#define SEEDS_FROM 1001
#define SEEDS_TO ROUNDS(1003, 1001)

/* They wait for somebody else for half a minute, and cannot do what they did before. */
Test(ordinary, a_slow_dependency_is_no_lack_of_backends)
{
	for (uint64_t seed = SEEDS_FROM; seed <= SEEDS_TO; seed++)
		for (unsigned slo = 0; slo <= 60000; slo += 60000) {
			const struct sim_plan plan = {.backends = 3,
						      .workers = 4,
						      .interval = 2,
						      .service_us = 10000,
						      .slo_p95_us = slo};
			struct diary d = {.found = 0};
			struct sim *sim = sim_new(&plan, seed);
			sim_on_look(sim, on_look, &d);
			swing(sim, 1200, 0.1, 0.3);
			sim_set_speed(sim, 8, 0);
			sim_run(sim, 300, 30);
			cr_assert(d.behind > 0, "%s", d.last);
			sim_set_speed(sim, 1, 0);
			sim_run(sim, 300, 60);
			cr_assert_eq(d.looks[VERDICT_scalability], 0, "seed %u", (unsigned)seed);
			cr_assert_eq(d.looks[VERDICT_performance], 0, "seed %u", (unsigned)seed);
			cr_assert_eq(d.found, 0);
			/* and then it is over */
			cr_assert_not(strstr(d.last, "slower"), "%s", d.last);
			sim_free(sim);
		}
}

/* A burst is load, however soon it is over. */
Test(ordinary, what_comes_each_minute_is_no_deploy)
{
	for (uint64_t seed = SEEDS_FROM; seed <= SEEDS_TO; seed++) {
		const struct sim_plan plan = {.backends = 3,
					      .workers = 4,
					      .interval = 2,
					      .service_us = 10000,
					      .slo_p95_us = 60000};
		struct diary d = {.found = 0};
		struct sim *sim = sim_new(&plan, seed);
		sim_on_look(sim, on_look, &d);
		for (unsigned i = 0; i < 4; i++) {
			sim_run(sim, 240, 55);
			sim_run(sim, 2400, 5);
		}
		cr_assert_eq(d.behind, 0);
		cr_assert_eq(d.found, 0);
		sim_free(sim);
	}
}

/* Who comes by turns to one worker waits the longer the sooner the one before him came. */
Test(ordinary, one_worker_by_turns_shares_nothing)
{
	for (uint64_t seed = SEEDS_FROM; seed <= SEEDS_TO; seed++) {
		const struct sim_plan plan = {.backends = 3,
					      .workers = 1,
					      .interval = 2,
					      .service_us = 10000,
					      .times = SIM_FIXED,
					      .round_robin = true,
					      .slo_p95_us = 60000};
		struct diary d = {.found = 0};
		struct sim *sim = sim_new(&plan, seed);
		sim_on_look(sim, on_look, &d);
		swing(sim, 300, 0.1, 0.95);
		sim_run(sim, 285, 120);
		cr_assert_eq(d.found, 0, "seed %u: %s", (unsigned)seed, d.last);
		sim_free(sim);
	}
}

/* ---- clients that wait for an answer before they ask again ---- */

static const struct scaling *after_minutes(struct sim *sim, double rate)
{
	sim_run(sim, rate, 100);
	return sim_result(sim).scaling;
}

Test(ordinary, clients_that_wait_are_told_from_others)
{
	static const unsigned clients[] = {0, 12, 80};
	for (uint64_t seed = SEEDS_FROM; seed <= SEEDS_TO; seed++)
		for (unsigned i = 0; i < 3; i++) {
			const struct sim_plan plan = {.backends = 4,
						      .workers = 4,
						      .service_us = 10000,
						      .clients = clients[i]};
			struct sim *sim = sim_new(&plan, seed);
			const struct scaling *s = after_minutes(sim, 800);
			const char *why = s->forecasts[FORECAST_MORE].refusal;
			bool said = why && strstr(why, "wait for his answer");
			bool waits = clients[i] > 0;
			cr_assert_eq(s->closed, waits, "%u clients", clients[i]);
			cr_assert_eq(said, waits, "%u clients: %s", clients[i], why);
			sim_free(sim);
		}
}

/* What comes by the clock leaves as many in flight as clients that wait do. */
Test(ordinary, what_is_paced_is_no_client_that_waits)
{
	static const enum sim_times times[] = {SIM_FIXED, SIM_BY_CV2, SIM_PARETO};
	static const unsigned paced[] = {4, 16, 400};
	for (uint64_t seed = SEEDS_FROM; seed <= SEEDS_TO; seed++)
		for (unsigned i = 0; i < 9; i++) {
			const struct sim_plan plan = {.backends = 4,
						      .workers = 4,
						      .service_us = 10000,
						      .times = times[i % 3],
						      .paced = paced[i / 3]};
			struct sim *sim = sim_new(&plan, seed);
			cr_assert(!after_minutes(sim, 800)->closed, "%u of %u", i, paced[i / 3]);
			sim_free(sim);
		}
}

/* Whatever their requests take. */
Test(ordinary, clients_wait_for_what_takes_any_time)
{
	static const double cv2[] = {0.01, 0.1, 4};
	static const unsigned clients[] = {5, 12, 40};
	for (uint64_t seed = SEEDS_FROM; seed <= SEEDS_TO; seed++)
		for (unsigned i = 0; i < 9; i++) {
			const struct sim_plan plan = {.backends = 4,
						      .workers = 4,
						      .service_us = 10000,
						      .cv2 = cv2[i % 3],
						      .clients = clients[i / 3]};
			struct sim *sim = sim_new(&plan, seed);
			cr_assert(after_minutes(sim, 800)->closed, "%u clients, %u", clients[i / 3],
				  i);
			sim_free(sim);
		}
}

Test(ordinary, more_clients_that_wait_are_no_open_load)
{
	static const unsigned clients[] = {2, 5, 8, 12, 20, 30, 25, 16, 10, 5, 14};
	const struct sim_plan plan = {
	    .backends = 4, .workers = 4, .service_us = 10000, .clients = 2};
	struct sim *sim = sim_new(&plan, SEEDS_FROM);
	for (unsigned i = 0; i < sizeof(clients) / sizeof(clients[0]); i++) {
		sim_set_clients(sim, clients[i]);
		sim_run(sim, 0, 15);
	}
	const struct scaling *s = after_minutes(sim, 0);
	cr_assert(s->fit.refusal == NULL, "%s", s->fit.refusal);
	for (int i = 0; i < N_FORECASTS; i++)
		cr_assert(s->forecasts[i].refusal && s->closed);
	sim_free(sim);
}

/* Seconds that vary far more than chance does are measured, and simulated so. */
Test(ordinary, bursts_are_as_large_as_they_are)
{
	const struct sim_plan plan = {.backends = 4, .workers = 4, .service_us = 10000};
	struct sim *sim = sim_new(&plan, SEEDS_FROM);
	struct rng rng;
	rng_init(&rng, SEEDS_FROM);
	for (unsigned i = 0; i < 120; i++)
		sim_run(sim, 400 + rng_below(&rng, 801), 1);
	/* 1 + 800 / 12 = 68, and a median of sixty squares */
	double cv2 = sim_result(sim).scaling->cv2_arrivals;
	cr_assert(cv2 > 15 && cv2 < 300, "%.1f", cv2);
	sim_free(sim);
}
