/* SPDX-License-Identifier: MIT */
/* Events a second over the last seconds. */
#include "weir/stats/rate.h"

void rate_push(struct rate *rate, uint64_t total, uint64_t now_us)
{
	rate->total[rate->next] = total;
	rate->at_us[rate->next] = now_us;
	rate->next = (rate->next + 1) % RATE_PUSHES;
	if (rate->n < RATE_PUSHES)
		rate->n++;
}

double rate_per_s(const struct rate *rate)
{
	if (rate->n < 2)
		return 0;
	uint32_t newest = (rate->next + RATE_PUSHES - 1) % RATE_PUSHES;
	uint32_t oldest = (rate->next + RATE_PUSHES - rate->n) % RATE_PUSHES;
	uint64_t us = rate->at_us[newest] - rate->at_us[oldest];
	if (us == 0)
		return 0;
	return (double)(rate->total[newest] - rate->total[oldest]) * 1e6 / (double)us;
}
