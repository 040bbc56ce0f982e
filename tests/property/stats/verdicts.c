/* SPDX-License-Identifier: MIT */
/*
 * The right verdict in every world, out of simulated traffic; and forecasts that
 * come true.  Of some seeded runs each, all but one must be right.
 */
#include "weir/stats/scaling.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../rounds.h"
#include "../../unit/stats/sim.h"

/* How many worlds of a kind are tried: WEIR_SEEDS in the environment, for whoever has the time. */
static int runs(void)
{
	const char *seeds = getenv("WEIR_SEEDS");
	return seeds ? atoi(seeds) : ROUNDS(3, 1);
}

#define RUNS runs()
#define RUNS_RIGHT (RUNS - 1)

/* Load goes up and down, as in a day, and ends where the verdict is asked for. */
static void run_day(struct sim *sim, double capacity, double last)
{
	static const double shares[] = {0.2, 0.4, 0.6, 0.8, 0.9, 0.7, 0.5, 0.3};
	for (size_t i = 0; i < ARRAY_LEN(shares); i++)
		sim_run(sim, shares[i] * capacity, 10);
	sim_run(sim, last * capacity, 60);
}

/* How it ended; the world is gone then. */
static bool ended_with(struct sim *sim, uint64_t seed, enum verdict want)
{
	struct scaling *s = sim_result(sim).scaling;
	bool right = s->opinion.verdict == want;
	if (!right)
		cr_log_error("seed %lu: %s: %s", (unsigned long)seed,
			     verdict_name(s->opinion.verdict), s->sentence);
	sim_free(sim);
	return right;
}

static int count_right(const struct sim_plan *plan, double capacity, double last, enum verdict want)
{
	int right = 0;
	for (uint64_t seed = 1; seed <= (uint64_t)RUNS; seed++) {
		struct sim *sim = sim_new(plan, seed);
		run_day(sim, capacity, last);
		right += ended_with(sim, seed, want);
	}
	return right;
}

Test(verdict, healthy_at_low_load)
{
	struct sim_plan plan = {
	    .backends = 4, .workers = 4, .service_us = 10000, .slo_p95_us = 60000};
	int right = count_right(&plan, 1600, 0.4, VERDICT_healthy);
	cr_assert(right >= RUNS_RIGHT, "%d of %d", right, RUNS);
	plan.slo_p95_us = 0;
	right = count_right(&plan, 1600, 0.4, VERDICT_steady);
	cr_assert(right >= RUNS_RIGHT, "%d of %d without an objective", right, RUNS);
}

Test(verdict, steady_names_the_key_that_is_missing)
{
	const struct sim_plan plan = {.backends = 4, .workers = 4, .service_us = 10000};
	struct sim *sim = sim_new(&plan, 1);
	run_day(sim, 1600, 0.4);
	const char *said = sim_result(sim).scaling->sentence;
	cr_assert(strstr(said, "you must say: pools.slow.slo.p95"), "%s", said);
	sim_free(sim);
}

Test(verdict, performance_when_slow_alone)
{
	const struct sim_plan plan = {
	    .backends = 4, .workers = 4, .service_us = 40000, .slo_p95_us = 60000};
	int right = count_right(&plan, 400, 0.4, VERDICT_performance);
	cr_assert(right >= RUNS_RIGHT, "%d of %d", right, RUNS);
}

/*
 * What breaks the objective is the cause: who holds it alone, if only just, is slow under
 * load, and is told how much of it is spent alone; who does not is slow on its own.
 */
Test(verdict, the_objective_says_which_of_both_it_is)
{
	static const struct {
		uint64_t slo_us; /* 95 % of those alone take 60 ms */
		double load;
		enum verdict want;
		const char *said;
	} worlds[] = {
	    {120000, 1.03, VERDICT_scalability, "add backends; "},
	    {70000, 0.96, VERDICT_scalability, "or look at the code: alone it takes "},
	    {70000, 0.4, VERDICT_healthy, "within the objective"},
	    {50000, 0.4, VERDICT_performance, "the load from here is not the cause"},
	    {50000, 0.9, VERDICT_performance, "slow on its own"},
	};
	for (size_t i = 0; i < ARRAY_LEN(worlds); i++) {
		const struct sim_plan plan = {.backends = 4,
					      .interval = 5,
					      .workers = 4,
					      .service_us = 20000,
					      .slo_p95_us = worlds[i].slo_us};
		int right = 0;
		for (uint64_t seed = 1; seed <= (uint64_t)RUNS; seed++) {
			struct sim *sim = sim_new(&plan, seed);
			run_day(sim, 800, worlds[i].load);
			const struct scaling *s = sim_result(sim).scaling;
			bool said = strstr(s->sentence, worlds[i].said) != NULL;
			if (!said)
				cr_log_error("%zu: %s", i, s->sentence);
			right += said && s->opinion.verdict == worlds[i].want;
			sim_free(sim);
		}
		cr_assert(right >= RUNS_RIGHT, "world %zu: %d of %d", i, right, RUNS);
	}
}

