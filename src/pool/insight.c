/* SPDX-License-Identifier: MIT */
/*
 * What the control thread learns about backends and pools once a second: rows of
 * the flight recorder, state bins; and every insight.interval a verdict.
 */
#include <math.h>
#include <stdio.h>

#include "registry.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"

/* ---- backends, once a second ---- */

/* The workers' bins; how many. */
static size_t levels_of(const struct backend *b, const struct levels *out[WORKERS_MAX])
{
	check(b->n_workers <= WORKERS_MAX);
	for (unsigned i = 0; i < b->n_workers; i++)
		out[i] = atomic_load_explicit(&b->local[i]->levels, memory_order_acquire);
	return b->n_workers;
}

/*
 * Mean number in flight since the last row: exact, from the time integral and what
 * has passed since it was last added to.
 */
static float mean_in_flight(struct backend *b, uint64_t now_us)
{
	uint64_t area = 0;
	for (unsigned i = 0; i < b->n_workers; i++) {
		const struct levels *levels =
		    atomic_load_explicit(&b->local[i]->levels, memory_order_acquire);
		if (levels)
			area += counter_get(&levels->area_us);
	}
	uint64_t since = atomic_load_explicit(&b->level_since_us, memory_order_relaxed);
	uint32_t in_flight =
	    flight_requests(atomic_load_explicit(&b->in_flight, memory_order_relaxed));
	if (since < now_us)
		area += in_flight * (now_us - since);
	double passed = (double)(now_us - b->ticked_us);
	/* a change at this very moment may be counted in the one and not yet the other */
	double grown = (double)(int64_t)(area - b->ticked_area_us);
	b->ticked_area_us = area;
	b->ticked_us = now_us;
	return passed > 0 && grown > 0 ? (float)(grown / passed) : 0;
}

/* The row of the second that has passed. */
void insight_backend_tick(struct backend *b, uint64_t requests, uint64_t errors, uint64_t now_us)
{
	static const double q[] = {0.5, 0.99};
	uint64_t us[ARRAY_LEN(q)] = {0};
	if (!b->history)
		return;
	if (b->windows)
		windows_newest(b->windows, PHASE_total, q, ARRAY_LEN(q), us);
	struct history_row row = {
	    .at_us = now_us,
	    .requests = (uint32_t)(requests - b->ticked_requests),
	    .errors = (uint32_t)(errors - b->ticked_errors),
	    .in_flight = mean_in_flight(b, now_us),
	    .state = (uint8_t)backend_state(b),
	    .p50_us = (uint32_t)us[0],
	    .p99_us = (uint32_t)us[1],
	};
	b->ticked_requests = requests;
	b->ticked_errors = errors;
	history_push(b->history, &row);
}

/* ---- pools, once a second ---- */

static void fold_levels(struct backend *b, struct scaling *scaling)
{
	const struct levels *levels[WORKERS_MAX];
	if (!b->scaling || !scaling)
		return;
	scaling_part_others(b->scaling, scaling->deaf ? 0 : b->others_rate);
	scaling_part_fold(b->scaling, scaling, levels, levels_of(b, levels));
}

static bool is_of(const struct backend *b, const struct pool_state *s)
{
	return b->history && history_newest(b->history) && view_eq(b->pool_name, s->name);
}

/* Latency of the pool: what its backends have just taken in. */
static void fold_windows(const struct pool_registry *reg, struct pool_state *s, uint64_t now_us)
{
	struct arena *arena = arena_new();
	size_t n = 0;
	list_each (it, &reg->backends)
		n++;
	const struct windows **of = arena_array(arena, n, sizeof(const struct windows *));
	n = 0;
	list_each (it, &reg->backends) {
		struct backend *b = list_entry(it, struct backend, registry_link);
		if (b->windows && view_eq(b->pool_name, s->name))
			of[n++] = b->windows;
	}
	if (s->windows)
		windows_fold_newest(s->windows, of, n, now_us);
	arena_free(arena);
}

/* The first that health has named goes before every other verdict. */
static void name_odd(const struct pool_registry *reg, struct pool_state *s)
{
	char who[SCALING_SENTENCE] = "";
	list_each (it, &reg->backends) {
		struct backend *b = list_entry(it, struct backend, registry_link);
		if (b->health && b->scaling && b->scaling->odd[0] &&
		    view_eq(b->pool_name, s->name)) {
			snprintf(who, sizeof(who), VIEW_FMT "/" VIEW_FMT " %s", VIEW_ARG(s->name),
				 VIEW_ARG(b->name), b->scaling->odd);
			break;
		}
	}
	scaling_odd(s->scaling, who);
}

/* Who came in the second that has passed, whatever became of it: the demand. */
static uint32_t arrivals_of(struct pool_state *s, uint32_t served)
{
	uint64_t total = 0;
	for (unsigned i = 0; i < s->n_workers; i++)
		total += counter_get(&s->local[i]->counters.requests);
	uint64_t since = total - s->ticked_requests;
	bool first = !s->ticked;
	s->ticked_requests = total;
	s->ticked = true;
	return first ? served : since < UINT32_MAX ? (uint32_t)since : UINT32_MAX;
}

/* What became of a pool's requests ever. */
struct answered {
	double of[N_FAILING];               /* by kind */
	double class_4xx, class_5xx, heads; /* of all, those with a key or a pin, too */
};

