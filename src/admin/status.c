/* SPDX-License-Identifier: MIT */
/* GET /v1/status: the daemon at a glance, problems as sentences. */
#include "api.h"
#include "certificates.h"
#include "sources.h"

#include <string.h>
#include <unistd.h>

#include "weir/base/clock.h"
#include "weir/health/health.h"

/* A worker that was busy for longer in one turn delays everybody it serves. */
#define LAG_PROBLEM_US 100000
/* So many failures of a minute are no accident. */
#define FAILING_MIN 5

static void put_counters(struct json *j, const struct admin_counter *rows, size_t n, bool all)
{
	for (size_t i = 0; i < n; i++)
		if (all || rows[i].n)
			json_member_u64(j, rows[i].name, rows[i].n);
}

static void put_workers(struct json *j, const struct admin_status *s)
{
	json_key(j, "workers");
	json_array_begin(j);
	for (size_t i = 0; i < s->n_workers; i++) {
		const struct admin_worker *w = &s->workers[i];
		json_object_begin(j);
		json_member_u64(j, "id", w->id);
		json_member_u64(j, "connections", w->connections);
		json_member_u64(j, "exchanges", w->exchanges);
		json_member_u64(j, "pipes", w->pipes);
		json_member_u64(j, "loop_lag_us", w->loop_lag_us);
		json_object_end(j);
	}
	json_array_end(j);
}

static void put_memory(struct json *j, const struct admin_status *s)
{
	json_key(j, "memory_bytes");
	json_object_begin(j);
	put_counters(j, s->memory, s->n_memory, true);
	json_object_end(j);
}

static void put_listeners(struct json *j, const struct admin_status *s)
{
	json_key(j, "listeners");
	json_array_begin(j);
	for (size_t i = 0; i < s->n_listeners; i++) {
		const struct admin_listener *l = &s->listeners[i];
		json_object_begin(j);
		json_member_view(j, "name", l->name);
		json_member_view(j, "bind", l->bind);
		json_member_u64(j, "connections", l->connections);
		json_member_u64(j, "accepted", l->accepted);
		json_member_u64(j, "refused", l->refused);
		json_object_end(j);
	}
	json_array_end(j);
}

/* Of the process before this one, while it drains after a hand-over. */
static void put_before(struct json *j, const struct admin_status *s)
{
	json_key(j, "before");
	if (!s->before.pid) {
		json_null(j);
		return;
	}
	json_object_begin(j);
	json_member_u64(j, "pid", s->before.pid);
	json_member_u64(j, "connections", s->before.connections);
	json_member_u64(j, "in_flight", s->before.exchanges);
	json_object_end(j);
}

static void put_totals(struct json *j, const struct admin_status *s)
{
	uint64_t connections = s->before.connections, in_flight = s->before.exchanges;
	for (size_t i = 0; i < s->n_workers; i++) {
		connections += s->workers[i].connections;
		in_flight += s->workers[i].exchanges;
	}
	json_key(j, "totals");
	json_object_begin(j);
	json_member_u64(j, "connections", connections);
	json_member_u64(j, "in_flight", in_flight);
	json_member_u64(j, "log_dropped", s->logs[ADMIN_LOG_ACCESS].dropped);
	put_counters(j, s->totals, s->n_totals, true);
	json_object_end(j);
	json_key(j, "outcomes");
	json_object_begin(j);
	put_counters(j, s->outcomes, s->n_outcomes, false);
	json_object_end(j);
	json_key(j, "rejects");
	json_object_begin(j);
	put_counters(j, s->rejects, s->n_rejects, false);
	json_object_end(j);
}

static void put_tracing(struct json *j, const struct admin_status *s)
{
	json_key(j, "tracing");
	json_object_begin(j);
	json_member_bool(j, "on", s->tracing.on);
	json_member_optional(j, "endpoint", s->tracing.endpoint);
	json_member_optional(j, "error", s->tracing.why);
	json_member_u64(j, "waiting_bytes", s->tracing.waiting_bytes);
	put_counters(j, s->tracing.counters, s->tracing.n_counters, true);
	json_object_end(j);
}

static void put_logs(struct json *j, const struct admin_status *s)
{
	json_key(j, "logs");
	json_object_begin(j);
	for (size_t i = 0; i < N_ADMIN_LOGS; i++) {
		const struct admin_log *log = &s->logs[i];
		json_key(j, log->name);
		json_object_begin(j);
		json_member_view(j, "path", log->path);
		json_member_u64(j, "dropped", log->dropped);
		json_member_u64(j, "waiting_bytes", log->waiting_bytes);
		json_member_optional(j, "error", log->trouble);
		json_member_optional(j, "reopen_error", log->reopen_error);
		json_member_u64(j, "reopen_failures", log->reopen_failures);
		json_object_end(j);
	}
	json_object_end(j);
}