Test(verdict, scalability_when_slow_in_company)
{
	const struct sim_plan plan = {
	    .backends = 4, .workers = 4, .service_us = 10000, .slo_p95_us = 60000};
	int right = count_right(&plan, 1600, 1.02, VERDICT_scalability);
	cr_assert(right >= RUNS_RIGHT, "%d of %d", right, RUNS);
}

/* 16 workers at each backend, but all pass a station that takes 1000 a second. */
static const struct sim_plan shared_world = {.backends = 4,
					     .workers = 16,
					     .service_us = 5000,
					     .shared_workers = 2,
					     .shared_us = 2000,
					     .slo_p95_us = 30000};

Test(verdict, shared_when_the_bottleneck_is_behind)
{
	struct sim_plan plan = shared_world;
	plan.random = true; /* backends are unequally busy by chance */
	int right = count_right(&plan, 1000, 1.03, VERDICT_scalability_shared);
	cr_assert(right >= RUNS_RIGHT, "%d of %d", right, RUNS);
}

/*
 * All are equally busy at all times: nothing within five seconds tells sharing from load of
 * their own, and what differs between pools of different sizes may be a deploy as well.
 */
Test(verdict, sharing_is_not_denied_when_more_backends_have_not_helped)
{
	for (uint64_t seed = 1; seed <= (uint64_t)RUNS; seed++) {
		struct sim *sim = sim_new(&shared_world, seed);
		for (unsigned n = 1; n <= 4; n *= 2) {
			sim_set_backends(sim, n);
			run_day(sim, 1000, 0.5);
		}
		sim_run(sim, 1030, 60);
		struct scaling *s = sim_result(sim).scaling;
		cr_assert(!s->shift.known || s->shift.found, "seed %lu: %s", (unsigned long)seed,
			  s->sentence);
		cr_assert(s->opinion.verdict == VERDICT_scalability ||
			  s->opinion.verdict == VERDICT_scalability_shared);
		cr_assert(s->shift.found || strstr(s->sentence, "is not known"), "%s", s->sentence);
		sim_free(sim);
	}
}

/*
 * A pool that grows because it is too slow, as in scripts/scale-out: each size is led from
 * little load to more than it can take, which is the moment that shows most.
 */
static void run_growth(struct sim *sim, double one, double slower)
{
	static const double shares[] = {0.15, 0.3, 0.45, 0.6, 0.75, 0.9};
	for (unsigned n = 1; n <= 8; n *= 2) {
		sim_set_backends(sim, n);
		if (slower > 0 && n == 4)
			sim_set_speed(sim, slower, 0);
		for (size_t i = 0; i < ARRAY_LEN(shares); i++) {
			sim_run(sim, shares[i] * n * one, 3);
			sim_run(sim, 1, 2); /* those who wait are served */
		}
		sim_run(sim, 1.15 * n * one, 30);
		if (n < 8)
			sim_run(sim, 1, 40);
	}
}

static int count_grown(const struct sim_plan *plan, double one, enum verdict want)
{
	int right = 0;
	for (uint64_t seed = 1; seed <= (uint64_t)RUNS; seed++) {
		struct sim *sim = sim_new(plan, seed);
		run_growth(sim, one, 0);
		right += ended_with(sim, seed, want);
	}
	return right;
}

Test(verdict, shared_when_growing_pools_are_overloaded)
{
	/* four workers of 20 ms each, 4 of them at a station that takes 500 a second */
	const struct sim_plan plan = {.backends = 8,
				      .interval = 4,
				      .workers = 4,
				      .service_us = 16000,
				      .shared_workers = 2,
				      .shared_us = 4000,
				      .slo_p95_us = 150000};
	int right = count_grown(&plan, 200, VERDICT_scalability_shared);
	cr_assert(right >= RUNS_RIGHT, "%d of %d", right, RUNS);
}

