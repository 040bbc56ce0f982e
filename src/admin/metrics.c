/* SPDX-License-Identifier: MIT */
/*
 * GET /metrics.  Counters come out of the tables' rows.  Quantities are in base units, names as
 * Prometheus wants them.
 */
#include "metrics.h"
#include "api.h"
#include "certificates.h"
#include "counters.h"
#include "limits.h"
#include "mirror.h"
#include "process.h"
#include "sources.h"

#include <stdio.h>
#include <string.h>

#include "weir/stats/meter.h"

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
	struct metric_counter c = {0};
	for (size_t i = 0; i < s->status.n_totals; i++) {
		const struct admin_counter *row = &s->status.totals[i];
		metric_counter_next(&s->m, &c, "weir", row->name, row->sentence);
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
	single(
	    &s->m, "weir_state_problems", "gauge",
	    "Problems with the history and what is kept beside it, as weirctl status tells them.",
	    (k->trouble.len > 0) + (k->harm.len > 0) + k->files_fail + (k->jump_s != 0));
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
	single(&s->m, "weir_shared_pins_told_total", "counter",
	       "learned pins that were told to the other nodes", s->status.shared.pins_told);
	single(&s->m, "weir_shared_pins_heard_total", "counter",
	       "learned pins that were heard, its own included", s->status.shared.pins_heard);
	single(&s->m, "weir_shared_pins_lost_total", "counter",
	       "learned pins that found no room to wait in and were not told",
	       s->status.shared.pins_lost);
	single(&s->m, "weir_shared_pins_unread_total", "counter",
	       "entries of the server that are no learned pins, or too long",
	       s->status.shared.pins_unread);
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
	single(m, "weir_latencies_lost_total", "counter",
	       "Latencies that were not counted for want of memory.", hist_lost());
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
	put_backend_metrics(&s);
	put_time_metrics(&s);
	if (s.m.open)
		str_text(s.m.out, "# EOF\n");
	str_fini(&s.labels);
}
