/* SPDX-License-Identifier: MIT */
/*
 * GET /metrics.  Counters come out of the tables' rows; a latency histogram
 * appears with its first sample.  Quantities are in base units, names as
 * Prometheus wants them.
 */
#include "api.h"
#include "certificates.h"
#include "counters.h"
#include "limits.h"
#include "metric.h"
#include "mirror.h"
#include "process.h"
#include "sources.h"

#include <stdio.h>
#include <string.h>

#include "weir/health/health.h"
#include "weir/stats/meter.h"

struct scene {
	struct metric m;
	struct admin_status status;
	const struct pool *pools;
	uint32_t n_pools;
	bool scoped;           /* to one pool */
	struct view **backend; /* "{pool="p",backend="b"" by pool and backend: escaped once */
	struct str labels;     /* owns; of the histogram being written */
};

static uint32_t load_u32(const _Atomic uint32_t *n)
{
	return atomic_load_explicit(n, memory_order_relaxed);
}

static void single(struct metric *m, const char *name, const char *type, const char *help,
		   uint64_t n)
{
	metric_family(m, name, type, help);
	metric_begin(m, name);
	metric_u64(m, n);
}

static void single_seconds(struct metric *m, const char *name, const char *type, const char *help,
			   uint64_t us)
{
	metric_family(m, name, type, help);
	metric_begin(m, name);
	metric_seconds(m, us);
}

/* ---- the daemon ---- */

static void put_daemon(struct scene *s)
{
	struct metric *m = &s->m;
	metric_family(m, "weir_build_info", "gauge", "1, with the version as a label.");
	metric_begin(m, "weir_build_info");
	metric_label(m, "version", VIEW(WEIR_VERSION));
	metric_u64(m, 1);
	single(m, "weir_config_last_reload_successful", "gauge",
	       "Whether the last reload, or the start, took the configuration.",
	       s->status.last_reload.ok);
	uint64_t loaded_us = event_last_wall_us(EVENT_RELOAD);
	single_seconds(m, "weir_config_last_reload_success_timestamp_seconds", "gauge",
		       "When the running configuration was loaded.",
		       loaded_us ? loaded_us : s->status.started_wall_us);
	single(m, "weir_config_generation", "gauge", "Number of the running configuration.",
	       s->status.generation);
	single(m, "weir_draining", "gauge", "Whether weir finishes what it has and takes no more.",
	       s->status.draining);
}

static void put_totals(struct scene *s)
{
	struct metric_counter c;
	char last[METRIC_NAME_MAX] = "";
	for (size_t i = 0; i < s->status.n_totals; i++) {
		const struct admin_counter *row = &s->status.totals[i];
		metric_counter_name(&c, "weir", row->name);
		if (strcmp(c.name, last) != 0)
			metric_family(&s->m, c.name, "counter",
				      c.code_class.len ? "responses by class of status"
						       : row->sentence);
		memcpy(last, c.name, sizeof(last));
		metric_begin(&s->m, c.name);
		if (c.code_class.len)
			metric_label(&s->m, "code_class", c.code_class);
		metric_u64(&s->m, row->n);
	}
}

static void put_logs(struct scene *s)
{
	static const char *const dropped = "weir_log_dropped_total";
	struct metric *m = &s->m;
	metric_family(m, dropped, "counter", "lines of logs that could not be written");
	for (size_t i = 0; i < N_ADMIN_LOGS; i++) {
		metric_begin(m, dropped);
		metric_label(m, "log", view_str(s->status.logs[i].name));
		metric_u64(m, s->status.logs[i].dropped);
	}
	single(m, "weir_log_reopen_failures_total", "counter",
	       "times the access log could not be opened again",
	       s->status.logs[ADMIN_LOG_ACCESS].reopen_failures);
	single(m, "weir_log_waiting_bytes", "gauge", "Access log lines that wait to be written.",
	       s->status.logs[ADMIN_LOG_ACCESS].waiting_bytes);
}

