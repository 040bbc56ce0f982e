/* SPDX-License-Identifier: MIT */
#include "calibration.h"

#include <math.h>
#include <stdlib.h>

#include "weir/base/check.h"
#include "weir/base/defs.h"

#define FOUR 4
#define SEEDS_MAX 1000

#define BASE .workers = 4, .service_us = 10000
const struct calibration_family calibration_families[] = {
    {"exponential", {BASE}, 1600, LOAD_STEADY},
    {"fixed", {BASE, .times = SIM_FIXED}, 1600, LOAD_STEADY},
    {"Pareto", {BASE, .times = SIM_PARETO}, 1600, LOAD_STEADY},
    {"uneven routes", {BASE, .times = SIM_MIX, .mix = 0.2}, 1600, LOAD_STEADY},
    {"one worker", {.workers = 1, .service_us = 10000}, 400, LOAD_STEADY},
    {"at random", {BASE, .random = true}, 1600, LOAD_STEADY},
    {"bursts", {BASE}, 1600, LOAD_BURSTS},
    {"diurnal", {BASE}, 1600, LOAD_DAY},
    {"closed loop", {BASE, .clients = 12}, 1600, LOAD_STEADY},
    {"two nodes", {BASE, .other = 0.5}, 1600, LOAD_STEADY},
    {"the smaller", {BASE, .other = 0.75}, 1600, LOAD_STEADY},
    {"the larger", {BASE, .other = 0.25, .times = SIM_FIXED}, 1600, LOAD_STEADY},
    {"two, one worker", {.workers = 1, .service_us = 10000, .other = 0.6}, 400, LOAD_STEADY},
};
const size_t n_calibration_families = ARRAY_LEN(calibration_families);

static const struct {
	const char *name;
	double loads[3]; /* shares of the capacity of four, before */
	double times;    /* load then, of that before */
	unsigned forecast, backends;
} events[N_EVENTS] = {
    [CALIBRATION_MORE] = {"n + 1", {0.5, 0.75, 0.9}, 1, FORECAST_MORE, FOUR + 1},
    [CALIBRATION_LESS] = {"n - 1", {0.3, 0.5, 0.65}, 1, FORECAST_LESS, FOUR - 1},
    [CALIBRATION_HALF_MORE] = {"x 1.5", {0.4, 0.5, 0.6}, 1.5, FORECAST_HALF_MORE_LOAD, FOUR},
    [CALIBRATION_TWICE] = {"x 2", {0.3, 0.4, 0.45}, 2, FORECAST_TWICE_THE_LOAD, FOUR},
};

const char *calibration_event_name(enum calibration_event event)
{
	check(event < N_EVENTS);
	return events[event].name;
}

/* ---- one outcome ---- */

static void run(struct sim *sim, const struct calibration_family *f, double rate, unsigned seconds,
		struct rng *rng)
{
	for (unsigned i = 0; i < seconds; i++) {
		double factor = 1;
		if (f->load == LOAD_BURSTS)
			factor = rng_below(rng, 2) ? 1.4 : 0.6;
		if (f->load == LOAD_DAY)
			factor = 1 + 0.1 * sin(2 * M_PI * i / 60);
		sim_run(sim, rate * factor, 1);
	}
}

/* A night in which some are alone, a day, and then some minutes of what is asked about. */
static void live(struct sim *sim, const struct calibration_family *f, double load, struct rng *rng)
{
	static const double shares[] = {0.1, 0.3, 0.5, 0.7, 0.9, 0.8, 0.6, 0.4, 0.2};
	for (size_t i = 0; i < ARRAY_LEN(shares); i++)
		run(sim, f, shares[i] * f->capacity, 10, rng);
	run(sim, f, load * f->capacity, 120, rng);
}

/* p99 of two minutes, once it is another steady state. */
static double outcome(struct sim *sim, const struct calibration_family *f,
		      enum calibration_event event, double load, struct rng *rng)
{
	double rate = events[event].times * load * f->capacity;
	sim_stop_looking(sim);
	sim_set_backends(sim, events[event].backends);
	run(sim, f, rate, 20, rng);
	sim_measure(sim);
	run(sim, f, rate, 120, rng);
	return sim_measured_us(sim, 0.99);
}

/* Of their capacity, how much there is then. */
static double height(enum calibration_event event, double load)
{
	return events[event].times * load * FOUR / events[event].backends;
}

static double calibrate_once(const struct calibration_family *f, enum calibration_event event,
			     uint64_t seed, struct calibration *c, double *width)
{
	struct sim_plan plan = f->plan;
	struct rng rng;
	double load = events[event].loads[seed % 3];
	plan.backends = FOUR + 1;
	rng_init(&rng, seed);
	struct sim *sim = sim_new(&plan, seed);
	sim_set_backends(sim, FOUR);
	live(sim, f, load, &rng);
	struct scaling_forecast said = sim_result(sim).scaling->forecasts[events[event].forecast];
	double came = said.refusal ? 0 : outcome(sim, f, event, load, &rng);
	sim_free(sim);
	c->n++;
	c->refused += said.refusal != NULL;
	if (said.refusal)
		return 0;
	c->full += said.saturated;
	c->full_right += said.saturated && height(event, load) >= 0.95;
	if (said.saturated)
		return 0;
	c->stood++;
	c->held += came >= said.p99_us.low && came <= said.p99_us.high;
	*width = said.p99_us.high / said.p99_us.low;
	return came / said.p99_us.mid;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static double median(double *values, unsigned n)
{
	qsort(values, n, sizeof(*values), by_value);
	return n ? values[n / 2] : 0;
}

struct calibration calibrate(const struct calibration_family *f, enum calibration_event event,
			     struct seeds seeds)
{
	static double offs[SEEDS_MAX], widths[SEEDS_MAX];
	struct calibration c = {0};
	check(seeds.n <= SEEDS_MAX);
	for (uint64_t seed = seeds.first; seed < seeds.first + seeds.n; seed++) {
		unsigned before = c.stood;
		double width, off = calibrate_once(f, event, seed, &c, &width);
		if (c.stood == before)
			continue;
		offs[before] = off;
		widths[before] = width;
	}
	c.off = median(offs, c.stood);
	c.width = median(widths, c.stood);
	return c;
}
