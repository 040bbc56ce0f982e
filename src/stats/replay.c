/* SPDX-License-Identifier: MIT */
/* A pool of FIFO backends, simulated. */
#include "replay.h"

#include <math.h>
#include <stdlib.h>

#define REQUESTS_MIN 3000
#define REQUESTS_MAX 4500
#define MEMORIES 12     /* a run is so many times as long as a queue is remembered */
#define BACKENDS_MAX 16 /* more behave as so many do at the same load of each */
#define IN_FLIGHT_MAX 4096

/* ---- chance ---- */

static double uniform(struct rng *rng)
{
	return ((double)(rng_next(rng) >> 11) + 0.5) / 9007199254740992.0;
}

/* Where a draw begins to look: at the last time that is not too long for it. */
static void guide_init(struct replay_times *t)
{
	unsigned at = 0;
	for (unsigned i = 0; i < REPLAY_GUIDES; i++) {
		while (at + 1 < t->n && t->sum[at] * REPLAY_GUIDES < t->sum[t->n - 1] * i)
			at++;
		t->guide[i] = (uint16_t)at;
	}
}

void replay_times_init(struct replay_times *t, const struct spread *service)
{
	double sum = 0;
	t->n = 0;
	t->mean_us = spread_mean(service);
	for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
		if (service->weight[i] <= 0)
			continue;
		sum += service->weight[i];
		t->sum[t->n] = sum;
		t->low_us[t->n] = (double)hist_lower_us(i);
		t->width_us[t->n++] = (double)hist_width_us(i);
	}
	guide_init(t);
}

static double draw_time(const struct replay_times *t, struct rng *rng)
{
	double share = uniform(rng), at = share * t->sum[t->n - 1];
	unsigned i = t->guide[(unsigned)(share * REPLAY_GUIDES)];
	while (i + 1 < t->n && t->sum[i] < at)
		i++;
	return t->low_us[i] + uniform(rng) * t->width_us[i];
}

/* ---- the pool ---- */

struct end {
	double at_us;
	unsigned backend, node;
};

struct pool_run {
	unsigned n, c, in_flight[2][BACKENDS_MAX]; /* by node: this one, the others as one */
	double *free_us;                           /* [n][c]: when each worker is free */
	struct end heap[IN_FLIGHT_MAX];
	unsigned n_heap;
};

static void push_end(struct pool_run *p, struct end end)
{
	unsigned i = p->n_heap++;
	for (; i > 0 && p->heap[(i - 1) / 2].at_us > end.at_us; i = (i - 1) / 2)
		p->heap[i] = p->heap[(i - 1) / 2];
	p->heap[i] = end;
}

static void pop_end(struct pool_run *p)
{
	struct end last = p->heap[--p->n_heap];
	unsigned i = 0;
	p->in_flight[p->heap[0].node][p->heap[0].backend]--;
	for (unsigned k; (k = 2 * i + 1) < p->n_heap; i = k) {
		if (k + 1 < p->n_heap && p->heap[k + 1].at_us < p->heap[k].at_us)
			k++;
		if (last.at_us <= p->heap[k].at_us)
			break;
		p->heap[i] = p->heap[k];
	}
	p->heap[i] = last;
}

static unsigned choose(const struct pool_run *p, unsigned node, bool pooled, struct rng *rng)
{
	const unsigned *in_flight = p->in_flight[node];
	unsigned best = rng_below(rng, p->n);
	for (unsigned k = 1, i = best; pooled && k < p->n; k++) {
		i = i + 1 < p->n ? i + 1 : 0;
		if (in_flight[i] < in_flight[best])
			best = i;
	}
	return best;
}

/* When it is done that comes now. */
static double serve(struct pool_run *p, unsigned b, unsigned node, double now_us, double service_us)
{
	double *free_us = p->free_us + (size_t)b * p->c;
	unsigned first = 0;
	for (unsigned i = 1; i < p->c && free_us[first] > now_us; i++)
		if (free_us[i] < free_us[first])
			first = i;
	double end = fmax(now_us, free_us[first]) + service_us;
	free_us[first] = end;
	p->in_flight[node][b]++;
	push_end(p, (struct end){end, b, node});
	return end;
}

