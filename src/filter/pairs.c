/* SPDX-License-Identifier: MIT */
/* What pairs of answers come to. */
#include "pairs.h"

#include <math.h>

#include "weir/base/check.h"

/* Of a normal distribution: 99 % lie within. */
#define Z 2.576
#define RATIO_ONE 1000

/* ---- worker ---- */

static void clear(struct counter *c)
{
	atomic_store_explicit(&c->n, 0, memory_order_relaxed);
}

void pairs_clear(struct pairs *pairs, uint32_t epoch)
{
	struct counter *counters[] = {&pairs->n, &pairs->status_differs, &pairs->bodies,
				      &pairs->body_differs, &pairs->waits};
	for (size_t i = 0; i < ARRAY_LEN(counters); i++)
		clear(counters[i]);
	for (size_t i = 0; i < MIRROR_SIDES; i++)
		hist_clear(&pairs->wait[i]);
	hist_clear(&pairs->ratio);
	pairs->epoch = epoch;
}

static unsigned level_of(uint16_t others)
{
	return others ? 32 - (unsigned)__builtin_clz(others) : 0;
}

void pairs_fini(struct pairs *pairs)
{
	for (size_t i = 0; i < MIRROR_SIDES; i++)
		hist_fini(&pairs->wait[i]);
	hist_fini(&pairs->ratio);
}

static void note_waits(struct pairs *pairs, const struct mirror_side *side)
{
	const struct mirror_side *original = &side[MIRROR_ORIGINAL], *copy = &side[MIRROR_COPY];
	counter_add(&pairs->waits, 1);
	if (level_of(original->others) != level_of(copy->others))
		return;
	for (size_t i = 0; i < MIRROR_SIDES; i++)
		hist_record(&pairs->wait[i], side[i].wait_us);
	hist_record(&pairs->ratio, (copy->wait_us + 1) * RATIO_ONE / (original->wait_us + 1));
}

unsigned pairs_note(struct pairs *pairs, const struct mirror_pair *pair)
{
	const struct mirror_side *a = &pair->side[MIRROR_ORIGINAL], *b = &pair->side[MIRROR_COPY];
	bool same_status = a->status == b->status;
	unsigned differs = 0;
	counter_add(&pairs->n, 1);
	if ((pair->conf->compare & CONF_COMPARE_STATUS) && !same_status)
		differs |= CONF_COMPARE_STATUS;
	if ((pair->conf->compare & CONF_COMPARE_BODY) && same_status) {
		counter_add(&pairs->bodies, 1);
		if (a->len != b->len || a->hash != b->hash)
			differs |= CONF_COMPARE_BODY;
	}
	if ((pair->conf->compare & CONF_COMPARE_LATENCY) && same_status)
		note_waits(pairs, pair->side);
	counter_add(&pairs->status_differs, (differs & CONF_COMPARE_STATUS) != 0);
	counter_add(&pairs->body_differs, (differs & CONF_COMPARE_BODY) != 0);
	return differs;
}

/* ---- readers ---- */

void pairs_add(struct pairs_sum *sum, const struct pairs *pairs)
{
	sum->n += counter_get(&pairs->n);
	sum->status_differs += counter_get(&pairs->status_differs);
	sum->bodies += counter_get(&pairs->bodies);
	sum->body_differs += counter_get(&pairs->body_differs);
	sum->waits += counter_get(&pairs->waits);
	for (size_t i = 0; i < MIRROR_SIDES; i++)
		hist_total_add_hist(&sum->wait[i], &pairs->wait[i]);
	hist_total_add_hist(&sum->ratio, &pairs->ratio);
}

/* Wilson, Probable inference, 1927. */
static struct mirror_share share_of(uint64_t n, uint64_t differ)
{
	struct mirror_share share = {.n = n, .differ = differ, .low = 0, .high = 1};
	if (!n)
		return share;
	double count = (double)n, p = (double)differ / count, z2 = Z * Z / count;
	double middle = (p + z2 / 2) / (1 + z2);
	double reach = Z * sqrt(p * (1 - p) / count + z2 / (4 * count)) / (1 + z2);
	share.low = differ ? middle - reach : 0;
	share.high = differ < n ? middle + reach : 1;
	return share;
}

/* The ends as far out as the buckets are wide. */
static struct mirror_quantile quantile_of(const struct hist_total *total, double q, double unit)
{
	double n = (double)total->n, reach = Z * sqrt(n * q * (1 - q));
	double low = floor(n * q - reach) / n, high = ceil(n * q + reach + 1) / n;
	return (struct mirror_quantile){
	    .value = (double)hist_total_quantile(total, q) / unit,
	    .low = (double)hist_total_quantile(total, low) / unit * (1 - 1.0 / 64),
	    .high = (double)hist_total_quantile(total, high) / unit * (1 + 1.0 / 64),
	};
}

static enum mirror_verdict verdict_of(const struct mirror_quantile *ratio)
{
	if (ratio->low > MIRROR_MATTERS)
		return MIRROR_SLOWER;
	if (ratio->high < 1 / MIRROR_MATTERS)
		return MIRROR_FASTER;
	return ratio->low >= 1 / MIRROR_MATTERS && ratio->high <= MIRROR_MATTERS ? MIRROR_ALIKE
										 : MIRROR_UNCLEAR;
}

void pairs_judge(const struct pairs_sum *sum, struct mirror_view *out)
{
	struct mirror_latency *latency = &out->latency;
	out->status = share_of(sum->n, sum->status_differs);
	out->body = share_of(sum->bodies, sum->body_differs);
	*latency = (struct mirror_latency){
	    .pairs = sum->waits, .equal = sum->ratio.n, .verdict = MIRROR_NOT_ENOUGH};
	if (latency->equal < MIRROR_PAIRS_MIN)
		return;
	for (size_t i = 0; i < MIRROR_SIDES; i++) {
		latency->p50_us[i] = quantile_of(&sum->wait[i], 0.5, 1);
		latency->p95_us[i] = quantile_of(&sum->wait[i], 0.95, 1);
	}
	latency->ratio = quantile_of(&sum->ratio, 0.5, RATIO_ONE);
	latency->verdict = verdict_of(&latency->ratio);
}
