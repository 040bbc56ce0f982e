/* SPDX-License-Identifier: MIT */
/*
 * What the universal law makes of a load: a birth-death chain whose death rates are the fitted
 * curve, and service times stretched by what company costs at each state.
 */
#include <math.h>

#include "scaling.h"

#define STATES_MAX 2048

/* Rate of `parts` backends that share k requests evenly. */
static double shared_rate(const struct fit *f, double parts, double k)
{
	double each = k / parts;
	return each < 1 ? k * fit_rate(f, 1) : parts * fit_rate(f, each);
}

static struct scaling_range just(double us)
{
	return (struct scaling_range){us, us, us};
}

void forecast_law(const struct scaling *s, bool pooled, struct scaling_forecast *f)
{
	double p[STATES_MAX], stretch[STATES_MAX], sum = 1, n = f->backends;
	double parts = pooled ? n : 1, load = pooled ? f->rate : f->rate / n;
	double one = fit_rate(&s->fit, 1);
	bool lower_bound;
	f->utilisation = load / (parts * fit_capacity(&s->fit, &lower_bound));
	f->saturated = f->utilisation >= OVERLOAD;
	if (f->saturated)
		return;
	size_t states = 1;
	p[0] = 1;
	stretch[0] = 1;
	/* an arrival that finds k others shares its backend with k / parts of them */
	while (states < STATES_MAX) {
		double k = (double)states, x = fmax(shared_rate(&s->fit, parts, k), 1e-9);
		double each = k / parts + 1;
		p[states] = p[states - 1] * load / x;
		stretch[states] = fmax(1, each * one / fmax(fit_rate(&s->fit, each), 1e-9));
		sum += p[states++];
		if (p[states - 1] < sum * 1e-9)
			break;
	}
	for (size_t i = 0; i < states; i++)
		p[i] /= sum;
	f->p50_us = just(stretch_quantile(&s->service, p, stretch, states, 0.5));
	f->p99_us = just(stretch_quantile(&s->service, p, stretch, states, 0.99));
}