/* In how many worlds a full backend was thought to do less in a larger pool. */
static int count_falls(const struct sim_plan *plan, double one, double slower)
{
	int found = 0;
	for (uint64_t seed = 1; seed <= (uint64_t)(RUNS + 4) / 5; seed++) {
		struct sim *sim = sim_new(plan, seed);
		run_growth(sim, one, slower);
		const struct scaling *s = sim_result(sim).scaling;
		found += s->fall.found;
		cr_log_info("seed %lu: %u of %.0f, %u of %.0f, z %.1f", (unsigned long)seed,
			    s->fall.from, s->fall.rate_from, s->fall.to, s->fall.rate_to,
			    s->fall.z);
		sim_free(sim);
	}
	return found;
}

#define GROWING \
	.backends = 8, .interval = 4, .workers = 4, .service_us = 20000, .slo_p95_us = 150000

/* What else makes larger pools do less for each backend, or seem to. */
Test(verdict, nothing_is_shared_for_what_grows_otherwise)
{
	static const struct {
		const char *name;
		struct sim_plan plan;
		double one, slower;
	} worlds[] = {
	    {"fixed", {GROWING, .times = SIM_FIXED}, 200, 0},
	    {"Pareto", {GROWING, .times = SIM_PARETO}, 200, 0},
	    {"at random", {GROWING, .random = true}, 200, 0},
	    {"by turns", {GROWING, .round_robin = true}, 200, 0},
	    {"a deploy when it grows", {GROWING}, 200, 2},
	    {"a small deploy", {GROWING}, 200, 1.3},
	    {"weaker newcomers", {GROWING, .slow = {1, 1, 2, 2, 2, 2, 2, 2}}, 200, 0},
	    {"others' load", {GROWING, .foreign = 60}, 200, 0},
	    {"near its peak",
	     {.backends = 8, .interval = 4, .lam = 20, .sig = 0.03, .kap = 0.0001},
	     320,
	     0},
	};
	for (size_t i = 0; i < ROUNDS(ARRAY_LEN(worlds), 2); i++) {
		int found = count_falls(&worlds[i].plan, worlds[i].one, worlds[i].slower);
		cr_assert(found == 0, "%s: %d of %d", worlds[i].name, found, RUNS);
	}
}

Test(verdict, scalability_when_growing_pools_share_nothing)
{
	static const double variation[] = {0.1, 1, 6}; /* even, exponential, a long tail */
	for (size_t i = 0; i < ARRAY_LEN(variation); i++) {
		const struct sim_plan plan = {.backends = 8,
					      .workers = 4,
					      .service_us = 20000,
					      .cv2 = variation[i],
					      .slo_p95_us = 150000};
		int right = count_grown(&plan, 200, VERDICT_scalability);
		cr_assert(right >= RUNS_RIGHT, "%d of %d, variation %f", right, RUNS, variation[i]);
	}
}

Test(verdict, sharing_is_never_denied_when_it_could_not_be_seen)
{
	/* all backends equally busy at all times: nothing to compare */
	struct sim *sim = sim_new(&shared_world, 1);
	run_day(sim, 1000, 1.03);
	struct scaling *s = sim_result(sim).scaling;
	cr_assert(!s->shift.known || s->shift.found);
	cr_assert(s->opinion.verdict == VERDICT_scalability ||
		  s->opinion.verdict == VERDICT_scalability_shared);
	sim_free(sim);
}

Test(verdict, scalability_when_backends_are_unequally_busy)
{
	struct sim_plan plan = {
	    .backends = 4, .workers = 4, .service_us = 10000, .random = true, .slo_p95_us = 60000};
	int right = count_right(&plan, 1600, 0.95, VERDICT_scalability);
	cr_assert(right >= RUNS_RIGHT, "%d of %d", right, RUNS);
	plan.cv2 = 4;
	right = count_right(&plan, 1600, 0.95, VERDICT_scalability);
	cr_assert(right >= RUNS_RIGHT, "%d of %d with a long tail", right, RUNS);
}

Test(verdict, skewed_when_one_has_more_to_do)
{
	const struct sim_plan plan = {
	    .backends = 4, .workers = 4, .service_us = 10000, .uneven = true, .slo_p95_us = 60000};
	/* the first gets four of seven requests: its limit is at 700 in all */
	int right = count_right(&plan, 700, 0.98, VERDICT_skewed);
	cr_assert(right >= RUNS_RIGHT, "%d of %d", right, RUNS);
}