static void add_answers(struct answered *sum, const struct backend *b)
{
	for (unsigned i = 0; i < b->n_workers; i++) {
		const struct backend_local *local = b->local[i];
		const struct backend_counters *c = &local->counters;
		uint64_t bad = counter_get(&c->responses_4xx),
			 worse = counter_get(&c->responses_5xx);
		for (unsigned a = 0; a < N_ANSWERS; a++)
			sum->of[a] +=
			    atomic_load_explicit(&local->odd.answers[a], memory_order_relaxed);
		sum->class_4xx += (double)bad;
		sum->class_5xx += (double)worse;
		sum->heads += (double)(bad + worse + counter_get(&c->responses_2xx) +
				       counter_get(&c->responses_3xx));
	}
}

static double sum_kinds(const struct answered *sum, unsigned from, unsigned to)
{
	double n = 0;
	for (unsigned a = from; a < to; a++)
		n += sum->of[a];
	return n;
}

/* Of those that a key or a pin brought only the class is known. */
static void add_uncounted(struct answered *sum)
{
	sum->of[ANSWER_4xx] += fmax(sum->class_4xx - sum_kinds(sum, ANSWER_400, ANSWER_500), 0);
	sum->of[ANSWER_5xx] += fmax(sum->class_5xx - sum_kinds(sum, ANSWER_500, N_ANSWERS), 0);
	sum->of[ANSWER_full] += fmax(sum->heads - sum_kinds(sum, 0, N_ANSWERS), 0);
}

/* And what got no answer of theirs. */
static void add_unanswered(struct answered *sum, const struct pool_state *s)
{
	for (unsigned i = 0; i < s->n_workers; i++) {
		const struct pool_counters *c = &s->local[i]->counters;
		uint64_t late = counter_get(&c->clients_left_late),
			 left = counter_get(&c->clients_left);
		sum->of[FAILING_late] += (double)late;
		sum->of[FAILING_left] += (double)(left > late ? left - late : 0);
		sum->of[FAILING_refused] +=
		    (double)(counter_get(&c->queue_full) + counter_get(&c->queue_timeouts) +
			     counter_get(&c->queue_shed) + counter_get(&c->no_backend));
	}
}

/*
 * The pool's row: its backends' rows added up, with quantiles of all samples.  Who
 * waits does so for the pool: every backend's row shows the same queue.
 */
void insight_state_tick(const struct pool_registry *reg, struct pool_state *s, uint64_t now_us)
{
	uint32_t queued = atomic_load_explicit(&s->n_queued, memory_order_relaxed);
	double others = 0;
	struct answered answered = {.heads = 0};
	struct history_row row = {.at_us = now_us,
				  .queue = queued < UINT16_MAX ? (uint16_t)queued : UINT16_MAX};
	static const double q[] = {0.5, 0.99};
	uint64_t us[ARRAY_LEN(q)] = {0};
	fold_windows(reg, s, now_us);
	list_each (it, &reg->backends) {
		struct backend *b = list_entry(it, struct backend, registry_link);
		if (!is_of(b, s))
			continue;
		struct history_row *of = history_newest(b->history);
		of->queue = row.queue;
		if (b->minute)
			minute_second(b->minute, of, b->windows);
		row.requests += of->requests;
		row.errors += of->errors;
		row.in_flight += of->in_flight;
		others += b->others_rate;
		add_answers(&answered, b);
	}
	if (s->windows)
		windows_newest(s->windows, PHASE_total, q, ARRAY_LEN(q), us);
	row.p50_us = (uint32_t)us[0];
	row.p99_us = (uint32_t)us[1];
	if (s->history)
		history_push(s->history, &row);
	if (s->minute)
		minute_second(s->minute, &row, s->windows);
	if (s->scaling) {
		scaling_others(s->scaling, others, !reg->deaf);
		scaling_count(s->scaling, arrivals_of(s, row.requests));
		name_odd(reg, s);
		add_uncounted(&answered);
		add_unanswered(&answered, s);
		scaling_answers(s->scaling, answered.of, clock_wall_us());
	}
	list_each (it, &reg->backends) {
		struct backend *b = list_entry(it, struct backend, registry_link);
		if (is_of(b, s))
			fold_levels(b, s->scaling);
	}
}

/* ---- pools, every insight.interval ---- */

void pool_look(struct pool *pool, uint64_t lag_us, uint64_t now_us)
{
	struct arena *arena = arena_new();
	struct scaling_member *members = arena_array(arena, pool->n, sizeof(*members));
	if (!pool->state->scaling) {
		arena_free(arena);
		return;
	}
	for (uint32_t i = 0; i < pool->n; i++) {
		struct backend *b = pool->backends[i];
		const struct levels **levels =
		    arena_array(arena, b->n_workers, sizeof(const struct levels *));
		members[i] = (struct scaling_member){
		    .name = b->name,
		    .part = b->scaling,
		    .windows = b->windows,
		    .levels = levels,
		    .n_levels = levels_of(b, levels),
		    .weight = pool->weights[i],
		    .limit = pool->conf->limits.requests,
		    .usable = pool->weights[i] > 0 && backend_state_takes_new(backend_state(b)),
		};
	}
	struct scaling_input input = {
	    .pool = pool->conf->name,
	    .members = members,
	    .n = pool->n,
	    .slo_p95_us = pool->conf->slo.p95_us,
	    .pooled = pool->strategy->needs & NEEDS_LOADS,
	    .lag_us = lag_us,
	    .now_us = now_us,
	    .wall_us = clock_wall_us(),
	};
	scaling_look(pool->state->scaling, &input);
	arena_free(arena);
}
