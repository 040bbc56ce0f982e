/* SPDX-License-Identifier: MIT */
/*
 * Forecasts against what then happened, in worlds of the simulation: the table of
 * weir-sim --forecasts, and a short one in property_stats.
 *
 *   struct calibration c = calibrate(&calibration_families[0], CALIBRATION_MORE,
 *                                        (struct seeds){1, 20});
 *   c.held, c.stood ...
 */
#ifndef TESTS_SIM_CALIBRATION_H
#define TESTS_SIM_CALIBRATION_H

#include "../unit/stats/sim.h"

/* How the load moves while its mean stays. */
enum calibration_load { LOAD_STEADY, LOAD_BURSTS, LOAD_DAY };

enum calibration_event {
	CALIBRATION_MORE,
	CALIBRATION_LESS,
	CALIBRATION_HALF_MORE,
	CALIBRATION_TWICE,
	N_EVENTS
};

struct calibration_family {
	const char *name;
	struct sim_plan plan; /* without backends */
	double capacity;      /* of four backends, per second */
	enum calibration_load load;
};

struct calibration {
	unsigned n, refused;
	unsigned full, full_right; /* said to be too much, and it was */
	unsigned stood, held;      /* intervals, and those that held */
	double width, off;         /* medians: high / low, outcome / middle */
};

extern const struct calibration_family calibration_families[];
extern const size_t n_calibration_families;

const char *calibration_event_name(enum calibration_event event);
struct seeds {
	uint64_t first;
	unsigned n;
};

/* Three loads by turns. */
struct calibration calibrate(const struct calibration_family *family, enum calibration_event event,
			     struct seeds seeds);

#endif
