/* SPDX-License-Identifier: MIT */
/* A pool of FIFO backends, simulated. */
#include "replay.h"

#include <math.h>
#include <stdlib.h>

#define REQUESTS 1500
#define WARM_UP 500
#define BACKENDS_MAX 16 /* more behave as so many do at the same load of each */
#define IN_FLIGHT_MAX 4096

/* ---- chance ---- */

static double uniform(struct rng *rng)
{
	return ((double)(rng_next(rng) >> 11) + 0.5) / 9007199254740992.0;
}

void replay_times_init(struct replay_times *t, const struct spread *service)
{
	double sum = 0;
	t->n = 0;
	for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
		if (service->weight[i] <= 0)
			continue;
		sum += service->weight[i];
		t->sum[t->n] = sum;
		t->low_us[t->n] = (double)hist_lower_us(i);
		t->width_us[t->n++] = (double)hist_width_us(i);
	}
}

static double draw_time(const struct replay_times *t, struct rng *rng)
{
	double at = uniform(rng) * t->sum[t->n - 1];
	unsigned low = 0, high = t->n - 1;
	while (low < high) {
		unsigned middle = (low + high) / 2;
		if (t->sum[middle] < at)
			low = middle + 1;
		else
			high = middle;
	}
	return t->low_us[low] + uniform(rng) * t->width_us[low];
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

/* Bursts: the rate of each second is drawn, so that counts vary as they were seen to. */
struct arrivals {
	double rate, vary, now_us, until_us, factor;
};

static double next_arrival(struct arrivals *a, struct rng *rng)
{
	if (a->vary > 0 && a->now_us >= a->until_us) {
		/* uneven halves with that variance: few busy seconds, many quiet ones */
		double p = 1 / (1 + a->vary);
		a->factor = uniform(rng) < 0.5 ? 1 - sqrt(fmin(a->vary, 0.8))
					       : 1 + sqrt(fmin(a->vary, 0.8));
		a->until_us = a->now_us + 1e6 * (0.5 + p);
	}
	a->now_us -= log(uniform(rng)) / (a->rate * a->factor);
	return a->now_us;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

struct replay_result replay(const struct replay_plan *plan, const struct replay_times *times,
			    double stretch, struct rng *rng)
{
	static const struct replay_result none = {INFINITY, INFINITY};
	double n = plan->pooled ? fmin(plan->backends, BACKENDS_MAX) : 1, took[REQUESTS];
	struct arrivals arrivals = {.rate = plan->rate * n / plan->backends, .factor = 1};
	struct pool_run run = {.n = (unsigned)n, .c = (unsigned)fmin(plan->workers, 1024)};
	double per_second = arrivals.rate * 1e6;
	arrivals.vary = plan->cv2_arrivals > 1.3 ? (plan->cv2_arrivals - 1) / per_second : 0;
	run.free_us = times->n ? calloc((size_t)run.n * run.c, sizeof(double)) : NULL;
	if (!run.free_us)
		return none;
	for (unsigned i = 0; i < WARM_UP + REQUESTS; i++) {
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
		if (i >= WARM_UP)
			took[i - WARM_UP] = end - now;
	}
	free(run.free_us);
	qsort(took, REQUESTS, sizeof(*took), by_value);
	return (struct replay_result){took[REQUESTS / 2], took[REQUESTS * 99 / 100]};
}
