/* SPDX-License-Identifier: MIT */
/* What came of forecasts: those of a change that then happened are compared with what was seen. */
#include <math.h>
#include <stdlib.h>

#include "scaling.h"

#define SETTLE_US (UINT64_C(15) * 1000000)
/* Less than the two minutes that are forecast: whoever added a backend waits for what came of it,
 * and 1000 requests of 20 s scatter by a few percent more. */
#define SEEN_US (UINT64_C(20) * 1000000)
#define SCORE_US (UINT64_C(300) * 1000000) /* with fewer samples than wanted, not later */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

void forecast_remember(struct scaling *s, uint32_t from, uint32_t to, uint64_t now_us)
{
	s->pending.at_us = s->since_us = 0;
	for (int i = 0; i <= FORECAST_DOUBLE; i++) {
		const struct scaling_forecast *f = &s->forecasts[i];
		if (f->backends != to || f->refusal || f->saturated || f->p99_us.high <= 0)
			continue;
		s->pending = (struct scaling_score){
		    .at_us = now_us + SETTLE_US,
		    .from = from,
		    .to = to,
		    .rate_then = f->rate,
		    .p99_us = f->p99_us,
		    .p50_us = f->p50_us,
		};
		s->since = (struct spread){0};
	}
}

static bool holds(const struct scaling_score *p)
{
	return p->actual_us >= p->p99_us.low && p->actual_us <= p->p99_us.high;
}

/* What came before they had settled, or in a second, is not what was meant. */
static bool is_measured(struct scaling *s, uint64_t now_us)
{
	if (!s->pending.at_us || now_us < s->pending.at_us)
		return false;
	if (!s->since_us || s->since_us > now_us) { /* from this look on; or of a machine before */
		s->since_us = now_us;
		s->since = (struct spread){0};
	}
	bool enough = s->since.n >= FORECAST_P99_SAMPLES && now_us >= s->since_us + SEEN_US;
	return enough || now_us > s->since_us + SCORE_US;
}

/* Where a thousand do not come in five minutes, the median is what can be compared. */
void forecast_score(struct scaling *s, uint64_t now_us)
{
	struct scaling_score *p = &s->pending;
	if (!is_measured(s, now_us))
		return;
	p->of_p50 = s->since.n < FORECAST_P99_SAMPLES;
	p->actual_us = spread_quantile(&s->since, p->of_p50 ? 0.5 : 0.99);
	if (p->of_p50)
		p->p99_us = p->p50_us;
	p->at_us = now_us;
	p->rate_now = s->since.n / ((double)(now_us - s->since_us) / 1e6) + s->others_rate;
	p->comparable = s->since.n >= SCALING_SAMPLES / 4 &&
			fabs(p->rate_now - p->rate_then) <= 0.2 * p->rate_then;
	s->scores[s->n_scores++ % SCALING_SCORES] = *p;
	s->n_comparable += p->comparable;
	s->n_held += p->comparable && holds(p);
	p->at_us = s->since_us = 0;
}

double scaling_median_error(const struct scaling *s)
{
	double errors[SCALING_SCORES];
	size_t n = 0;
	for (unsigned i = 0; i < SCALING_SCORES && i < s->n_scores; i++)
		if (s->scores[i].comparable && s->scores[i].actual_us > 0)
			errors[n++] = fabs(s->scores[i].p99_us.mid - s->scores[i].actual_us) /
				      s->scores[i].actual_us;
	if (!n)
		return -1;
	qsort(errors, n, sizeof(*errors), by_value);
	return errors[n / 2];
}
