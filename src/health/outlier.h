/* SPDX-License-Identifier: MIT */
/*
 * Who stands out in a pool: pure arithmetic over what an interval brought.
 * Private to health/.
 *
 * Success rate, after Envoy's outlier detection: of the backends with at least
 * OUTLIER_MIN_REQUESTS, if there are OUTLIER_MIN_BACKENDS of them, those below
 * mean - 1.9 standard deviations (of the population).  With two corrections: it
 * must be 5 points below the mean as well (five backends at 99.9 and 100 % are no
 * outliers), and a backend at 15 % or less of success is found in any pool, as
 * long as the others do better than 50 %: k equal bad ones of n have a deviation of
 * sqrt((n - k) / k), which passes 1.9 only for k < n / 4.6.  When all fail
 * alike, none stands out: the cause is elsewhere.
 *
 * Latency, our own: the median against the median of the others' medians.
 */
#ifndef WEIR_HEALTH_OUTLIER_H
#define WEIR_HEALTH_OUTLIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OUTLIER_MIN_BACKENDS 5
#define OUTLIER_MIN_REQUESTS 100
#define OUTLIER_MIN_FAILING 50 /* requests of a backend that fails nearly always */
#define OUTLIER_MIN_LATENCIES 50
#define OUTLIER_MIN_GAP_US 2000 /* smaller differences are noise, whatever the factor */

struct outlier_sample {
	uint64_t n,
	    faults; /* of the interval: attempts that say something, and those that failed */
	uint64_t n_latency; /* samples behind p50_us */
	uint64_t p50_us;    /* median of the wait */
};

enum outlier_cause { OUTLIER_NONE, OUTLIER_SUCCESS_RATE, OUTLIER_FAILURES };

/* Fills causes[n]. */
void outlier_find(const struct outlier_sample *samples, size_t n, enum outlier_cause *causes);

/*
 * Fills medians[n]: for each backend with enough samples the median of the
 * others' medians; 0 where it or all others have too few.  `scratch` has n.
 */
void outlier_medians(const struct outlier_sample *samples, size_t n, uint64_t *medians,
		     uint64_t *scratch);

/* Whether `p50_us` stands out from the others' median. */
bool outlier_is_slow(uint64_t p50_us, uint64_t median_us, uint32_t factor);

#endif