static void put_keeping(struct scene *s)
{
	const struct admin_keeping *k = &s->status.keeping;
	if (!k->on)
		return;
	single(&s->m, "weir_state_rows_total", "counter", "rows of the history that were stored",
	       k->rows);
	single(&s->m, "weir_state_rows_lost_total", "counter",
	       "rows of the history that could not be stored", k->lost);
	single(&s->m, "weir_state_bytes", "gauge", "Size of the history's file.", k->bytes);
}

static void put_tracing(struct scene *s)
{
	struct metric_counter c;
	if (!s->status.tracing.on)
		return;
	for (size_t i = 0; i < s->status.tracing.n_counters; i++) {
		const struct admin_counter *row = &s->status.tracing.counters[i];
		metric_counter_name(&c, "weir_trace", row->name);
		single(&s->m, c.name, "counter", row->sentence, row->n);
	}
	single(&s->m, "weir_trace_waiting_bytes", "gauge",
	       "Accounts of exchanges that wait to be sent as spans.",
	       s->status.tracing.waiting_bytes);
}

static void put_shared(struct scene *s)
{
	if (!s->status.shared.on)
		return;
	single(&s->m, "weir_shared_connected", "gauge",
	       "1 while there is a connection to the server of shared.redis.",
	       s->status.shared.connected);
	single(&s->m, "weir_shared_nodes", "gauge", "Other nodes heard of within 5 s.",
	       s->status.shared.n_nodes);
	single(&s->m, "weir_shared_rate_limit_keys", "gauge",
	       "Keys of shared rate limits that are in use.", s->status.shared.n_limits);
	single(&s->m, "weir_shared_rate_limits_alone", "gauge",
	       "1 while the server does not answer in time and each node keeps a fair part.",
	       s->status.shared.limits_alone);
	single(&s->m, "weir_shared_published_total", "counter",
	       "times this node told the others its load", s->status.shared.published);
	single(&s->m, "weir_shared_failed_total", "counter", "times it could not",
	       s->status.shared.failed);
}

static void put_reasons(struct scene *s)
{
	struct metric *m = &s->m;
	metric_family(m, "weir_exchanges_total", "counter", "exchanges by how they ended");
	for (size_t i = 0; i < s->status.n_outcomes; i++) {
		metric_begin(m, "weir_exchanges_total");
		metric_label(m, "outcome", view_str(s->status.outcomes[i].name));
		metric_u64(m, s->status.outcomes[i].n);
	}
	metric_family(m, "weir_rejected_requests_total", "counter",
		      "requests refused as malformed or too large, by reason");
	for (size_t i = 0; i < s->status.n_rejects; i++) {
		if (strcmp(s->status.rejects[i].name, "none") == 0)
			continue;
		metric_begin(m, "weir_rejected_requests_total");
		metric_label(m, "reason", view_str(s->status.rejects[i].name));
		metric_u64(m, s->status.rejects[i].n);
	}
}

static void listener_sample(struct metric *m, const char *name, const struct admin_listener *l,
			    uint64_t n)
{
	metric_begin(m, name);
	metric_label(m, "listener", l->name);
	metric_label(m, "bind", l->bind);
	metric_u64(m, n);
}

static void put_listeners(struct scene *s)
{
	static const char *const live = "weir_connections";
	static const char *const accepted = "weir_listener_accepted_total";
	static const char *const refused = "weir_listener_refused_total";
	const struct admin_listener *rows = s->status.listeners;
	metric_family(&s->m, live, "gauge", "Client connections.");
	for (size_t i = 0; i < s->status.n_listeners; i++)
		listener_sample(&s->m, live, &rows[i], rows[i].connections);
	metric_family(&s->m, accepted, "counter", "client connections accepted, by listener");
	for (size_t i = 0; i < s->status.n_listeners; i++)
		listener_sample(&s->m, accepted, &rows[i], rows[i].accepted);
	metric_family(&s->m, refused, "counter", "client connections refused for a limit");
	for (size_t i = 0; i < s->status.n_listeners; i++)
		listener_sample(&s->m, refused, &rows[i], rows[i].refused);
}

