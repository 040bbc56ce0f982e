/* SPDX-License-Identifier: MIT */
/*
 * A service station: c workers and a FIFO queue before them, simulated by
 * timers.  A job holds one worker from its turn until station_leave; an
 * instance is one station, and all instances may share one more (a database,
 * say), which a job passes while it still holds its instance's worker.
 */
#ifndef WEIR_APP_STATION_H
#define WEIR_APP_STATION_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/list.h"
#include "weir/base/rng.h"

#include "plan.h"
#include "timer.h"

struct station {
	uint64_t workers; /* 0: any number */
	uint64_t n_busy;
	uint64_t n_queued;
	uint64_t max_queued;
	struct list queue;
};

struct job {
	struct list node;        /* in the queue */
	struct station *station; /* where it waits or works, NULL: nowhere */
	struct timer timer;
	uint64_t service_us;
	bool working;
	void (*done)(struct job *job); /* its service time is over; it still holds the worker */
};

void station_init(struct station *station, uint64_t workers);

/* Queues and then serves `job`; `done` may be called before this returns when service_us is 0. */
void station_enter(struct station *station, struct job *job);

/* Out of the station from any state; the next in the queue gets the worker. */
void station_leave(struct station *station, struct job *job);

/* One service time in microseconds. */
uint64_t service_draw(uint64_t mean_us, enum plan_dist dist, struct rng *rng);

#endif
