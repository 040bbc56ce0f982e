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
		r->weight[0] = (struct sparse){NULL, 0};
	}
}

void recents_add(struct recent *recents, size_t n, uint32_t bucket, uint32_t count)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t *group = sparse32_make(&recents[i].weight[0], bucket >> HIST_SUB_BITS);
		if (!group)
			continue; /* a few samples less */
		uint32_t *in = &group[bucket & (HIST_SUB - 1)];
		*in = count < UINT32_MAX - *in ? *in + count : UINT32_MAX;
		recents[i].n[0] += count;
	}
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
	const uint32_t *n = weight->numbers;
	for (uint32_t left = weight->groups; left; left &= left - 1) {
		uint32_t from = (uint32_t)__builtin_ctz(left) << HIST_SUB_BITS;
		for (uint32_t i = from; i < from + HIST_SUB; i++)
			out->weight[i] += *n++;
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
