/* SPDX-License-Identifier: MIT */
/*
 * A small queueing world for the scaling model: Poisson arrivals, backends with
 * c FIFO workers each and exponential service times, perhaps one more station
 * that every request passes while it holds its worker; or backends that follow the
 * universal scalability law.  It feeds the statistics
 * as a worker of weir does, on a clock of its own, so runs are exact and seeded.
 *
 *   struct sim *sim = sim_new(&(struct sim_plan){.backends = 4, .workers = 4,
 *                                                .service_us = 10000}, seed);
 *   sim_run(sim, 1200, 60);           // requests per second, seconds
 *   sim->scaling->opinion.verdict ...
 *   sim_free(sim);
 */
#ifndef TESTS_UNIT_STATS_SIM_H
#define TESTS_UNIT_STATS_SIM_H

#include "weir/stats/scaling.h"

#define SIM_BACKENDS 16

enum sim_times { SIM_BY_CV2, SIM_FIXED, SIM_PARETO, SIM_MIX, SIM_LOGNORMAL };

struct sim_plan {
	unsigned backends, workers;
	double service_us;
	enum sim_times times; /* SIM_MIX: one in `mix` takes three times as long, others half */
	double mix;
	bool round_robin;
	double foreign; /* requests per second and backend of somebody else */
	double
	    other; /* so many of all come by another node, which says once a second what it sends */
	unsigned paced;    /* times between arrivals are of so many exponential ones; 0: of one */
	unsigned clients;  /* closed: so many ask, one after the other; 0: open */
	unsigned interval; /* seconds between looks; 0: 10 */
	double cv2;        /* squared coefficient of variation of the service time; 0: 1 */
	double lam, sig, kap;    /* the universal law instead of workers, unless lam is 0 */
	unsigned shared_workers; /* 0: no shared station */
	double shared_us;
	bool uneven;              /* picked at random, the first four times as often */
	bool random;              /* picked at random, not by load */
	double queue_us;          /* every request waits for its slot in weir, so long on average */
	double hangs, hang_us;    /* share of the requests that take so much longer */
	double pause_s, pause_us; /* each backend stands still once in so many seconds, so long */
	double slow[SIM_BACKENDS]; /* factor of the service time; 0: 1 */
	uint64_t slo_p95_us;
};

struct sim;

struct sim_result {
	struct scaling *scaling;
	struct scaling_part *parts[SIM_BACKENDS];
};

struct sim *sim_new(const struct sim_plan *plan, uint64_t seed);
void sim_run(struct sim *sim, double rate, unsigned seconds);
/* From now on service times are so many times the plan's, and that share of a mix is long. */
void sim_set_speed(struct sim *sim, double factor, double mix);
/* From now on so many of all are of another kind, which takes about so long, exponential. */
void sim_set_reports(struct sim *sim, double share, double us);
/* From now on so many clients ask, one request after the other. */
void sim_set_clients(struct sim *sim, unsigned clients);
/* From now on the other node has that share, and is heard or not. */
void sim_set_other(struct sim *sim, double share, bool heard);
/* After each look. */
void sim_on_look(struct sim *sim, void (*on_look)(void *ctx, const struct scaling *s), void *ctx);
/* What is to come is measured only, which takes less time. */
void sim_stop_looking(struct sim *sim);
/* From now on so many backends take requests. */
void sim_set_backends(struct sim *sim, unsigned n);
/* What was served since sim_measure was last called, whatever the statistics make of it. */
void sim_measure(struct sim *sim);
double sim_measured_us(const struct sim *sim, double quantile);
struct sim_result sim_result(const struct sim *sim);
void sim_free(struct sim *sim);

#endif