Test(verdict, skewed_when_one_is_slower)
{
	const struct sim_plan plan = {
	    .backends = 4, .workers = 4, .service_us = 10000, .slow = {1, 1, 2.5, 1}};
	int right = count_right(&plan, 1300, 0.5, VERDICT_skewed);
	cr_assert(right >= RUNS_RIGHT, "%d of %d", right, RUNS);
}

/* The backends are quick, the time goes by in front of them. */
Test(verdict, balancer_when_time_is_lost_in_weir)
{
	struct sim_plan plan = {.backends = 4,
				.workers = 4,
				.service_us = 10000,
				.queue_us = 30000,
				.slo_p95_us = 60000};
	int right = count_right(&plan, 1600, 0.4, VERDICT_balancer);
	cr_assert(right >= RUNS_RIGHT, "%d of %d", right, RUNS);
	plan.slo_p95_us = 0;
	right = count_right(&plan, 1600, 0.4, VERDICT_balancer);
	cr_assert(right >= RUNS_RIGHT, "%d of %d without an objective", right, RUNS);
	plan.slo_p95_us = 300000; /* it is slow, but nobody minds */
	right = count_right(&plan, 1600, 0.4, VERDICT_healthy);
	cr_assert(right >= RUNS_RIGHT, "%d of %d within the objective", right, RUNS);
}

/* Neither the fastest of them nor the slowest is blamed for being first or last. */
Test(verdict, healthy_when_backends_differ_a_little)
{
	const struct sim_plan plan = {.backends = 4,
				      .workers = 4,
				      .service_us = 10000,
				      .slow = {0.85, 1, 1.15, 1},
				      .slo_p95_us = 60000};
	int right = count_right(&plan, 1600, 0.5, VERDICT_healthy);
	cr_assert(right >= RUNS_RIGHT, "%d of %d", right, RUNS);
}

Test(verdict, skewed_when_one_of_two_is_slower)
{
	const struct sim_plan plan = {
	    .backends = 2, .workers = 4, .service_us = 10000, .slow = {1, 2.5}};
	int right = count_right(&plan, 550, 0.5, VERDICT_skewed);
	cr_assert(right >= RUNS_RIGHT, "%d of %d", right, RUNS);
}

Test(verdict, nothing_is_said_about_thin_data)
{
	const struct sim_plan plan = {
	    .backends = 4, .workers = 4, .service_us = 10000, .slo_p95_us = 20000};
	int right = 0, refused = 0;
	for (uint64_t seed = 1; seed <= (uint64_t)RUNS; seed++) {
		struct sim *sim = sim_new(&plan, seed);
		sim_run(sim, 2, 60);
		struct scaling *s = sim_result(sim).scaling;
		right += s->opinion.verdict == VERDICT_not_enough_data;
		refused += s->fit.refusal != NULL;
		for (int i = 0; i < N_FORECASTS; i++)
			cr_assert_not_null(s->forecasts[i].refusal);
		sim_free(sim);
	}
	cr_assert(right == RUNS && refused == RUNS);
}

Test(verdict, a_steady_overload_alone_is_not_enough)
{
	/* never seen with few in flight: what it is alone is not known */
	const struct sim_plan plan = {
	    .backends = 1, .workers = 4, .service_us = 10000, .slo_p95_us = 20000};
	struct sim *sim = sim_new(&plan, 1);
	sim_run(sim, 900, 60);
	struct scaling *s = sim_result(sim).scaling;
	cr_assert_eq(s->opinion.verdict, VERDICT_not_enough_data);
	sim_free(sim);
}

Test(verdict, holds_until_three_looks_agree)
{
	const struct sim_plan plan = {
	    .backends = 2, .workers = 4, .service_us = 10000, .slo_p95_us = 60000};
	struct sim *sim = sim_new(&plan, 1);
	struct scaling *s = sim_result(sim).scaling;
	sim_run(sim, 300, 20);
	cr_assert_eq(s->opinion.verdict, VERDICT_not_enough_data);
	cr_assert_eq(s->opinion.next, VERDICT_healthy);
	cr_assert_eq(s->opinion.agreed, 2);
	cr_assert(strstr(s->sentence, "2 of the 3 looks that must agree: healthy: p95 "), "%s",
		  s->sentence);
	sim_run(sim, 300, 10);
	cr_assert_eq(s->opinion.verdict, VERDICT_healthy);
	cr_assert_eq(s->opinion.agreed, 0);
	cr_assert(s->sentence[0] != '\0');
	sim_free(sim);
}

/* ---- the model out of traffic ---- */

