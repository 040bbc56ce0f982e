/* SPDX-License-Identifier: MIT */
/* Which backends stand out by their errors or their slowness: pure arithmetic. */
#include "outlier.h"

#include <math.h>
#include <stdlib.h>

#define STDEV_FACTOR 1.9
#define MIN_DISTANCE 0.05
#define FAILING_PERCENT 85

static double rate_of(const struct outlier_sample *s)
{
	return 1 - (double)s->faults / (double)s->n;
}

/* The success rate below which a backend stands out; negative: none does. */
static double find_border(const struct outlier_sample *samples, size_t n)
{
	double sum = 0, squares = 0;
	size_t k = 0;
	for (size_t i = 0; i < n; i++) {
		if (samples[i].n < OUTLIER_MIN_REQUESTS)
			continue;
		sum += rate_of(&samples[i]);
		k++;
	}
	if (k < OUTLIER_MIN_BACKENDS)
		return -1;
	double mean = sum / (double)k;
	for (size_t i = 0; i < n; i++)
		if (samples[i].n >= OUTLIER_MIN_REQUESTS)
			squares += (rate_of(&samples[i]) - mean) * (rate_of(&samples[i]) - mean);
	double border = mean - STDEV_FACTOR * sqrt(squares / (double)k);
	return border < mean - MIN_DISTANCE ? border : mean - MIN_DISTANCE;
}

void outlier_find(const struct outlier_sample *samples, size_t n, enum outlier_cause *causes)
{
	double border = find_border(samples, n);
	uint64_t all = 0, faults = 0;
	for (size_t i = 0; i < n; i++) {
		all += samples[i].n;
		faults += samples[i].faults;
	}
	for (size_t i = 0; i < n; i++) {
		const struct outlier_sample *s = &samples[i];
		uint64_t others = all - s->n, others_faults = faults - s->faults;
		causes[i] = OUTLIER_NONE;
		if (s->n >= OUTLIER_MIN_FAILING && s->faults * 100 >= s->n * FAILING_PERCENT &&
		    others >= OUTLIER_MIN_FAILING && others_faults * 2 < others)
			causes[i] = OUTLIER_FAILURES;
		else if (s->n >= OUTLIER_MIN_REQUESTS && rate_of(s) < border)
			causes[i] = OUTLIER_SUCCESS_RATE;
	}
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static bool has_latency(const struct outlier_sample *s)
{
	return s->n_latency >= OUTLIER_MIN_LATENCIES;
}

void outlier_medians(const struct outlier_sample *samples, size_t n, uint64_t *medians,
		     uint64_t *scratch)
{
	size_t k = 0;
	for (size_t i = 0; i < n; i++)
		if (has_latency(&samples[i]))
			scratch[k++] = samples[i].p50_us;
	qsort(scratch, k, sizeof(*scratch), by_value);
	for (size_t i = 0; i < n; i++) {
		medians[i] = 0;
		if (k < 2 || !has_latency(&samples[i]))
			continue;
		/* the middle of k - 1: of the sorted ones without its own */
		size_t middle = (k - 2) / 2;
		medians[i] =
		    scratch[middle] < samples[i].p50_us ? scratch[middle] : scratch[middle + 1];
	}
}

bool outlier_is_slow(uint64_t p50_us, uint64_t median_us, uint32_t factor)
{
	return factor && median_us && p50_us > median_us * factor &&
	       p50_us - median_us > OUTLIER_MIN_GAP_US;
}
