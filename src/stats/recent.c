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
		sparse_reset(&r->weight[1]);
		if (both)
			sparse_reset(&r->weight[0]);
		r->weight[1] = r->weight[0];
		r->weight[0] = (struct sparse){.numbers = NULL};
	}
}

void recents_add(struct recent *recents, size_t n, uint32_t bucket, uint32_t count)
{
	for (size_t i = 0; i < n; i++)
		if (sparse_add(&recents[i].weight[0], bucket, count)) /* else a few samples less */
			recents[i].n[0] += count;
}

void recents_fini(struct recent *recents, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (int half = 0; half < 2; half++)
			sparse_reset(&recents[i].weight[half]);
}

void recents_forget(struct recent *recents, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t since_us = recents[i].since_us[0];
		recents_fini(&recents[i], 1);
		recents[i] = (struct recent){.since_us = {since_us, since_us}};
	}
}

double recent_rate(const struct recent *r, uint64_t now_us)
{
	uint64_t since_us = r->since_us[r->n[1] > 0];
	return now_us > since_us ? (r->n[0] + r->n[1]) / ((double)(now_us - since_us) / 1e6) : 0;
}

static void add_weights(struct spread *out, const struct sparse *weight)
{
	uint64_t n[HIST_SUB];
	for (uint32_t left = weight->groups; left; left &= left - 1) {
		uint32_t group = (uint32_t)__builtin_ctz(left);
		sparse_load(weight, group, n);
		for (uint32_t i = 0; i < HIST_SUB; i++)
			out->weight[(group << HIST_SUB_BITS) + i] += (double)n[i];
	}
}

size_t recents_pick(const struct recent *recents, size_t n, double want, struct spread *out)
{
	size_t at = 0;
	while (at + 1 < n && recents[at].n[0] + recents[at].n[1] < want)
		at++;
	out->n = recents[at].n[0] + recents[at].n[1];
	memset(out->weight, 0, sizeof(out->weight));
	for (int half = 0; half < 2; half++)
		add_weights(out, &recents[at].weight[half]);
	return at;
}