static void put_keeping(struct json *j, const struct admin_keeping *k)
{
	json_key(j, "state");
	json_object_begin(j);
	json_member_bool(j, "on", k->on);
	json_member_optional(j, "directory", k->directory);
	json_member_u64(j, "rows", k->rows);
	json_member_u64(j, "rows_lost", k->lost);
	json_member_u64(j, "bytes", k->bytes);
	json_member_optional(j, "error", k->trouble);
	json_member_optional(j, "harm", k->harm);
	json_object_end(j);
}

/* ---- problems ---- */

static uint64_t total_named(const struct admin_status *s, const char *name)
{
	for (size_t i = 0; i < s->n_totals; i++)
		if (strcmp(s->totals[i].name, name) == 0)
			return s->totals[i].n;
	return 0;
}

/* Half of the last minute, and more than chance. */
static bool fails(const struct history *history, uint64_t *requests, uint64_t *errors)
{
	history_minute(history, requests, errors);
	return *errors >= FAILING_MIN && *errors * 2 >= *requests;
}

/* A connection that fails has got no request to where it should go. */
static const char *failures(uint64_t requests, uint64_t errors, struct str *out)
{
	if (errors <= requests)
		str_printf(out, "%llu of %llu requests of the last minute",
			   (unsigned long long)errors, (unsigned long long)requests);
	else
		str_printf(out, "%llu attempts of the last minute; only %llu requests got there",
			   (unsigned long long)errors, (unsigned long long)requests);
	return out->ptr;
}

/* Whoever is not ejected, because he is the last or fails too seldom, fails without a word. */
static void put_failing(struct json *j, const struct pool *pool)
{
	char room[120];
	struct str text = str_fixed(room, sizeof(room));
	uint64_t requests, errors;
	if (scaling_verdict(pool->state->scaling) == VERDICT_failing)
		return; /* which says more of it */
	if (fails(pool->state->history, &requests, &errors)) {
		json_textf(
		    j, "pool " VIEW_FMT " fails: %s; weirctl slow " VIEW_FMT " shows some of them",
		    VIEW_ARG(pool->conf->name), failures(requests, errors, &text),
		    VIEW_ARG(pool->conf->name));
		return;
	}
	for (uint32_t i = 0; i < pool->n; i++) {
		const struct backend *b = pool->backends[i];
		text.len = 0;
		if (backend_state(b) == BACKEND_up && fails(b->history, &requests, &errors))
			json_textf(j, "backend " VIEW_FMT "/" VIEW_FMT " fails: %s",
				   VIEW_ARG(b->pool_name), VIEW_ARG(b->name),
				   failures(requests, errors, &text));
	}
}

/* What an operator asked for (draining, maintenance) is no problem. */
static void put_pool_problems(struct json *j, const struct pool *pool)
{
	put_failing(j, pool);
	if (pool_n_usable(pool) == 0)
		json_textf(j, "pool " VIEW_FMT " has no backend that takes requests",
			   VIEW_ARG(pool->conf->name));
	const struct scaling *s = pool->state->scaling;
	const char *failing = scaling_failing_beside(s), *slow = scaling_slow_beside(s);
	if (verdict_is_problem(scaling_verdict(s)))
		json_textf(j, "pool " VIEW_FMT ": %s", VIEW_ARG(pool->conf->name),
			   scaling_sentence(s));
	if (failing)
		json_textf(j, "pool " VIEW_FMT ": %s", VIEW_ARG(pool->conf->name), failing);
	if (slow)
		json_textf(j, "pool " VIEW_FMT ": %s%s", VIEW_ARG(pool->conf->name), slow,
			   scaling_sentence(s));
	for (uint32_t i = 0; i < pool->n; i++) {
		const struct backend *b = pool->backends[i];
		enum backend_state state = health_state(b);
		if (state != BACKEND_down && state != BACKEND_ejected)
			continue;
		json_textf(j, "backend " VIEW_FMT "/" VIEW_FMT " is %s%s%s", VIEW_ARG(b->pool_name),
			   VIEW_ARG(b->name), backend_state_name(state), b->reason[0] ? ": " : "",
			   b->reason);
	}
}

/* Diagnostics quote the file, which may hold secrets: for everybody only where. */
static struct view reload_error(const struct admin_status *s, bool open)
{
	struct view text = s->last_reload.error;
	if (open || !text.len)
		return text;
	const char *at = memmem(text.ptr, text.len, ": error: ", 9);
	return at ? view_head(text, (size_t)(at - text.ptr) + 7) : VIEW("see the log");
}

