/* SPDX-License-Identifier: MIT */
/* Worlds whose truth is known, and what weir's models say of them. */
#ifndef TESTS_SIM_WORLDS_H
#define TESTS_SIM_WORLDS_H

#include "calibration.h"

/* Prints what was said at the looks of each world (only one, with its sentences, when `only`
 * is not NULL); how many worlds had something wrong said of them. */
int world_verdicts(const char *only, struct seeds seeds);

/* The same of worlds that are drawn, one for each seed; its sentences when it is only one. */
int world_invented(struct seeds seeds);
/* Of some of which something wrong was said. */
int world_check(void);

/*
 * How often what was forecast came true, by kind of load and of event, over so many seeds of
 * each; how many kinds are outside of what is promised.
 */
int world_forecasts(const char *only, struct seeds seeds);

#endif