Test(model, finds_the_workers)
{
	const struct sim_plan plan = {.backends = 4, .workers = 4, .service_us = 10000};
	int right = 0;
	for (uint64_t seed = 1; seed <= (uint64_t)RUNS; seed++) {
		struct sim *sim = sim_new(&plan, seed);
		run_day(sim, 1600, 0.6);
		const struct fit *f = &sim_result(sim).scaling->fit;
		right += !f->refusal && f->model == FIT_WORKERS && f->workers.c_low <= 4 &&
			 f->workers.c_high >= 4 && fabs(f->workers.per_worker - 100) < 5;
		sim_free(sim);
	}
	cr_assert(right >= RUNS_RIGHT, "%d of %d", right, RUNS);
}

/* What the reference says of such traffic: sigma .024 to .036, the peak at 44. */
Test(model, finds_the_universal_law)
{
	const struct sim_plan plan = {.backends = 4, .lam = 50, .sig = 0.03, .kap = 0.0005};
	int right = 0;
	for (uint64_t seed = 1; seed <= (uint64_t)RUNS; seed++) {
		struct sim *sim = sim_new(&plan, seed);
		run_day(sim, 2720, 0.6);
		const struct fit *f = &sim_result(sim).scaling->fit;
		bool found = !f->refusal && f->model == FIT_USL && f->usl.kap_significant &&
			     fabs(f->usl.lam - 50) < 2 && fabs(f->usl.sig - 0.03) < 0.006 &&
			     fabs(f->usl.kap - 0.0005) < 0.0002 && fabs(f->usl.peak_n - 44) < 6;
		right += found;
		if (!found)
			cr_log_info("seed %lu: %s, model %d, %f %f %f, peak %f",
				    (unsigned long)seed, f->refusal ? f->refusal : "fits",
				    (int)f->model, f->usl.lam, f->usl.sig, f->usl.kap,
				    f->usl.peak_n);
		sim_free(sim);
	}
	cr_assert(right >= RUNS_RIGHT, "%d of %d", right, RUNS);
}

/* How often p99 with n + 1 (or n - 1) backends lies in the interval. */
static void check_forecasts(struct sim_plan plan, double capacity, double load, unsigned to)
{
	int inside = 0, forecasts = 0;
	unsigned from = 4;
	plan.backends = 5;
	for (uint64_t seed = 1; seed <= (uint64_t)RUNS; seed++) {
		struct sim *sim = sim_new(&plan, seed);
		sim_set_backends(sim, from);
		struct scaling *s = sim_result(sim).scaling;
		sim_run(sim, capacity * 0.1, 30); /* a night, in which some are alone */
		run_day(sim, capacity, load);
		sim_run(sim, capacity * load, 60);
		struct scaling_forecast f = s->forecasts[to > from ? FORECAST_MORE : FORECAST_LESS];
		cr_assert_eq(f.backends, to);
		forecasts += !f.refusal && !f.saturated;
		sim_set_backends(sim, to);
		sim_run(sim, capacity * load, 40); /* the new steady state */
		double sum = 0;
		for (int i = 0; i < 6; i++) { /* what it is in a minute of it */
			sim_run(sim, capacity * load, 10);
			sum += s->now_p99_us / 6;
		}
		/* two of ten are outside, by little; how many is for weir-sim --forecasts */
		bool hit = sum >= f.p99_us.low * 0.9 && sum <= f.p99_us.high * 1.1;
		inside += hit;
		if (!hit)
			cr_log_error("load %f seed %lu: %f not in %f .. %f .. %f: %s", load,
				     (unsigned long)seed, sum, f.p99_us.low, f.p99_us.mid,
				     f.p99_us.high, f.refusal ? f.refusal : "it stands");
		if (f.refusal || f.saturated) {
			sim_free(sim);
			continue;
		}
		sim_run(sim, capacity * load, 60); /* two minutes are what it is of */
		cr_assert(s->n_scores >= 1, "the forecast is scored");
		cr_assert(s->scores[0].comparable);
		/* near the limit the interval is wide, and its middle no promise */
		cr_assert(scaling_median_error(s) < (load < 0.85 ? 0.5 : 1),
			  "load %f, to %u, seed %lu: %f, not %f .. %f .. %f", load, to,
			  (unsigned long)seed, s->scores[0].actual_us, f.p99_us.low, f.p99_us.mid,
			  f.p99_us.high);
		sim_free(sim);
	}
	cr_assert(forecasts >= RUNS_RIGHT, "load %f: %d forecasts", load, forecasts);
	cr_assert(inside >= RUNS * 4 / 5, "load %f, to %u: %d of %d", load, to, inside, RUNS);
}

