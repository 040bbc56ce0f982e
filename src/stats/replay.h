/* SPDX-License-Identifier: MIT */
/*
 * Private to stats/: a pool of FIFO backends, simulated with service times as they were
 * measured.  Exact for every distribution, and each run is a possible half of a minute or
 * less, so that runs vary more than what will be seen.
 */
#ifndef WEIR_STATS_REPLAY_H
#define WEIR_STATS_REPLAY_H

#include <stdbool.h>

#include "weir/base/rng.h"
#include "weir/stats/queueing.h"

struct replay_plan {
	double backends, workers; /* workers of each */
	bool pooled;              /* the least loaded is chosen; else any */
	double elsewhere;         /* so many come by another node, which sees its own only */
	double rate;              /* per microsecond, of the pool */
	double swing;             /* of the rate, slowly: standard deviation by mean */
	double bursts;            /* of the rate of seconds: the same, beyond chance */
};

struct replay_result {
	double p50_us, p99_us;
	double fall_us;  /* of the tail there: what is rarer by a factor e takes so much longer */
	double requests; /* that it is of */
};

/* Service times to draw from. */
#define REPLAY_GUIDES 256
struct replay_times {
	double sum[HIST_BUCKETS], low_us[HIST_BUCKETS], width_us[HIST_BUCKETS];
	double mean_us;
	unsigned n;
	uint16_t guide[REPLAY_GUIDES];
};

void replay_times_init(struct replay_times *times, const struct spread *service);
/* One minute, or as many requests as are worth the time.  Pure but for `rng`. */
struct replay_result replay(const struct replay_plan *plan, const struct replay_times *times,
			    double stretch, struct rng *rng);

#endif
