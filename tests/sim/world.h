/* SPDX-License-Identifier: MIT */
/* A simulated world whose truth is known. */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "../unit/stats/sim.h"

enum told { TOLD_NOTHING, TOLD_SPEED, TOLD_KIND };
enum truth { NOT_SHARED, SHARED };

/* A load that swings between two shares of the capacity once a minute, then stays. */
struct world {
	const char *name;
	struct sim_plan plan;
	double capacity, low, high, last;
	enum truth truth;
	double factor;             /* of the speed from the middle on; 0: none */
	double mix_then;           /* that there are from the middle on */
	unsigned passes;           /* after so many times five seconds it is as it was; 0: stays */
	enum told told;            /* what has to be said of it */
	double mix_end;            /* share of long ones that a mix drifts to; 0: stays */
	unsigned remove;           /* so many go in the middle */
	enum verdict end;          /* what is to be said in the end, unless not_enough_data */
	double other_end;          /* the other node's share from the middle on; 0: stays */
	double reports, report_us; /* of another kind, that share from the middle on */
	bool night;                /* half a minute of low load comes first */
	bool deaf;                 /* it is not heard in the second half */
	double unrest;             /* how much a busy host makes speed vary, a logarithm */
	double again;              /* of the speed from five sixths on, of that before; 0: none */
	bool steps;                /* it jumps from low to high, instead of swinging */
	bool may_miss;             /* what is to be told of it need not be told */
	double alone;              /* p95 of who is alone in the end, by objective; 0: not known */
};

extern const struct world worlds[];
extern const size_t n_worlds;

/* One with parameters drawn at random, which nobody has looked at before. */
struct world world_draw(uint64_t seed);

#endif