/* Bursts: each second is busy or quiet by chance, so that counts vary as they were seen to. */
struct arrivals {
	double rate, bursts, now_us, until_us, factor;
	double swing, angle, step; /* once up and down in a run */
};

static double next_arrival(struct arrivals *a, struct rng *rng)
{
	if (a->bursts > 0 && a->now_us >= a->until_us) {
		a->factor = uniform(rng) < 0.5 ? 1 - a->bursts : 1 + a->bursts;
		a->until_us = a->now_us + 1e6;
	}
	double rate = a->rate * a->factor;
	if (a->swing > 0) {
		a->angle += a->step;
		rate *= 1 + a->swing * sin(a->angle);
	}
	a->now_us -= log(uniform(rng)) / rate;
	return a->now_us;
}

/* How long they took, in the buckets of histograms: that is as exact as what is measured. */
struct took {
	uint16_t n[HIST_BUCKETS];
	unsigned all;
};

static double quantile(const struct took *took, double q)
{
	double left = q * took->all;
	for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
		if (took->n[i] >= left && took->n[i])
			return (double)hist_lower_us(i) +
			       (double)hist_width_us(i) * left / took->n[i];
		left -= took->n[i];
	}
	return INFINITY;
}

/*
 * The fuller they are the longer it takes until a queue has forgotten that it was empty, and
 * the longer until it has been seen as long as it gets: as (1 - sqrt(rho))^2 does.
 */
static unsigned requests_of(const struct replay_plan *plan, const struct replay_times *times,
			    double stretch)
{
	double rho = plan->rate * times->mean_us * stretch / plan->backends / plan->workers;
	double left = 1 - sqrt(fmin(rho, 0.97));
	return (unsigned)fmin(fmax(MEMORIES * rho / (left * left), REQUESTS_MIN), REQUESTS_MAX);
}

struct replay_result replay(const struct replay_plan *plan, const struct replay_times *times,
			    double stretch, struct rng *rng)
{
	static const struct replay_result none = {INFINITY, INFINITY, INFINITY, 1};
	double n = plan->pooled ? fmin(plan->backends, BACKENDS_MAX) : 1;
	struct took took = {.all = requests_of(plan, times, stretch)};
	unsigned warm_up = took.all / 3;
	struct arrivals arrivals = {.rate = plan->rate * n / plan->backends, .factor = 1};
	struct pool_run run = {.n = (unsigned)n, .c = (unsigned)fmin(plan->workers, 1024)};
	arrivals.bursts = fmin(plan->bursts, 0.9);
	arrivals.swing = fmin(M_SQRT2 * plan->swing, 0.9);
	arrivals.step = 2 * M_PI / took.all;
	arrivals.angle = 2 * M_PI * uniform(rng);
	run.free_us = times->n ? calloc((size_t)run.n * run.c, sizeof(double)) : NULL;
	if (!run.free_us)
		return none;
	for (unsigned i = 0; i < warm_up + took.all; i++) {
		double now = next_arrival(&arrivals, rng);
		while (run.n_heap && run.heap[0].at_us <= now)
			pop_end(&run);
		if (run.n_heap >= IN_FLIGHT_MAX) {
			free(run.free_us);
			return none;
		}
		unsigned node = plan->elsewhere > 0 && uniform(rng) < plan->elsewhere;
		unsigned b = choose(&run, node, plan->pooled, rng);
		double end = serve(&run, b, node, now, stretch * draw_time(times, rng));
		if (i >= warm_up)
			took.n[hist_index((uint64_t)(end - now))]++;
	}
	free(run.free_us);
	double p99 = quantile(&took, 0.99);
	return (struct replay_result){quantile(&took, 0.5), p99,
				      (p99 - quantile(&took, 0.97)) / log(3), took.all};
}