static void worker_label(struct metric *m, unsigned id)
{
	char text[16];
	metric_label(m, "worker", view_of(text, (size_t)snprintf(text, sizeof(text), "%u", id)));
}

/* `member`: where in struct admin_worker its uint32_t is. */
static void put_worker_gauge(struct scene *s, const char *name, const char *help, size_t member)
{
	struct metric *m = &s->m;
	const struct admin_worker *rows = s->status.workers;
	metric_family(m, name, "gauge", help);
	for (size_t i = 0; i < s->status.n_workers; i++) {
		uint32_t value;
		memcpy(&value, (const char *)&rows[i] + member, sizeof(value));
		metric_begin(m, name);
		worker_label(m, rows[i].id);
		metric_u64(m, value);
	}
}

static void put_memory(struct scene *s)
{
	struct metric *m = &s->m;
	metric_family(m, "weir_memory_bytes", "gauge",
		      "Memory taken from the system by what it is for, room for reuse included.");
	for (size_t i = 0; i < s->status.n_memory; i++) {
		metric_begin(m, "weir_memory_bytes");
		metric_label(m, "kind", view_str(s->status.memory[i].name));
		metric_u64(m, s->status.memory[i].n);
	}
}

static void put_workers(struct scene *s)
{
	struct metric *m = &s->m;
	const struct admin_worker *rows = s->status.workers;
	metric_family(m, "weir_worker_loop_lag_seconds", "gauge",
		      "Longest turn of the worker's event loop in the last second.");
	for (size_t i = 0; i < s->status.n_workers; i++) {
		metric_begin(m, "weir_worker_loop_lag_seconds");
		worker_label(m, rows[i].id);
		metric_seconds(m, rows[i].loop_lag_us);
	}
	put_worker_gauge(s, "weir_worker_connections", "Client connections by worker.",
			 offsetof(struct admin_worker, connections));
	put_worker_gauge(s, "weir_worker_exchanges", "Exchanges in flight by worker.",
			 offsetof(struct admin_worker, exchanges));
	put_worker_gauge(s, "weir_worker_pipes",
			 "Pipes for large bodies by worker, two descriptors each (splice_pipes).",
			 offsetof(struct admin_worker, pipes));
}

/* ---- pools ---- */

static void put_pools(struct scene *s)
{
	struct metric_counter c;
	metric_family(&s->m, "weir_pool_queue_length", "gauge",
		      "Exchanges that wait for a backend.");
	for (uint32_t i = 0; i < s->n_pools; i++) {
		metric_begin(&s->m, "weir_pool_queue_length");
		metric_label(&s->m, "pool", s->pools[i].conf->name);
		metric_u64(&s->m, load_u32(&s->pools[i].state->n_queued));
	}
	for (size_t r = 0; r < n_pool_counter_rows; r++) {
		const struct counter_row *row = &pool_counter_rows[r];
		metric_counter_name(&c, "weir_pool", row->name);
		metric_family(&s->m, c.name, "counter", row->sentence);
		for (uint32_t i = 0; i < s->n_pools; i++) {
			metric_begin(&s->m, c.name);
			metric_label(&s->m, "pool", s->pools[i].conf->name);
			metric_u64(&s->m, pool_counter(&s->pools[i], row));
		}
	}
}

/* ---- backends ---- */

/* Escapes the names once: each backend has some ninety samples. */
static void make_labels(struct scene *s, struct arena *arena)
{
	s->backend = arena_array(arena, s->n_pools, sizeof(*s->backend));
	for (uint32_t p = 0; p < s->n_pools; p++) {
		const struct pool *pool = &s->pools[p];
		s->backend[p] = arena_array(arena, pool->n, sizeof(**s->backend));
		for (uint32_t i = 0; i < pool->n; i++) {
			struct metric labels = {.out = &s->labels};
			str_reset(&s->labels);
			metric_label(&labels, "pool", pool->conf->name);
			metric_label(&labels, "backend", pool->backends[i]->name);
			s->backend[p][i] = arena_view(arena, str_as_view(&s->labels));
		}
	}
}

