/* SPDX-License-Identifier: MIT */
/* Of GET /metrics: what each backend is and does. */
#include "counters.h"
#include "metrics.h"

#include "weir/health/health.h"

static uint64_t is_up(const struct pool *pool, uint32_t i)
{
	return backend_state_takes_new(backend_state(pool->backends[i]));
}

static uint64_t weight(const struct pool *pool, uint32_t i)
{
	return pool->weights[i];
}

static uint64_t in_flight(const struct pool *pool, uint32_t i)
{
	return backend_in_flight(pool->backends[i]);
}

static uint64_t n_streams(const struct pool *pool, uint32_t i)
{
	return backend_streams(pool->backends[i]);
}

static uint64_t n_connections(const struct pool *pool, uint32_t i)
{
	return load_u32(&pool->backends[i]->n_upconns);
}

static uint64_t n_idle(const struct pool *pool, uint32_t i)
{
	const struct backend *b = pool->backends[i];
	uint64_t n = 0;
	for (unsigned w = 0; w < b->n_workers; w++)
		n += load_u32(&b->local[w]->n_idle_shown);
	return n;
}

static const struct gauge {
	const char *name, *help;
	uint64_t (*get)(const struct pool *pool, uint32_t i);
} gauges[] = {
    {"weir_backend_up", "1 while the backend takes new requests, by its state.", is_up},
    {"weir_backend_weight", "Weight in effect.", weight},
    {"weir_backend_in_flight", "Attempts in flight.", in_flight},
    {"weir_backend_streams", "Of them, streams and tunnels that are open.", n_streams},
    {"weir_backend_connections", "Connections to the backend.", n_connections},
    {"weir_backend_idle_connections", "Connections kept for the next request.", n_idle},
};

void each_backend(struct scene *s, backend_fn *fn, const void *arg)
{
	for (uint32_t p = 0; p < s->n_pools; p++)
		for (uint32_t i = 0; i < s->pools[p].n; i++)
			fn(s, p, i, arg);
}

/* A sample that has one label more. */
static void put_labelled(struct scene *s, const char *name, uint32_t p, uint32_t i,
			 const char *label, const char *value, uint64_t n)
{
	begin_backend(s, name, p, i);
	metric_word(&s->m, label, value);
	metric_u64(&s->m, n);
}

static void put_gauge(struct scene *s, uint32_t p, uint32_t i, const void *arg)
{
	const struct gauge *gauge = arg;
	begin_backend(s, gauge->name, p, i);
	metric_u64(&s->m, gauge->get(&s->pools[p], i));
}

/* One sample a state, 1 for the one it is in. */
static void put_states(struct scene *s, uint32_t p, uint32_t i, const void *name)
{
	enum backend_state is = health_state(s->pools[p].backends[i]);
	for (int state = 0; state < N_BACKEND_STATES; state++)
		put_labelled(s, name, p, i, "state", backend_state_name((enum backend_state)state),
			     (int)is == state);
}

/* ---- health checks ---- */

static const struct health_facts *facts_of(const struct scene *s, uint32_t p, uint32_t i)
{
	return health_facts(s->pools[p].backends[i]);
}

static void put_checks(struct scene *s, uint32_t p, uint32_t i, const void *name)
{
	const struct health_facts *facts = facts_of(s, p, i);
	if (!facts || !facts->n_checks)
		return;
	put_labelled(s, name, p, i, "result", "pass", facts->n_passed);
	put_labelled(s, name, p, i, "result", "fail", facts->n_failed);
}

static void put_last_check(struct scene *s, uint32_t p, uint32_t i, const void *name)
{
	const struct health_facts *facts = facts_of(s, p, i);
	if (!facts || !facts->n_checks)
		return;
	begin_backend(s, name, p, i);
	metric_seconds(&s->m, facts->checks[0].duration_us);
}

static void put_load_probes(struct scene *s, uint32_t p, uint32_t i, const void *name)
{
	const struct health_facts *facts = facts_of(s, p, i);
	if (!facts || !facts->asked_load)
		return;
	put_labelled(s, name, p, i, "result", "answered", facts->n_loads);
	put_labelled(s, name, p, i, "result", "lost", facts->n_loads_lost);
}

static void put_ejections(struct scene *s, uint32_t p, uint32_t i, const void *name)
{
	const struct health_facts *facts = facts_of(s, p, i);
	for (int e = 0; facts && e < N_EJECTIONS; e++)
		put_labelled(s, name, p, i, "cause", ejection_name((enum ejection)e),
			     facts->ejections[e]);
}

static const struct family {
	const char *name, *type, *help;
	backend_fn *put; /* its argument is the name */
} families[] = {
    {"weir_backend_state", "gauge", "1 for the state the backend is in, 0 for the others.",
     put_states},
    {"weir_backend_checks_total", "counter", "health checks by their result", put_checks},
    {"weir_backend_last_check_duration_seconds", "gauge", "How long the last health check took.",
     put_last_check},
    {"weir_backend_load_probes_total", "counter",
     "questions for a backend's load (prequal.path) by their result", put_load_probes},
    {"weir_backend_ejections_total", "counter", "ejections for what live traffic met, by cause",
     put_ejections},
};

/* ---- counters ---- */

struct row {
	const struct counter_row *row;
	struct metric_counter c;
};

static void put_counter(struct scene *s, uint32_t p, uint32_t i, const void *arg)
{
	const struct row *r = arg;
	begin_backend(s, r->c.name, p, i);
	if (r->c.code_class.len)
		metric_label(&s->m, "code_class", r->c.code_class);
	metric_u64(&s->m, backend_counter(s->pools[p].backends[i], r->row));
}

static void put_backend_counters(struct scene *s)
{
	struct row r = {0};
	for (size_t i = 0; i < n_backend_counter_rows; i++) {
		r.row = &backend_counter_rows[i];
		metric_counter_next(&s->m, &r.c, "weir_backend", r.row->name, r.row->sentence);
		each_backend(s, put_counter, &r);
	}
}

void put_backend_metrics(struct scene *s)
{
	for (size_t i = 0; i < ARRAY_LEN(gauges); i++) {
		metric_family(&s->m, gauges[i].name, "gauge", gauges[i].help);
		each_backend(s, put_gauge, &gauges[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		metric_family(&s->m, families[i].name, families[i].type, families[i].help);
		each_backend(s, families[i].put, families[i].name);
	}
	put_backend_counters(s);
}
