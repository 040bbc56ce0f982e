/* SPDX-License-Identifier: MIT */
/* A sentence for each verdict: what, evidence, what to do, and what that would bring. */
#include <math.h>
#include <stdio.h>

#include "verdict.h"

#include "weir/base/clock.h"

#define TIGHT 0.67 /* of the objective, alone */
#define CHANGE_SAID_US (UINT64_C(900) * 1000000)

struct text text_us(double x)
{
	struct text t;
	if (x < 1000)
		snprintf(t.at, sizeof(t.at), "%.0f us", x);
	else if (x < 1e6)
		snprintf(t.at, sizeof(t.at), "%.*f ms", x < 1e5 ? 1 : 0, x / 1e3);
	else
		snprintf(t.at, sizeof(t.at), "%.2f s", fmin(x, 1e12) / 1e6);
	return t;
}

/* "slower since 14:05 at equal load (3.0 times as long): a deploy, or other work?; " */
static void say_change(const struct case_file *c, char *out, size_t size)
{
	const struct scaling_change *change = &c->s->change;
	char clock[CLOCK_LOCAL_LEN + 1], much[32];
	*out = '\0';
	if (!change->at_us || c->in->now_us > change->at_us + CHANGE_SAID_US)
		return;
	clock_local(clock, change->at_wall_us);
	snprintf(much, sizeof(much), "%.1f",
		 change->factor > 1 ? change->factor : 1 / change->factor);
	if (change->of_kind)
		snprintf(out, size,
			 "the kind of requests changed at %s (at equal load they are at least %s "
			 "times as %s); ",
			 clock, much, change->factor > 1 ? "long" : "quick");
	else
		snprintf(out, size, "%s%s at equal load (at least %s times as %s): a deploy%s; ",
			 change->factor > 1 ? SLOWER : "quicker since ", clock, much,
			 change->factor > 1 ? "long" : "quick",
			 scaling_kind_is_open(change) ? ", or other requests?" : "?");
}

static enum verdict say_learning(const struct case_file *c, double n, const char *of)
{
	char *say = c->say, change[160];
	say_change(c, change, sizeof(change));
	SAY("%slearning (%.0f of %d requests %s%s%s)", change, n, SCALING_SAMPLES, of,
	    c->s->epoch_cause ? ", since " : "", c->s->epoch_cause ? c->s->epoch_cause : "");
	return VERDICT_not_enough_data;
}

enum verdict say_few_now(const struct case_file *c)
{
	return say_learning(c, c->now->n, "of the last minutes");
}

enum verdict say_few_alone(const struct case_file *c)
{
	return say_learning(c, c->alone->n, "that had a backend to themselves");
}

enum verdict say_deaf(const struct case_file *c)
{
	char *say = c->say;
	SAY("learning: p95 is %s, and what other nodes send to these backends is not known: "
	    "whether "
	    "that is load cannot be told",
	    text_us(c->now->p95_us).at);
	return VERDICT_not_enough_data;
}

enum verdict say_not_alone(const struct case_file *c)
{
	char *say = c->say;
	SAY("learning: p95 is %s, and between %s and %s alone, since some of those met requests of "
	    "other nodes there: an hour with less load would tell",
	    text_us(c->now->p95_us).at, text_us(c->alone->p95_least_us).at,
	    text_us(c->alone->p95_us).at);
	return VERDICT_not_enough_data;
}

/* ", 10 ms alone": with who was alone. */
static const char *alone_where(const struct case_file *c)
{
	return c->alone == &c->s->alone && c->s->alone_in_pool ? "alone in the pool" : "alone";
}

/* "with one more: p99 48.0 to 60.1 ms (now 89.2)", or why nobody knows. */
static void say_forecast(const struct case_file *c, char *out, size_t size)
{
	const struct scaling_forecast *f = &c->s->forecasts[FORECAST_MORE];
	if (f->refusal)
		snprintf(out, size, "what one more would bring is not known (%s)", f->refusal);
	else if (f->saturated)
		snprintf(out, size, "one more is not enough for %.0f requests/s", f->rate);
	else
		snprintf(out, size, "with one more p99 would be %s to %s (now %s)",
			 text_us(f->p99_us.low).at, text_us(f->p99_us.high).at,
			 text_us(c->s->now_p99_us).at);
}

/* ", which alone is 92 % of the objective": quicker code would leave room, too. */
static void say_tight(const struct case_file *c, char *out, size_t size)
{
	double slo = (double)c->in->slo_p95_us, share = slo > 0 ? c->alone->p95_us / slo : 0;
	*out = '\0';
	if (share > TIGHT && share < 1)
		snprintf(out, size,
			 ", or look at the code: alone it takes %.0f %% of the objective",
			 100 * share);
}

/* Above its peak a backend does less the more it has at once. */
static bool is_over_the_peak(const struct scaling *s)
{
	return s->fit.model == FIT_USL && s->fit.usl.kap_significant && !s->fit.refusal &&
	       s->fit.n_max > s->fit.usl.peak_n;
}

enum verdict say_shared(const struct case_file *c)
{
	const struct scaling_shift *shift = &c->s->shift;
	char *say = c->say;
	SAY("slow under load, and the backends share a bottleneck: p95 is %s %s and %s now (%.1f "
	    "times); a request takes %.0f %% longer (+- %.0f) at a backend with as much to do when "
	    "the others are busier: fix what they share first, more backends help less",
	    text_us(c->alone->p95_us).at, alone_where(c), text_us(c->now->p95_us).at, c->growth,
	    100 * shift->change, 196 * shift->se);
	return VERDICT_scalability_shared;
}

