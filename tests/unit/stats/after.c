/* SPDX-License-Identifier: MIT */
/* What is said after a change, of load or of backends, is of the time after it. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sim.h"
#include "weir/base/defs.h"

struct diary {
	bool added;
	double rate; /* that comes */
	unsigned far, stood, stale, old_news, changes;
	char said[SCALING_SENTENCE];
};

/* The figure of "... and 496 ms now"; 0: there is none. */
static double said_now_us(const char *sentence)
{
	const char *end = strstr(sentence, " now"), *at = end;
	char unit[3] = "";
	double x = 0;
	if (!end || end - sentence < 3)
		return 0;
	for (at = end - 3; at > sentence && at[-1] != ' ';)
		at--;
	sscanf(at, "%lf %2s", &x, unit);
	return strcmp(unit, "ms") == 0 ? x * 1e3 : strcmp(unit, "us") == 0 ? x : x * 1e6;
}

static void on_look(void *ctx, const struct scaling *s)
{
	struct diary *d = ctx;
	for (int i = 0; i < N_FORECASTS; i++) {
		const struct scaling_forecast *f = &s->forecasts[i];
		double times = i == FORECAST_HALF_MORE_LOAD   ? 1.5
			       : i == FORECAST_TWICE_THE_LOAD ? 2
							      : 1;
		if (f->refusal || d->rate <= 0)
			continue;
		d->stood++;
		d->far += fabs(f->rate / times - d->rate) > 0.25 * d->rate;
	}
	double said = said_now_us(s->sentence);
	bool stale = said > 0 && fabs(said - s->now.p95_us) > 0.06 * said;
	if (stale)
		snprintf(d->said, sizeof(d->said), "%s", s->sentence);
	d->stale += stale;
	d->changes += s->change.at_us > 0; /* it is the load */
	/* p99 is of the same seconds as p95 */
	d->old_news += d->added && s->now.n >= SCALING_SAMPLES && s->now_p99_us > 4 * s->now.p95_us;
}

/* One worker of 10 ms at a fifth, then at nine tenths of what it takes; then there are two. */
static struct diary live(uint64_t seed)
{
	const struct sim_plan plan = {.backends = 2,
				      .workers = 1,
				      .interval = 2,
				      .service_us = 10000,
				      .times = SIM_FIXED,
				      .slo_p95_us = 40000};
	struct diary d = {.rate = 20};
	struct sim *sim = sim_new(&plan, seed);
	sim_set_backends(sim, 1);
	sim_on_look(sim, on_look, &d);
	sim_run(sim, 20, 60);
	d.rate = 0; /* at the moment of the change nobody can know */
	sim_run(sim, 90, 6);
	d.rate = 90;
	d.stood = 0;
	sim_run(sim, 90, 34);
	sim_run(sim, 97, 16);
	sim_set_backends(sim, 2);
	d.added = true;
	sim_run(sim, 90, 40);
	sim_free(sim);
	return d;
}

Test(after, a_step_of_load_forecasts_are_of_what_comes)
{
	for (uint64_t seed = 1; seed <= 5; seed++) {
		struct diary d = live(seed);
		cr_expect_eq(d.far, 0, "seed %u: %u of %u", (unsigned)seed, d.far, d.stood);
		cr_expect_gt(d.stood, 0);
		cr_expect_eq(d.changes, 0, "seed %u", (unsigned)seed);
	}
}

Test(after, an_addition_nothing_is_of_the_time_before)
{
	for (uint64_t seed = 1; seed <= 5; seed++) {
		struct diary d = live(seed);
		cr_expect_eq(d.stale, 0, "seed %u: %u, %s", (unsigned)seed, d.stale, d.said);
		cr_expect_eq(d.old_news, 0, "seed %u: %u", (unsigned)seed, d.old_news);
	}
}

/* ---- nothing comes any more ---- */

struct silence {
	bool begun;
	unsigned stood, before;
};

static void on_silent_look(void *ctx, const struct scaling *s)
{
	struct silence *silence = ctx;
	for (int i = 0; i < N_FORECASTS; i++)
		if (!s->forecasts[i].refusal)
			*(silence->begun ? &silence->stood : &silence->before) += 1;
}

Test(after, the_last_request_nothing_is_forecast)
{
	const struct sim_plan plan = {
	    .backends = 2, .workers = 1, .interval = 2, .service_us = 10000, .slo_p95_us = 90000};
	for (uint64_t seed = 1; seed <= 3; seed++) {
		struct silence silence = {0};
		struct sim *sim = sim_new(&plan, seed);
		sim_on_look(sim, on_silent_look, &silence);
		sim_run(sim, 40, 60);
		sim_run(sim, 150, 60);
		sim_run(sim, 0.001, 12); /* the seconds that forecasts are of */
		silence.begun = true;
		sim_run(sim, 0.001, 40);
		cr_expect_gt(silence.before, 0, "seed %u", (unsigned)seed);
		cr_expect_eq(silence.stood, 0, "seed %u: %u", (unsigned)seed, silence.stood);
		sim_free(sim);
	}
}
