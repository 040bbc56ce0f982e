/* SPDX-License-Identifier: MIT */
#include "station.h"

#include <math.h>

#include "weir/base/check.h"

/* A single service time longer than this is cut: tests have an end. */
#define SERVICE_MAX_US 60e6

void station_init(struct station *station, uint64_t workers)
{
	*station = (struct station){.workers = workers};
	list_init(&station->queue);
}

static void on_served(struct timer *timer)
{
	struct job *job = container_of(timer, struct job, timer);
	job->done(job);
}

static void work(struct station *station, struct job *job)
{
	station->n_busy++;
	job->working = true;
	if (job->service_us == 0) {
		job->done(job);
		return;
	}
	job->timer.fire = on_served;
	timer_start(&job->timer, job->service_us);
}

static bool has_free_worker(const struct station *station)
{
	return station->workers == 0 || station->n_busy < station->workers;
}

void station_enter(struct station *station, struct job *job)
{
	check(job->station == NULL);
	job->station = station;
	if (has_free_worker(station)) {
		work(station, job);
		return;
	}
	list_push_back(&station->queue, &job->node);
	station->n_queued++;
	if (station->n_queued > station->max_queued)
		station->max_queued = station->n_queued;
}

static void serve_next(struct station *station)
{
	while (!list_is_empty(&station->queue) && has_free_worker(station)) {
		struct job *next = list_first(&station->queue, struct job, node);
		list_del(&next->node);
		station->n_queued--;
		work(station, next);
	}
}

void station_leave(struct station *station, struct job *job)
{
	if (job->working) {
		timer_stop(&job->timer);
		job->working = false;
		station->n_busy--;
	} else if (list_is_linked(&job->node)) {
		list_del(&job->node);
		station->n_queued--;
	}
	job->station = NULL;
	serve_next(station);
}

uint64_t service_draw(uint64_t mean_us, enum plan_dist dist, struct rng *rng)
{
	if (mean_us == 0 || dist == DIST_FIXED)
		return mean_us;
	double u = ((double)(rng_next(rng) >> 11) + 1) * 0x1p-53; /* (0, 1] */
	double mean = (double)mean_us;
	/* Pareto with alpha 1.5: the mean is three times the minimum. */
	double x = dist == DIST_EXP ? -mean * log(u) : mean / 3 * pow(u, -1 / 1.5);
	return (uint64_t)(x < SERVICE_MAX_US ? x : SERVICE_MAX_US);
}
