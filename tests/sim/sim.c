/* SPDX-License-Identifier: MIT */
#include "sim.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "weir/base/arena.h"
#include "weir/base/bitset.h"
#include "weir/base/check.h"
#include "weir/base/rng.h"

#define WORKERS 4
#define WORKER_SLOTS_MAX 256
#define WARM_UP 10 /* the first tenth is not counted */
#define FAIL_US 500.0
#define BURST_EVERY_US 4e6
#define BURST_US 0.5e6
#define BURST_SPEED 0.3
#define NOTICE_US 250000.0 /* window of the share after a recovery */

/* The end of a request. */
struct event {
	double at, since;
	uint32_t backend, worker, others;
	bool failed;
};

struct burst {
	double next; /* change of speed */
	bool on;
};

struct sim {
	const struct scenario *sc;
	const struct strategy *strategy;
	struct arena *arena;
	const struct strategy_table *table;
	void *local[WORKERS];
	uint64_t eligible[1];
	_Atomic uint64_t in_flight[SIM_BACKENDS_MAX];
	const _Atomic uint64_t *in_flights[SIM_BACKENDS_MAX];
	struct strategy_memory memory[SIM_BACKENDS_MAX];
	struct strategy_memory *memories[SIM_BACKENDS_MAX];
	struct strategy_loads loads;
	double free_at[SIM_BACKENDS_MAX][WORKER_SLOTS_MAX]; /* a heap each, soonest first */
	struct burst bursts[SIM_BACKENDS_MAX];
	struct event *events; /* heap, soonest first */
	uint32_t n_events;
	struct rng work;    /* the same for all strategies */
	struct rng choices; /* of the strategy */
	double *latencies;
	uint32_t n_latencies, n_failed, n_last;
	uint32_t window_all, window_last;
	double window_from;
	struct outcome out;
};

/* ---- random ---- */

static double uniform(struct rng *rng)
{
	return ((double)(rng_next(rng) >> 11) + 0.5) / 9007199254740992.0;
}

static double exponential(struct rng *rng, double mean)
{
	return -log(uniform(rng)) * mean;
}

/* Bounded Pareto, alpha 1.5, largest 300 times the smallest: squared variation about 11. */
static double pareto(struct rng *rng, double mean)
{
	const double a = 1.5, k = 1 - pow(300, -a);
	const double raw = a / (a - 1) * (1 - pow(300, 1 - a)) / k;
	return mean / raw * pow(1 - uniform(rng) * k, -1 / a);
}

/* ---- backends ---- */

static bool is_last(const struct sim *s, uint32_t i)
{
	return i == s->sc->n - 1;
}

static double speed_of(struct sim *s, uint32_t i, double now)
{
	double speed = 1;
	if (s->sc->slow_speed > 0 && i >= s->sc->n - s->sc->n_slow)
		speed = s->sc->slow_speed;
	return s->sc->bursts && s->bursts[i].on && now >= 0 ? speed * BURST_SPEED : speed;
}

static void turn_bursts(struct sim *s, double now)
{
	for (uint32_t i = 0; i < s->sc->n; i++) {
		struct burst *b = &s->bursts[i];
		while (b->next <= now) {
			b->on = b->next > 0 && !b->on;
			b->next += exponential(&s->work, b->on ? BURST_US : BURST_EVERY_US);
		}
	}
}

/* Takes the worker that is free first until `now` + size; when that is. */
static double occupy(struct sim *s, uint32_t i, double now, double size)
{
	double *heap = s->free_at[i], begin = heap[0] > now ? heap[0] : now;
	double end = begin + size / speed_of(s, i, begin);
	uint32_t k = 0;
	for (uint32_t child; (child = 2 * k + 1) < s->sc->c; k = child) {
		child += child + 1 < s->sc->c && heap[child + 1] < heap[child];
		if (heap[child] >= end)
			break;
		heap[k] = heap[child];
	}
	heap[k] = end;
	return end;
}

/* ---- events ---- */

static void event_push(struct sim *s, struct event e)
{
	uint32_t k = s->n_events++;
	for (; k > 0 && s->events[(k - 1) / 2].at > e.at; k = (k - 1) / 2)
		s->events[k] = s->events[(k - 1) / 2];
	s->events[k] = e;
}

static struct event event_pop(struct sim *s)
{
	struct event first = s->events[0], e = s->events[--s->n_events];
	uint32_t k = 0;
	for (uint32_t child; (child = 2 * k + 1) < s->n_events; k = child) {
		child += child + 1 < s->n_events && s->events[child + 1].at < s->events[child].at;
		if (s->events[child].at >= e.at)
			break;
		s->events[k] = s->events[child];
	}
	s->events[k] = e;
	return first;
}

static void end_request(struct sim *s, const struct event *e)
{
	s->in_flight[e->backend]--;
	if (s->strategy->done)
		s->strategy->done(s->table, s->local[e->worker], &s->loads, e->backend,
				  &(struct strategy_result){
				      .error = e->failed,
				      .duration_us = (uint64_t)(e->at - e->since) + 1,
				      .now_us = (uint64_t)e->at,
				      .others = e->others,
				  });
}

