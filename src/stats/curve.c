/* SPDX-License-Identifier: MIT */
/* What a backend does at each number in flight, all of them together, and the model of that. */
#include "scaling.h"

void scaling_look_curve(struct scaling *s, const struct scaling_input *in)
{
	s->n_points = 0;
	for (uint32_t k = 1; k < LEVEL_BINS; k++) {
		double n = 0, us = 0, beyond = 0, level = level_value(k);
		for (size_t i = 0; i < in->n; i++) {
			const struct scaling_part *part = in->members[i].part;
			const struct scaling_bin *bin = part ? scaling_part_bin(part, k) : NULL;
			if (!bin || !in->members[i].usable)
				continue;
			n += bin->n;
			us += bin->us;
			if (part->company)
				beyond += part->company->beyond[k];
		}
		level += n >= 1 ? beyond / n : 0;
		if (n >= 1 && us > 0)
			s->points[s->n_points++] =
			    (struct fit_point){level, level / (us / n / 1e6), n};
	}
	fit_curve(s->points, s->n_points, scaling_hears(s), &s->fit);
	s->at_n_max = s->rng;
	if (!s->fit.refusal) /* forecasts are the same, whether anybody asks or not */
		fit_rate_pass_over(&s->fit, &s->rng);
}

struct scaling_range scaling_at_n_max(const struct scaling *s)
{
	struct rng rng = s->at_n_max;
	struct scaling_range r = {0};
	if (s->fit.model == FIT_NONE || s->fit.refusal)
		return r;
	r.mid = fit_rate(&s->fit, s->fit.n_max);
	fit_rate_interval(s->points, s->n_points, &s->fit, s->fit.n_max, &rng, &r.low, &r.high);
	return r;
}