static void begin_backend(struct scene *s, const char *name, uint32_t p, uint32_t i)
{
	metric_begin(&s->m, name);
	metric_labels(&s->m, s->backend[p][i]);
}

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

static void put_gauge(struct scene *s, const struct gauge *gauge)
{
	metric_family(&s->m, gauge->name, "gauge", gauge->help);
	for (uint32_t p = 0; p < s->n_pools; p++) {
		for (uint32_t i = 0; i < s->pools[p].n; i++) {
			begin_backend(s, gauge->name, p, i);
			metric_u64(&s->m, gauge->get(&s->pools[p], i));
		}
	}
}

/* One sample a state, 1 for the one it is in. */
static void put_states(struct scene *s)
{
	metric_family(&s->m, "weir_backend_state", "gauge",
		      "1 for the state the backend is in, 0 for the others.");
	for (uint32_t p = 0; p < s->n_pools; p++) {
		for (uint32_t i = 0; i < s->pools[p].n; i++) {
			const struct backend *b = s->pools[p].backends[i];
			for (int state = 0; state < N_BACKEND_STATES; state++) {
				begin_backend(s, "weir_backend_state", p, i);
				metric_label(
				    &s->m, "state",
				    view_str(backend_state_name((enum backend_state)state)));
				metric_u64(&s->m, (int)health_state(b) == state);
			}
		}
	}
}

/* ---- health checks ---- */

/* NULL unless it is checked and has been at least once. */
static const struct health_facts *checked(const struct scene *s, uint32_t p, uint32_t i)
{
	const struct health_facts *facts = health_facts(s->pools[p].backends[i]);
	return facts && facts->n_checks ? facts : NULL;
}

static void put_checks(struct scene *s)
{
	static const char *const total = "weir_backend_checks_total";
	static const char *const last = "weir_backend_last_check_duration_seconds";
	const struct health_facts *facts;
	metric_family(&s->m, total, "counter", "health checks by their result");
	for (uint32_t p = 0; p < s->n_pools; p++) {
		for (uint32_t i = 0; i < s->pools[p].n; i++) {
			if (!(facts = checked(s, p, i)))
				continue;
			begin_backend(s, total, p, i);
			metric_label(&s->m, "result", VIEW("pass"));
			metric_u64(&s->m, facts->n_passed);
			begin_backend(s, total, p, i);
			metric_label(&s->m, "result", VIEW("fail"));
			metric_u64(&s->m, facts->n_failed);
		}
	}
	metric_family(&s->m, last, "gauge", "How long the last health check took.");
	for (uint32_t p = 0; p < s->n_pools; p++) {
		for (uint32_t i = 0; i < s->pools[p].n; i++) {
			if (!(facts = checked(s, p, i)))
				continue;
			begin_backend(s, last, p, i);
			metric_seconds(&s->m, facts->checks[0].duration_us);
		}
	}
}

static void put_load_probes(struct scene *s)
{
	metric_family(&s->m, "weir_backend_load_probes_total", "counter",
		      "questions for a backend's load (prequal.path) by their result");
	for (uint32_t p = 0; p < s->n_pools; p++) {
		for (uint32_t i = 0; i < s->pools[p].n; i++) {
			const struct backend *b = s->pools[p].backends[i];
			const struct health_facts *facts = health_facts(b);
			if (!facts || !facts->asked_load)
				continue;
			begin_backend(s, "weir_backend_load_probes_total", p, i);
			metric_label(&s->m, "result", VIEW("answered"));
			metric_u64(&s->m, facts->n_loads);
			begin_backend(s, "weir_backend_load_probes_total", p, i);
			metric_label(&s->m, "result", VIEW("lost"));
			metric_u64(&s->m, facts->n_loads_lost);
		}
	}
}