static uint32_t pick(struct sim *s, uint32_t worker, double now)
{
	struct strategy_input input = {
	    .random = rng_next(&s->choices),
	    .key = rng_next(&s->work),
	    .now_us = (uint64_t)now,
	};
	uint32_t i = s->strategy->pick(s->table, s->local[worker], &input, s->eligible, &s->loads);
	check(i < s->sc->n);
	return i;
}

/* The share of the last backend since it recovered: half a fair one is noticed. */
static void watch_recovery(struct sim *s, uint32_t i, double now)
{
	double from = s->sc->recovers_s * 1e6;
	if (from <= 0 || now < from || s->out.noticed_s >= 0)
		return;
	if (now - s->window_from > NOTICE_US) {
		s->window_all = s->window_last = 0;
		s->window_from = now;
	}
	s->window_all++;
	s->window_last += is_last(s, i);
	if (s->window_all >= 50 && s->window_last * s->sc->n * 2 >= s->window_all)
		s->out.noticed_s = (now - from) / 1e6;
}

static void begin_request(struct sim *s, double now, bool counted)
{
	const struct scenario *sc = s->sc;
	double size = sc->heavy_tail ? pareto(&s->work, sc->service_us)
				     : exponential(&s->work, sc->service_us);
	uint32_t worker = rng_below(&s->choices, WORKERS), i = pick(s, worker, now);
	bool failed = sc->fails_fast && is_last(s, i);
	double end = failed ? now + FAIL_US : occupy(s, i, now, size);
	if (is_last(s, i) && sc->delay_us > 0 &&
	    (sc->recovers_s <= 0 || now < sc->recovers_s * 1e6))
		end += sc->delay_us;
	uint32_t in_flight = (uint32_t)++s->in_flight[i];
	event_push(s, (struct event){end, now, i, worker, in_flight - 1, failed});
	watch_recovery(s, i, now);
	s->n_last += is_last(s, i);
	if (!counted)
		return;
	if (in_flight > sc->c && in_flight - sc->c > s->out.most_queued)
		s->out.most_queued = in_flight - sc->c;
	s->n_failed += failed;
	if (!failed)
		s->latencies[s->n_latencies++] = end - now;
}

/* ---- a run ---- */

static void set_up(struct sim *s, const struct scenario *sc, const struct strategy *strategy,
		   uint64_t seed)
{
	struct strategy_member members[SIM_BACKENDS_MAX];
	check(sc->n <= SIM_BACKENDS_MAX && sc->c <= WORKER_SLOTS_MAX);
	s->sc = sc;
	s->strategy = strategy;
	s->arena = arena_new();
	s->out.noticed_s = -1;
	rng_init(&s->work, seed);
	rng_init(&s->choices, seed + 1000);
	for (uint32_t i = 0; i < sc->n; i++) {
		members[i].name = view_str(arena_printf(s->arena, "10.0.0.%u:80", i));
		members[i].weight = 1;
		s->in_flights[i] = &s->in_flight[i];
		s->memories[i] = &s->memory[i];
		bitset_put(s->eligible, i);
	}
	s->loads = (struct strategy_loads){.in_flight = s->in_flights, .memory = s->memories};
	s->table = strategy->build(members, sc->n, &(struct strategy_options){0}, s->arena);
	for (unsigned w = 0; w < WORKERS && strategy->local_size; w++) {
		s->local[w] = arena_zalloc(s->arena, strategy->local_size(s->table));
		if (strategy->local_init)
			strategy->local_init(s->table, s->local[w], rng_next(&s->choices));
	}
	s->events = calloc(sc->n_requests, sizeof(*s->events));
	s->latencies = calloc(sc->n_requests, sizeof(*s->latencies));
	check(s->events && s->latencies);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double quantile(const struct sim *s, double q)
{
	uint32_t at = (uint32_t)(q * s->n_latencies);
	return s->latencies[at < s->n_latencies ? at : s->n_latencies - 1] / 1000;
}

struct outcome simulate(const struct scenario *sc, const struct strategy *strategy, uint64_t seed)
{
	struct sim *s = calloc(1, sizeof(*s));
	check(s);
	set_up(s, sc, strategy, seed);
	double now = 0;
	for (uint32_t k = 0; k < sc->n_requests; k++) {
		now += exponential(&s->work, 1e6 / sc->rate);
		if (sc->bursts)
			turn_bursts(s, now);
		while (s->n_events && s->events[0].at <= now) {
			struct event e = event_pop(s);
			end_request(s, &e);
		}
		begin_request(s, now, k >= sc->n_requests / WARM_UP);
	}
	qsort(s->latencies, s->n_latencies, sizeof(double), by_value);
	s->out.p50_ms = quantile(s, 0.5);
	s->out.p99_ms = quantile(s, 0.99);
	s->out.p999_ms = quantile(s, 0.999);
	s->out.failed = (double)s->n_failed / (s->n_failed + s->n_latencies);
	s->out.last_share = (double)s->n_last / sc->n_requests;
	struct outcome out = s->out;
	arena_free(s->arena);
	free(s->events);
	free(s->latencies);
	free(s);
	return out;
}
