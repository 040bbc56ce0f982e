/* SPDX-License-Identifier: MIT */
/* Distributions of the last seconds and minutes. */
#include "recent.h"

#include <string.h>

void recents_turn(struct recent *recents, size_t n, const double *spans_s, uint64_t last_us,
		  uint64_t now_us)
{
	for (size_t i = 0; i < n; i++) {
		struct recent *r = &recents[i];
		uint64_t since_us = r->since_us[0];
		double age_s = now_us > since_us ? (double)(now_us - since_us) / 1e6 : 0;
		if (age_s <= spans_s[i])
			continue;
		bool both = age_s > 2 * spans_s[i];
		r->since_us[1] = since_us;
		r->since_us[0] = last_us;
		r->n[1] = both ? 0 : r->n[0];
		r->n[0] = 0;
		if (both)
			memset(r->weight[1], 0, sizeof(r->weight[1]));
		else
			memcpy(r->weight[1], r->weight[0], sizeof(r->weight[1]));
		memset(r->weight[0], 0, sizeof(r->weight[0]));
	}
}

void recents_add(struct recent *recents, size_t n, uint32_t bucket, uint32_t count)
{
	for (size_t i = 0; i < n; i++) {
		recents[i].weight[0][bucket] += (float)count;
		recents[i].n[0] += count;
	}
}

void recents_forget(struct recent *recents, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t since_us = recents[i].since_us[0];
		recents[i] = (struct recent){.since_us = {since_us, since_us}};
	}
}

double recent_rate(const struct recent *r, uint64_t now_us)
{
	uint64_t since_us = r->since_us[r->n[1] > 0];
	return now_us > since_us ? (r->n[0] + r->n[1]) / ((double)(now_us - since_us) / 1e6) : 0;
}

size_t recents_pick(const struct recent *recents, size_t n, double want, struct spread *out)
{
	size_t at = 0;
	while (at + 1 < n && recents[at].n[0] + recents[at].n[1] < want)
		at++;
	out->n = recents[at].n[0] + recents[at].n[1];
	for (uint32_t i = 0; i < HIST_BUCKETS; i++)
		out->weight[i] =
		    (double)recents[at].weight[0][i] + (double)recents[at].weight[1][i];
	return at;
}