static void put_ejections(struct scene *s)
{
	metric_family(&s->m, "weir_backend_ejections_total", "counter",
		      "ejections for what live traffic met, by cause");
	for (uint32_t p = 0; p < s->n_pools; p++) {
		for (uint32_t i = 0; i < s->pools[p].n; i++) {
			const struct backend *b = s->pools[p].backends[i];
			const struct health_facts *facts = health_facts(b);
			for (int e = 0; facts && e < N_EJECTIONS; e++) {
				begin_backend(s, "weir_backend_ejections_total", p, i);
				metric_label(&s->m, "cause",
					     view_str(ejection_name((enum ejection)e)));
				metric_u64(&s->m, facts->ejections[e]);
			}
		}
	}
}

static void put_backend_counters(struct scene *s)
{
	struct metric_counter c;
	char last[METRIC_NAME_MAX] = "";
	for (size_t r = 0; r < n_backend_counter_rows; r++) {
		const struct counter_row *row = &backend_counter_rows[r];
		metric_counter_name(&c, "weir_backend", row->name);
		if (strcmp(c.name, last) != 0)
			metric_family(&s->m, c.name, "counter",
				      c.code_class.len ? "responses by class of status"
						       : row->sentence);
		memcpy(last, c.name, sizeof(last));
		for (uint32_t p = 0; p < s->n_pools; p++) {
			for (uint32_t i = 0; i < s->pools[p].n; i++) {
				const struct backend *b = s->pools[p].backends[i];
				begin_backend(s, c.name, p, i);
				if (c.code_class.len)
					metric_label(&s->m, "code_class", c.code_class);
				metric_u64(&s->m, backend_counter(b, row));
			}
		}
	}
}

/* ---- latency ---- */

/*
 * Histograms are most of the text, so buckets are where a quantile is asked for: of
 * every phase for a pool, of `wait` and `total` for a backend, and for its other
 * phases the time spent.  The borders are powers of two of a microsecond, where
 * struct hist_octaves has its own.
 */
#define FIRST_OCTAVE 2 /* the first that is above all of the first border */
static const char *const borders[] = {
    "0.000064", "0.000128", "0.000256", "0.000512", "0.001024",  "0.002048", "0.004096",
    "0.008192", "0.016384", "0.032768", "0.065536", "0.131072",  "0.262144", "0.524288",
    "1.048576", "2.097152", "4.194304", "8.388608", "16.777216",
};

static char *put_bytes(char *at, struct view v)
{
	memcpy(at, v.ptr, v.len);
	return at + v.len;
}

static char *put_bucket(char *at, struct view labels, const char *le, uint64_t n)
{
	at = digits_u64(stpcpy(stpcpy(put_bytes(at, labels), le), "\"} "), n);
	*at++ = '\n';
	return at;
}

/* family_part{pool="p",backend="b",phase="x" */
static void put_phase_name(struct str *out, const char *family, const char *part,
			   struct view labels, enum phase phase)
{
	str_text(out, family);
	str_text(out, part);
	str_view(out, labels);
	str_text(out, ",phase=\"");
	str_text(out, phase_name(phase));
	str_char(out, '"');
}

/*
 * `labels` are those without phase and le.  Whole microseconds are cut off, so "less
 * than the border" is "at most the border".
 */