enum verdict say_shared_by_size(const struct case_file *c)
{
	const struct scaling_fall *fall = &c->s->fall;
	char *say = c->say;
	SAY("slow under load, and the backends share a bottleneck: p95 is %s %s and %s now (%.1f "
	    "times); with more than it could do a backend did %.0f requests/s as one of %u and "
	    "%.0f as one of %u, and alone it is as quick as before: fix what they share first, "
	    "more backends help less",
	    text_us(c->alone->p95_us).at, alone_where(c), text_us(c->now->p95_us).at, c->growth,
	    fall->rate_from, fall->from, fall->rate_to, fall->to);
	return VERDICT_scalability_shared;
}

enum verdict say_scalability(const struct case_file *c)
{
	const struct scaling_shift *shift = &c->s->shift;
	char *say = c->say, forecast[200], tight[96];
	say_forecast(c, forecast, sizeof(forecast));
	say_tight(c, tight, sizeof(tight));
	SAY("slow under load: p95 is %s %s (%.0f requests) and %s now (%.1f times)%s: %s%s; %s",
	    text_us(c->alone->p95_us).at, alone_where(c), c->alone->n, text_us(c->now->p95_us).at,
	    c->growth,
	    shift->known           ? ", and a backend is not slower when the others are busier"
	    : c->s->n_backends > 1 ? ", whether they share a bottleneck is not known"
				   : "",
	    is_over_the_peak(c->s) ? "lower limits.requests below the peak now, then add backends"
				   : "add backends",
	    tight, forecast);
	return VERDICT_scalability;
}

enum verdict say_performance(const struct case_file *c)
{
	char *say = c->say, change[160];
	say_change(c, change, sizeof(change));
	if (c->alone->p95_us > (double)c->in->slo_p95_us)
		SAY("%sslow on its own: p95 is %s for requests that are %s (%.0f of them), the "
		    "objective is %s: look at the code, its queries and calls; the load from here "
		    "is not the cause",
		    change, text_us(c->alone->p95_us).at, alone_where(c), c->alone->n,
		    text_us((double)c->in->slo_p95_us).at);
	else
		SAY("%sslow on its own: p95 is %s for requests that are %s (%.0f of them) and %s "
		    "now, which is about the objective of %s: load adds little; look at the code, "
		    "its queries and calls",
		    change, text_us(c->alone->p95_us).at, alone_where(c), c->alone->n,
		    text_us(c->now->p95_us).at, text_us((double)c->in->slo_p95_us).at);
	return VERDICT_performance;
}

enum verdict say_healthy(const struct case_file *c)
{
	char *say = c->say, change[160];
	say_change(c, change, sizeof(change));
	SAY("%shealthy: p95 is %s, within the objective of %s (%.0f requests)", change,
	    text_us(c->seen_us).at, text_us((double)c->in->slo_p95_us).at, c->now->n);
	return VERDICT_healthy;
}

enum verdict say_steady(const struct case_file *c)
{
	char *say = c->say, change[160];
	say_change(c, change, sizeof(change));
	SAY("%sload does not slow it: p95 is %s alone and %s now (%.0f requests); whether %s is "
	    "good enough you must say: pools." VIEW_FMT ".slo.p95",
	    change, text_us(c->alone->p95_us).at, text_us(c->now->p95_us).at, c->now->n,
	    text_us(c->now->p95_us).at, VIEW_ARG(c->in->pool));
	return VERDICT_steady;
}

enum verdict say_unsettled(const struct case_file *c)
{
	char *say = c->say, change[160], times[48] = "";
	double much = fmax(c->s->drifting, c->s->change.at_us ? c->s->change.factor : 1);
	say_change(c, change, sizeof(change));
	if (much > GROWTH_SOME)
		snprintf(times, sizeof(times), " (%.1f times at equal load)", much);
	SAY("%slearning: requests have become slower%s; whether that is load or a change is known "
	    "in half a minute",
	    change, times);
	return VERDICT_not_enough_data;
}

enum verdict say_drifted(const struct case_file *c)
{
	char *say = c->say, change[160];
	say_change(c, change, sizeof(change));
	SAY("%slearning: p95 is %s %s and %s now, and at equal load requests take %.1f times as "
	    "long as before: that is more than load; a deploy, a dependency, other work?",
	    change, text_us(c->alone->p95_us).at, alone_where(c), text_us(c->now->p95_us).at,
	    c->s->drifting);
	return VERDICT_not_enough_data;
}

/* "slower since 14:05, with no more requests than were served well before: ..." */
enum verdict say_no_load(const struct case_file *c)
{
	char *say = c->say, clock[CLOCK_LOCAL_LEN + 1];
	uint64_t ago_us = c->in->now_us - c->s->fine_us;
	clock_local(clock, c->in->wall_us > ago_us ? c->in->wall_us - ago_us : 0);
	SAY(SLOWER "%s, with no more requests than were served well before: p95 is %s %s and %s "
		   "now; load is not the cause: a deploy, a dependency, other work?",
	    clock, text_us(c->alone->p95_us).at, alone_where(c), text_us(c->now->p95_us).at);
	return VERDICT_not_enough_data;
}

enum verdict say_no_cause(const struct case_file *c)
{
	char *say = c->say, change[160];
	say_change(c, change, sizeof(change));
	SAY("%slearning: p95 is %s %s and %s now, but who meets more others does not take as much "
	    "longer in the same seconds: whether that is load or other requests is not known",
	    change, text_us(c->alone->p95_us).at, alone_where(c), text_us(c->now->p95_us).at);
	return VERDICT_not_enough_data;
}