static void put_daemon_problems(struct json *j, const struct admin_status *s, bool open)
{
	uint64_t n;
	if (!s->last_reload.ok) {
		struct view text = reload_error(s, open);
		ptrdiff_t end = view_chr(text, '\n');
		struct view line = view_head(text, end < 0 ? text.len : (size_t)end);
		json_textf(j, "the last reload failed: " VIEW_FMT, VIEW_ARG(line));
	}
	if (s->handover_error.len)
		json_textf(j, "the last hand-over failed: " VIEW_FMT, VIEW_ARG(s->handover_error));
	if (s->tls_error.len)
		json_textf(
		    j,
		    "certificates have changed and cannot be used, those of before stay: " VIEW_FMT,
		    VIEW_ARG(s->tls_error));
	if (s->users_error.len)
		json_textf(j,
			   "users have changed and cannot be used, those of before stay: " VIEW_FMT,
			   VIEW_ARG(s->users_error));
	if ((n = total_named(s, "fd_exhausted")))
		json_textf(j,
			   "accepting stopped %llu times for want of file descriptors: raise the "
			   "limit of open files",
			   (unsigned long long)n);
	if ((n = hist_lost()))
		json_textf(j,
			   "%llu latencies were not counted for want of memory: percentiles lack "
			   "them",
			   (unsigned long long)n);
	if (s->members_error.len)
		json_textf(j, "sources name other members, but they are not in force: " VIEW_FMT,
			   VIEW_ARG(s->members_error));
	for (size_t i = 0; i < s->n_listeners; i++) {
		const struct admin_listener *l = &s->listeners[i];
		if (l->limit && l->connections >= l->limit)
			json_textf(j,
				   "listener " VIEW_FMT " has reached limits.connections (%u): new "
				   "connections are refused",
				   VIEW_ARG(l->name), l->limit);
	}
	for (size_t i = 0; i < s->n_workers; i++)
		if (s->workers[i].loop_lag_us >= LAG_PROBLEM_US)
			json_textf(j, "worker %u was busy for %llu ms in one go", s->workers[i].id,
				   (unsigned long long)s->workers[i].loop_lag_us / 1000);
}

/* What was dropped long ago is a number, not a problem. */
static void put_log_problems(struct json *j, const struct admin_log *log)
{
	struct view trouble = log->trouble.len ? log->trouble : VIEW("it is too slow");
	if (log->dropped_lately)
		json_textf(j, "%llu lines of the %s log were dropped: " VIEW_FMT,
			   (unsigned long long)log->dropped, log->name, VIEW_ARG(trouble));
	else if (log->trouble.len)
		json_textf(j, "the %s log cannot be written: " VIEW_FMT, log->name,
			   VIEW_ARG(log->trouble));
	if (log->reopen_error.len)
		json_textf(j, "the %s log cannot be reopened: " VIEW_FMT ": " VIEW_FMT, log->name,
			   VIEW_ARG(log->path), VIEW_ARG(log->reopen_error));
}

static void put_tracing_problems(struct json *j, const struct admin_status *s)
{
	uint64_t n = total_named(s, "trace_dropped");
	if (s->tracing.on && s->tracing.why.len)
		json_textf(j, "spans cannot be sent to " VIEW_FMT ": " VIEW_FMT,
			   VIEW_ARG(s->tracing.endpoint), VIEW_ARG(s->tracing.why));
	if (s->tracing.on && n)
		json_textf(j, "%llu spans were dropped because the trace collector was behind",
			   (unsigned long long)n);
}

static void put_keeping_problems(struct json *j, const struct admin_keeping *k)
{
	if (k->trouble.len)
		json_textf(j,
			   "the history in " VIEW_FMT " cannot be written: " VIEW_FMT
			   "; %llu rows are lost",
			   VIEW_ARG(k->directory), VIEW_ARG(k->trouble),
			   (unsigned long long)k->lost);
	if (k->harm.len)
		json_textf(j, "the history in " VIEW_FMT " " VIEW_FMT, VIEW_ARG(k->directory),
			   VIEW_ARG(k->harm));
	if (k->jump_s)
		json_textf(j, "the clock has jumped %s by %llu s: %s",
			   k->jump_s > 0 ? "forward" : "back",
			   (unsigned long long)(k->jump_s > 0 ? k->jump_s : -k->jump_s),
			   k->jump_s > 0
			       ? "the history has a gap"
			       : "what comes is added to the minutes that the history has already");
	if (k->files_fail)
		json_textf(j,
			   "what was learned and changed at run time cannot be written to " VIEW_FMT
			   ": the next start will not know it",
			   VIEW_ARG(k->directory));
}