static void put_histogram(struct scene *s, const char *family, struct view labels, enum phase phase,
			  const struct hist_octaves *octaves)
{
	struct str *line = &s->labels, *out = s->m.out;
	uint64_t below = 0;
	uint32_t octave = 0;
	str_reset(line);
	put_phase_name(line, family, "_bucket", labels, phase);
	str_text(line, ",le=\"");
	struct view start = str_as_view(line);
	if (!str_reserve(out, (ARRAY_LEN(borders) + 1) * (start.len + 16 + DIGITS_U64)))
		return;
	char *at = out->ptr + out->len;
	for (size_t i = 0; i < ARRAY_LEN(borders); i++) {
		for (; octave < FIRST_OCTAVE + i; octave++)
			below += octaves->count[octave];
		at = put_bucket(at, start, borders[i], below);
	}
	at = put_bucket(at, start, "+Inf", octaves->n);
	out->len = (size_t)(at - out->ptr);
	s->m.has_labels = true;
	put_phase_name(out, family, "_sum", labels, phase);
	metric_seconds(&s->m, octaves->sum_us);
	put_phase_name(out, family, "_count", labels, phase);
	metric_u64(&s->m, octaves->n);
}

static void put_pool_phases(struct scene *s)
{
	static const char *const family = "weir_pool_phase_duration_seconds";
	metric_family(&s->m, family, "histogram",
		      "Phases of exchanges that succeeded, up to the last full second.");
	for (uint32_t p = 0; p < s->n_pools; p++) {
		struct str text = STR_INIT;
		struct metric labels = {.out = &text};
		const struct windows *windows = s->pools[p].state->windows;
		metric_label(&labels, "pool", s->pools[p].conf->name);
		for (int phase = 0; phase < N_PHASES; phase++) {
			struct hist_octaves octaves;
			if (windows && windows_octaves(windows, (enum phase)phase, &octaves))
				put_histogram(s, family, str_as_view(&text), (enum phase)phase,
					      &octaves);
		}
		str_fini(&text);
	}
}

/* A thousand fit no cache: the next is asked for. */
static void prefetch_ahead(const struct pool *pool, uint32_t i)
{
	if (i + 1 < pool->n && pool->backends[i + 1]->windows)
		windows_prefetch_octaves(pool->backends[i + 1]->windows);
}

static void put_backend_phases(struct scene *s)
{
	static const char *const family = "weir_backend_phase_duration_seconds";
	static const enum phase phases[] = {PHASE_wait, PHASE_total};
	struct hist_octaves octaves;
	metric_family(&s->m, family, "histogram",
		      "Phases wait and total of exchanges that succeeded, up to the last full "
		      "second.");
	for (uint32_t p = 0; p < s->n_pools; p++) {
		for (uint32_t i = 0; i < s->pools[p].n; i++) {
			const struct backend *b = s->pools[p].backends[i];
			prefetch_ahead(&s->pools[p], i);
			for (size_t k = 0; b->windows && k < ARRAY_LEN(phases); k++)
				if (windows_octaves(b->windows, phases[k], &octaves))
					put_histogram(s, family, s->backend[p][i], phases[k],
						      &octaves);
		}
	}
}

static void put_backend_time(struct scene *s)
{
	static const char *const family = "weir_backend_phase_seconds_total";
	struct hist_octaves octaves;
	metric_family(&s->m, family, "counter",
		      "time that exchanges which succeeded spent, by phase; without total");
	for (uint32_t p = 0; p < s->n_pools; p++) {
		for (uint32_t i = 0; i < s->pools[p].n; i++) {
			const struct backend *b = s->pools[p].backends[i];
			prefetch_ahead(&s->pools[p], i);
			for (int phase = 0; b->windows && phase < PHASE_total; phase++) {
				if (!windows_octaves(b->windows, (enum phase)phase, &octaves))
					continue;
				begin_backend(s, family, p, i);
				metric_label(&s->m, "phase",
					     view_str(phase_name((enum phase)phase)));
				metric_seconds(&s->m, octaves.sum_us);
			}
		}
	}
}

/* ---- the process ---- */

