/* SPDX-License-Identifier: MIT */
/*
 * A discrete-event simulation of a pool that drives the real strategy code.
 *
 * Backends have c workers behind one FIFO queue, so the end of a request is known
 * when it arrives; arrivals are Poisson; several weir workers pick, sharing what
 * workers of one process share (in-flight counts and memory) and nothing else.
 * Latency is the time in the backend.  The same seed gives the same arrivals and
 * sizes to every strategy.
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include "weir/balance/strategy.h"

#define SIM_BACKENDS_MAX 64

struct scenario {
	const char *name;
	const char *sentence;
	uint32_t n, c;     /* backends, workers of each */
	double service_us; /* mean */
	double rate;       /* requests a second */
	uint32_t n_requests;
	double without;    /* its p99 at most so many times that of the pool without the slow */
	bool heavy_tail;   /* Pareto 1.5 instead of exponential sizes */
	bool bursts;       /* at times a backend runs at 0.3 of its speed */
	double slow_speed; /* of the last `n_slow` backends; 0: 1 */
	uint32_t n_slow;
	double delay_us;   /* added by the last backend, without occupying a worker */
	double recovers_s; /* when that ends; 0: never */
	bool fails_fast;   /* the last backend answers an error after 0.5 ms */
};

struct outcome {
	double p50_ms, p99_ms, p999_ms;
	double failed;     /* share of all requests */
	double last_share; /* of the requests, of the last backend */
	double noticed_s;  /* from recovery to half a fair share; negative: never */
	uint32_t most_queued;
};

struct outcome simulate(const struct scenario *scenario, const struct strategy *strategy,
			uint64_t seed);

/* Nanoseconds of one pick and its end in a pool of n with n/2 in flight and a few slow. */
double cost_of_pick(const struct strategy *strategy, uint32_t n);

#endif
