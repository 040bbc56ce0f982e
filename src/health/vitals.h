/* SPDX-License-Identifier: MIT */
/*
 * From results of checks to a verdict: rise and fall.  Pure; no clock.
 *
 *   unknown --first pass--> up    --fall fails in a row--> down
 *   unknown --first fail--> down  --rise passes in a row--> up
 *
 * A result that agrees with the verdict forgets those that did not.
 */
#ifndef WEIR_HEALTH_VITALS_H
#define WEIR_HEALTH_VITALS_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/conf/conf.h"

enum vitals_is { VITALS_UNKNOWN, VITALS_UP, VITALS_DOWN };

struct vitals {
	enum vitals_is is;
	uint32_t against; /* results in a row that speak against it */
};

/* Takes in a result; true when the verdict has changed. */
bool vitals_note(struct vitals *v, bool ok, const struct conf_health *conf);

/* From the end of one check to the beginning of the next, before jitter. */
uint64_t vitals_interval_us(const struct vitals *v, const struct conf_health *conf);

/* The same, 5 % more or less; `random` is 32 random bits. */
uint64_t vitals_wait_us(const struct vitals *v, const struct conf_health *conf, uint32_t random);

/* When a backend that is the k-th of n gets its first check: right away, but not
 * all at once; and its second, from where on they are spread over the interval. */
uint64_t vitals_first_us(const struct conf_health *conf, uint32_t k, uint32_t n);
uint64_t vitals_second_us(const struct conf_health *conf, uint32_t k, uint32_t n);

#endif