static void put_process(struct scene *s)
{
	struct metric *m = &s->m;
	struct process_facts facts;
	process_facts_get(&facts);
	single_seconds(m, "process_cpu_seconds_total", "counter", "CPU time spent.", facts.cpu_us);
	single_seconds(m, "process_start_time_seconds", "gauge", "When weir started.",
		       s->status.started_wall_us);
	if (facts.resident_bytes) {
		single(m, "process_resident_memory_bytes", "gauge", "Memory in use.",
		       facts.resident_bytes);
		single(m, "process_virtual_memory_bytes", "gauge", "Address space in use.",
		       facts.virtual_bytes);
	}
	if (facts.open_fds)
		single(m, "process_open_fds", "gauge", "Open file descriptors.", facts.open_fds);
	if (facts.max_fds)
		single(m, "process_max_fds", "gauge", "Limit of open file descriptors.",
		       facts.max_fds);
}

/* Everything that is not about one pool. */
static void put_process_wide(struct scene *s)
{
	put_daemon(s);
	put_totals(s);
	put_logs(s);
	put_keeping(s);
	put_tracing(s);
	put_shared(s);
	put_reasons(s);
	put_listeners(s);
	put_workers(s);
	put_memory(s);
	put_process(s);
}

static void put_routes(struct scene *s, struct call *call)
{
	static const char *const name = "weir_route_requests_total";
	const struct admin_host *host = &call->api->host;
	struct admin_meters meters = {0};
	host->meters(host->ctx, call->arena, &meters);
	metric_family(&s->m, name, "counter", "exchanges that took the route");
	for (size_t i = 0; i < meters.n_routes; i++) {
		metric_begin(&s->m, name);
		metric_label(&s->m, "route", meters.routes[i].name);
		metric_u64(&s->m, meter_exchanges(meters.routes[i].meter));
	}
}

/* With ?pool=NAME only that pool's families; false and a 404 when there is none. */
static bool choose_pools(struct call *call, struct scene *s)
{
	static const char *const names[] = {"pool", NULL};
	const struct admin_host *host = &call->api->host;
	struct view wanted;
	if (!call_query(call, names, &wanted))
		return false;
	s->pools = host->pools(host->ctx, &s->n_pools);
	if (!wanted.ptr)
		return true;
	call->params[PARAM_POOL] = wanted;
	s->pools = call_pool(call);
	s->n_pools = 1;
	s->scoped = true;
	return s->pools != NULL;
}

/* Prometheus asks for OpenMetrics by name when it can read it. */
static bool wants_openmetrics(const struct call *call)
{
	const struct header *accept = message_find_name(call->msg, VIEW("accept"));
	const struct view type = VIEW("application/openmetrics-text");
	return accept && memmem(accept->value.ptr, accept->value.len, type.ptr, type.len);
}

void api_metrics(struct call *call)
{
	const struct admin_host *host = &call->api->host;
	struct scene s = {.m = {.out = &call->answer.body}, .labels = STR_INIT};
	if (!choose_pools(call, &s))
		return;
	s.m.open = wants_openmetrics(call);
	host->status(host->ctx, call->arena, &s.status);
	call->answer.type = s.m.open ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
				     : "text/plain; version=0.0.4; charset=utf-8";
	if (!s.scoped) {
		put_process_wide(&s);
		put_routes(&s, call);
		put_certificate_metrics(&s.m, host);
		put_site_metrics(&s.m, host, call->arena);
		put_limit_metrics(&s.m, host);
		put_mirror_metrics(&s.m, host);
		put_source_metrics(&s.m, host, call->arena);
		put_compress_metrics(&s.m);
	}
	make_labels(&s, call->arena);
	put_pools(&s);
	for (size_t i = 0; i < ARRAY_LEN(gauges); i++)
		put_gauge(&s, &gauges[i]);
	put_states(&s);
	put_checks(&s);
	put_load_probes(&s);
	put_ejections(&s);
	put_backend_counters(&s);
	put_pool_phases(&s);
	put_backend_phases(&s);
	put_backend_time(&s);
	if (s.m.open)
		str_text(s.m.out, "# EOF\n");
	str_fini(&s.labels);
}
