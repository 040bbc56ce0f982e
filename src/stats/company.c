/* SPDX-License-Identifier: MIT */
/* The level that a request met where other nodes send to the same backend. */
#include <math.h>
#include <stdlib.h>

#include "scaling.h"

#define COMPANY_MEMORY_S 10.0

void scaling_part_others(struct scaling_part *part, double rate)
{
	part->others_rate = rate;
	part->others_sum += rate;
	part->others_s++;
	if (rate > 0 && !part->company)
		part->company = calloc(1, sizeof(*part->company));
}

void scaling_part_met(struct scaling_part *part, uint32_t k, double n, double us)
{
	struct scaling_company *c = part->company;
	if (!c || k >= LEVEL_SPLIT)
		return;
	double keep = exp(-1 / COMPANY_MEMORY_S);
	c->n[k] = (float)((double)c->n[k] * keep + n);
	c->us[k] = (float)((double)c->us[k] * keep + us);
}

double scaling_part_level(const struct scaling_part *part, uint32_t k)
{
	const struct scaling_company *c = part->company;
	double own = level_value(k), n = 0, us = 0;
	if (!c || part->others_rate <= 0)
		return own;
	/* higher ones than that: as the highest, in proportion */
	for (uint32_t i = k < LEVEL_SPLIT ? k : LEVEL_SPLIT - 1; i > 0 && n <= 0; i--) {
		n = (double)c->n[i];
		us = (double)c->us[i] * fmax(1, own / i);
	}
	return n > 0 ? own + part->others_rate * us / n / 1e6 : own;
}
