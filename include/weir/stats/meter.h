/* SPDX-License-Identifier: MIT */
/*
 * Latency by phase of anything that has a name and exchanges: a route, a
 * listener.  Each worker records into its own histograms, the control thread
 * folds them into windows once a second; errors apart from successes.
 *
 *   hist_set_record(meter_set(meter, worker, failed), PHASE_total, us);     // that worker
 *   meter_fold(meter, clock_us());                   // control thread
 *   windows_summary(meter->ok, PHASE_total, WINDOW_1M, &summary);
 */
#ifndef WEIR_STATS_METER_H
#define WEIR_STATS_METER_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/stats/counter.h"
#include "weir/stats/hist.h"
#include "weir/stats/window.h"

struct meter {
	struct windows *ok, *failed; /* owns; control thread; NULL without memory */
	unsigned n_workers;
	struct meter_local {
		struct counter exchanges; /* all that ended, however they did */
		struct hist_set ok, failed;
	} CACHE_ALIGNED local[];
};

/* NULL without memory. */
struct meter *meter_new(unsigned n_workers, uint64_t now_us);
/* When nobody records any more; NULL is fine. */
void meter_free(struct meter *meter);
void meter_fold(struct meter *meter, uint64_t now_us);
/* Any thread. */
uint64_t meter_exchanges(const struct meter *meter);

/* Where that worker's thread records. */
static inline struct hist_set *meter_set(struct meter *meter, unsigned worker, bool failed)
{
	struct meter_local *local = &meter->local[worker];
	return unlikely(failed) ? &local->failed : &local->ok;
}

#endif