static void put_shared(struct json *j, const struct admin_status *s)
{
	json_key(j, "shared");
	json_object_begin(j);
	json_member_bool(j, "on", s->shared.on);
	if (s->shared.on) {
		json_member_view(j, "node", s->shared.node);
		json_member_view(j, "redis", s->shared.address);
		json_member_bool(j, "connected", s->shared.connected);
		json_member_optional(j, "error", s->shared.why);
		json_member_u64(j, "published", s->shared.published);
		json_member_u64(j, "failed", s->shared.failed);
		json_member_u64(j, "others", s->shared.n_nodes);
		json_member_u64(j, "rate_limit_keys", s->shared.n_limits);
		json_member_bool(j, "rate_limits_alone", s->shared.limits_alone);
		json_member_u64(j, "pins_told", s->shared.pins_told);
		json_member_u64(j, "pins_heard", s->shared.pins_heard);
		json_member_u64(j, "pins_lost", s->shared.pins_lost);
		json_member_u64(j, "pins_unread", s->shared.pins_unread);
	}
	json_object_end(j);
}

static void put_shared_problems(struct json *j, const struct admin_status *s)
{
	if (s->shared.on && s->shared.why.len)
		json_textf(j,
			   "shared.redis " VIEW_FMT ": " VIEW_FMT
			   "; meanwhile this node goes by what it sees itself",
			   VIEW_ARG(s->shared.address), VIEW_ARG(s->shared.why));
	if (s->shared.on && s->shared.limits_alone)
		json_textf(j,
			   "shared.redis " VIEW_FMT " does not answer in time: of rate limits that "
			   "are shared each node has 1/%u",
			   VIEW_ARG(s->shared.address), s->shared.n_parts);
}

static void put_entry_problems(struct json *j, const struct api *api)
{
	if (api->auth_why[0] && api->host.conf(api->host.ctx)->status.auth.forward.on)
		json_textf(j,
			   "the service of status.auth.forward did not answer when it was asked "
			   "last: %s; whoever has not the token is refused",
			   api->auth_why);
}

static void put_problems(struct json *j, const struct admin_status *s, const struct api *api,
			 struct arena *arena, bool open)
{
	uint32_t n;
	const struct admin_host *host = &api->host;
	const struct pool *pools = host->pools(host->ctx, &n);
	json_key(j, "problems");
	json_array_begin(j);
	put_daemon_problems(j, s, open);
	for (size_t i = 0; i < N_ADMIN_LOGS; i++)
		put_log_problems(j, &s->logs[i]);
	put_tracing_problems(j, s);
	put_keeping_problems(j, &s->keeping);
	put_shared_problems(j, s);
	put_entry_problems(j, api);
	put_certificate_problems(j, host, arena);
	put_source_problems(j, host, arena);
	for (uint32_t i = 0; i < n; i++)
		put_pool_problems(j, &pools[i]);
	json_array_end(j);
}

/* ---- all of it ---- */

void put_status(struct json *j, const struct api *api, struct arena *arena, bool open)
{
	const struct admin_host *host = &api->host;
	struct admin_status s = {0};
	host->status(host->ctx, arena, &s);
	json_member_text(j, "version", WEIR_VERSION);
	json_member_u64(j, "pid", (uint64_t)getpid());
	json_member_u64(j, "uptime_s", (clock_us() - s.started_us) / 1000000);
	json_member_u64(j, "generation", s.generation);
	json_key(j, "last_reload");
	json_object_begin(j);
	json_member_bool(j, "ok", s.last_reload.ok);
	if (s.last_reload.at_wall_us)
		json_member_time(j, "at", s.last_reload.at_wall_us);
	else
		json_member_optional(j, "at", VIEW_NONE);
	json_member_optional(j, "error", reload_error(&s, open));
	json_object_end(j);
	json_member_bool(j, "draining", s.draining);
	json_member_optional(j, "sandbox", s.sandbox);
	put_workers(j, &s);
	put_memory(j, &s);
	put_listeners(j, &s);
	put_before(j, &s);
	put_totals(j, &s);
	put_tracing(j, &s);
	put_shared(j, &s);
	put_logs(j, &s);
	put_keeping(j, &s.keeping);
	put_problems(j, &s, api, arena, open);
}

void api_status(struct call *call)
{
	struct json j;
	json_init(&j, &call->answer.body, false);
	json_object_begin(&j);
	put_status(&j, call->api, call->arena, call_may_change(call));
	json_object_end(&j);
}
