/* SPDX-License-Identifier: MIT */
/* One backend against the others: a bad host, or one with more to do. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "verdict.h"

#include "weir/base/defs.h"

#define HOT_AFTER_US (UINT64_C(60) * 1000000) /* after a change a backend has its share */
#define SKEW_SERVICE 1.5                      /* times what the others take */
#define SKEW_SERVICE_US 500                   /* and by that much: less is noise */
#define SKEW_RATE 1.5
#define SKEW_HOLD 1.25 /* who was called so remains so above it, that none flickers */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static double trait_of(const struct scaling_part *p, enum trait trait)
{
	switch (trait) {
	case TRAIT_SERVICE:
		return p->alone.n >= SCALING_SAMPLES ? p->alone.p50_us : 0;
	case TRAIT_NOW:
		return p->now.n >= SCALING_SAMPLES / 4 ? p->now.p95_us : 0;
	case TRAIT_RATE:
	case N_TRAITS:
		break;
	}
	return p->weight > 0 ? p->rate / p->weight : 0;
}

void company_meet(const struct scaling_input *in, struct company *company)
{
	for (int t = 0; t < N_TRAITS; t++) {
		double *values = company->sorted[t];
		size_t n = 0;
		for (size_t i = 0; i < in->n && n < ARRAY_LEN(company->sorted[t]); i++) {
			const struct scaling_member *m = &in->members[i];
			double x = m->part && m->usable ? trait_of(m->part, (enum trait)t) : 0;
			if (x > 0)
				values[n++] = x;
		}
		qsort(values, n, sizeof(*values), by_value);
		company->n[t] = n;
	}
}

/* Without one of value `own`, when there is one; 0: there are no others. */
static double median_of_others(const struct company *company, enum trait trait, double own)
{
	const double *values = company->sorted[trait];
	size_t n = company->n[trait];
	const double *self = n ? bsearch(&own, values, n, sizeof(own), by_value) : NULL;
	if (!self)
		return n ? values[n / 2] : 0;
	size_t middle = (n - 1) / 2;
	return n < 2 ? 0 : values[middle + (middle >= (size_t)(self - values))];
}

/* How many times as long as at the others a request takes there; 0: not known. */
static double slowness(const struct scaling *s, const struct company *company,
		       const struct scaling_part *part, bool *sure)
{
	double by_level = scaling_peer_factor(s, part, sure), own = trait_of(part, TRAIT_SERVICE);
	double median = median_of_others(company, TRAIT_SERVICE, own);
	if (*sure || own <= 0 || median <= 0)
		return by_level;
	/* where next to nobody is met at the same level; this many are sure */
	*sure = by_level <= 0;
	return *sure ? own / median : by_level;
}

void company_set_slower(const struct scaling *s, const struct company *company,
			struct scaling_part *part)
{
	bool sure, was = part->slower > 0;
	double factor = slowness(s, company, part, &sure);
	double longer_us = part->now.p50_us * (1 - 1 / fmax(factor, 1));
	if (factor <= 0) /* nobody asks it any more: that is how it stays */
		return;
	if (was ? factor < SKEW_HOLD
		: !sure || factor < SKEW_SERVICE || longer_us < SKEW_SERVICE_US)
		factor = 0;
	part->slower = factor;
}

void company_say_slow(const struct company *company, const struct scaling_member *m, char *say)
{
	double own = trait_of(m->part, TRAIT_SERVICE);
	double median = median_of_others(company, TRAIT_SERVICE, own);
	char alone[64] = "";
	if (own > median && median > 0)
		snprintf(alone, sizeof(alone), " (median alone %s, the others' %s)",
			 text_us(own).at, text_us(median).at);
	SAY("%.*s is slower than the others: with as much to do a request takes %.1f times as long "
	    "there%s: a bad host; lower its weight or take it out",
	    (int)m->name.len, m->name.ptr, m->part->slower, alone);
}

bool company_is_hot(const struct case_file *c, const struct company *company,
		    const struct scaling_member *m)
{
	const struct scaling_part *p = m->part;
	const struct scaling_input *in = c->in;
	double own = trait_of(p, TRAIT_RATE);
	double rate = median_of_others(company, TRAIT_RATE, own);
	double median = median_of_others(company, TRAIT_NOW, trait_of(p, TRAIT_NOW));
	char *say = c->say;
	bool was = p->opinion.verdict == VERDICT_skewed;
	double slower_min = was ? SKEW_HOLD : GROWTH_MIN, rate_min = was ? SKEW_HOLD : SKEW_RATE;
	bool matters = in->slo_p95_us ? p->now.p95_us > (double)in->slo_p95_us
				      : p->now.p95_us > GROWTH_MIN * c->s->alone.p95_us;
	if (c->s->epoch_cause && in->now_us < c->s->epoch_us + HOT_AFTER_US)
		return false;
	if (!matters || p->now.n < SCALING_SAMPLES || median <= 0 ||
	    p->now.p95_us < slower_min * median || own < rate_min * rate)
		return false;
	SAY("%.*s has %.1f times the requests of the others and is slow under them: p95 %s, the "
	    "others' %s: clients are pinned or hashed unevenly; more backends will not help as "
	    "long as these stay together",
	    (int)m->name.len, m->name.ptr, rate > 0 ? own / rate : 0, text_us(p->now.p95_us).at,
	    text_us(median).at);
	return true;
}