Test(forecast, one_more_comes_true)
{
	const struct sim_plan plan = {.workers = 4, .service_us = 10000};
	check_forecasts(plan, 1600, 0.5, 5);
	check_forecasts(plan, 1600, 0.75, 5);
	check_forecasts(plan, 1600, 0.9, 5);
}

Test(forecast, one_less_comes_true)
{
	const struct sim_plan plan = {.workers = 4, .service_us = 10000};
	check_forecasts(plan, 1600, 0.4, 3);
	check_forecasts(plan, 1600, 0.6, 3);
	check_forecasts(plan, 1600, 0.67, 3); /* three have 89 % to do */
}

Test(forecast, random_choice_makes_separate_queues)
{
	const struct sim_plan plan = {.workers = 4, .service_us = 10000, .random = true};
	check_forecasts(plan, 1600, 0.75, 5);
}

/* Neither model needs exponential times: the wait is corrected for what was measured. */
Test(forecast, even_and_uneven_service_times)
{
	struct sim_plan plan = {.workers = 4, .service_us = 20000, .cv2 = 0.25};
	check_forecasts(plan, 800, 0.8, 5);
	plan.cv2 = 3;
	check_forecasts(plan, 800, 0.7, 5);
}

Test(forecast, of_the_universal_law_comes_true)
{
	const struct sim_plan plan = {.lam = 20, .sig = 0.03, .kap = 0.0005};
	check_forecasts(plan, 1088, 0.5, 5);
	check_forecasts(plan, 1088, 0.9, 5);
	check_forecasts(plan, 1088, 0.6, 3);
}

Test(forecast, too_much_for_those_who_are_left)
{
	const struct sim_plan plan = {.backends = 4, .workers = 4, .service_us = 10000};
	struct sim *sim = sim_new(&plan, 1);
	run_day(sim, 1600, 0.8);
	struct scaling *s = sim_result(sim).scaling;
	const struct scaling_forecast *less = &s->forecasts[FORECAST_LESS];
	cr_assert_null(less->refusal);
	cr_assert(less->saturated);
	cr_assert(fabs(less->capacity_high - 1200) < 60, "%f", less->capacity_high);
	cr_assert(!less->capacity_at_least);
	cr_assert(fabs(s->forecasts[FORECAST_DOUBLE].capacity_high - 3200) < 160);
	sim_free(sim);
}

/* ---- several nodes ---- */

/* A night, a day, and 87 % of what they can do, most or half of it by the other node. */
static struct sim *two_nodes(double other, uint64_t seed)
{
	const struct sim_plan plan = {.backends = 3,
				      .interval = 2,
				      .workers = 1,
				      .service_us = 10000,
				      .times = SIM_FIXED,
				      .slo_p95_us = 25000,
				      .other = other};
	struct sim *sim = sim_new(&plan, seed);
	sim_run(sim, 15, 60);
	run_day(sim, 300, 0.87);
	return sim;
}

Test(nodes, load_of_another_is_load)
{
	static const double others[] = {0.25, 0.5, 0.7};
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		struct sim *sim = two_nodes(others[i], i + 1);
		const struct scaling *s = sim_result(sim).scaling;
		cr_expect_eq(s->opinion.verdict, VERDICT_scalability, "%f: %s", others[i],
			     s->sentence);
		cr_expect_float_eq(s->rate, 261, 30, "%f: %f", others[i], s->rate);
		cr_expect_not(s->shift.found);
		cr_expect(s->alone.p95_us < 11500, "%f: %f", others[i], s->alone.p95_us);
		sim_free(sim);
	}
}

Test(nodes, who_is_not_heard_is_not_guessed)
{
	struct sim *sim = two_nodes(0.5, 1);
	const struct scaling *s = sim_result(sim).scaling;
	sim_set_other(sim, 0.5, false);
	sim_run(sim, 261, 20);
	cr_expect_eq(s->opinion.verdict, VERDICT_not_enough_data, "%s", s->sentence);
	for (int i = 0; i < N_FORECASTS; i++)
		cr_expect(s->forecasts[i].refusal != NULL);
	/* heard again: it is judged again, by what was learned before */
	sim_set_other(sim, 0.5, true);
	sim_run(sim, 261, 30);
	cr_expect_eq(s->opinion.verdict, VERDICT_scalability, "%s", s->sentence);
	sim_free(sim);
}
