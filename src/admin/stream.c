/* SPDX-License-Identifier: MIT */
/*
 * GET /v1/stream and /v1/snapshot: what the dashboard shows, once a second as server-sent
 * events, or once.  Only what changes and what a table needs: with 1000 backends this is
 * a tenth of GET /v1/pools.  The text is made once for all listeners; one that
 * has not read the last one is passed over.
 *
 *   event: tick
 *   data: {"at", "last_event", <GET /v1/status>, "pools": [{"name", "strategy",
 *          "verdict", "problem", "sentence", "queued", "n", "p50_us", "p90_us",
 *          "p99_us", "backends": [{"name", "address", "state", "reason", "verdict",
 *          "since_s", "weight", "in_flight", "streams", "upconns", "rate", "requests", "errors",
 *          "n", "p50_us", "p90_us", "p99_us"}]}]}      latency: total, last 10 s
 */
#include "api.h"
#include "counters.h"

#include "weir/base/clock.h"
#include "weir/health/health.h"

/* What one of them is made with. */
struct moment {
	uint64_t now_us;
	bool buckets;
};

static void put_latency(struct json *j, const struct windows *windows, const struct moment *m)
{
	struct hist_summary s = {0};
	struct hist_total total;
	if (windows && m->buckets) {
		windows_read(windows, PHASE_total, WINDOW_10S, &total);
		hist_total_summary(&total, &s);
	} else if (windows) {
		windows_summary(windows, PHASE_total, WINDOW_10S, &s);
	}
	json_member_u64(j, "n", s.n);
	if (!s.n)
		return;
	json_member_u64(j, "p50_us", s.p50_us);
	json_member_u64(j, "p90_us", s.p90_us);
	json_member_u64(j, "p99_us", s.p99_us);
	if (!m->buckets)
		return;
	json_member_u64(j, "max_us", s.max_us);
	json_key(j, "buckets");
	put_buckets(j, &total);
}

static void put_row(struct json *j, const struct pool *pool, uint32_t i, const struct moment *m)
{
	const struct backend *b = pool->backends[i];
	json_object_begin(j);
	json_member_view(j, "name", b->name);
	json_member_view(j, "address", b->address_text);
	json_member_text(j, "state", backend_state_name(health_state(b)));
	json_member_text(j, "reason", b->reason);
	json_member_text(j, "verdict", verdict_name(scaling_part_verdict(b->scaling)));
	json_member_u64(j, "since_s",
			m->now_us > b->since_us ? (m->now_us - b->since_us) / 1000000 : 0);
	json_member_u64(j, "weight", pool->weights[i]);
	json_member_u64(j, "in_flight", backend_in_flight(b));
	json_member_u64(j, "streams", backend_streams(b));
	json_member_u64(j, "upconns", atomic_load_explicit(&b->n_upconns, memory_order_relaxed));
	json_member_double(j, "rate", rate_per_s(&b->rate));
	json_member_u64(j, "requests", backend_counter_named(b, "requests"));
	json_member_u64(j, "errors", backend_counter_named(b, "errors"));
	put_latency(j, b->windows, m);
	json_object_end(j);
}

static void put_pool(struct json *j, const struct pool *pool, const struct moment *m)
{
	json_object_begin(j);
	json_member_view(j, "name", pool->conf->name);
	json_member_text(j, "strategy", pool->strategy->keyword);
	const struct scaling *s = pool->state->scaling;
	enum verdict verdict = scaling_verdict(s);
	json_member_text(j, "verdict", verdict_name(verdict));
	json_member_bool(j, "problem", verdict_is_problem(verdict));
	json_member_text(j, "sentence", scaling_sentence(s));
	json_member_u64(j, "queued",
			atomic_load_explicit(&pool->state->n_queued, memory_order_relaxed));
	put_latency(j, pool->state->windows, m);
	json_key(j, "backends");
	json_array_begin(j);
	for (uint32_t i = 0; i < pool->n; i++)
		put_row(j, pool, i, m);
	json_array_end(j);
	json_object_end(j);
}

static void put_snapshot(struct api *api, struct str *out, struct arena *arena, bool buckets)
{
	const struct admin_host *host = &api->host;
	struct moment m = {clock_wall_us(), buckets};
	struct json j;
	uint32_t n;
	const struct pool *pools = host->pools(host->ctx, &n);
	json_init(&j, out, false);
	json_object_begin(&j);
	json_member_time(&j, "at", m.now_us);
	json_member_u64(&j, "last_event", event_last_id());
	put_status(&j, api, arena, false); /* the same text for all */
	json_key(&j, "pools");
	json_array_begin(&j);
	for (uint32_t i = 0; i < n; i++)
		put_pool(&j, &pools[i], &m);
	json_array_end(&j);
	json_object_end(&j);
}

void stream_put(struct api *api, struct str *out)
{
	struct arena *arena = arena_new();
	str_text(out, "event: tick\ndata: ");
	put_snapshot(api, out, arena, false);
	str_text(out, "\n\n");
	arena_free(arena);
}

void api_snapshot(struct call *call)
{
	static const char *const names[] = {"buckets", NULL};
	struct view q[1];
	if (!call_query(call, names, q))
		return;
	if (q[0].ptr && !view_eq(q[0], VIEW("10s")))
		call_error(call, 400, "buckets are those of '10s', not of '" VIEW_FMT "'",
			   VIEW_ARG(q[0]));
	else
		put_snapshot(call->api, &call->answer.body, call->arena, q[0].ptr != NULL);
}

void api_stream(struct call *call)
{
	if (call->api->n_streams >= STREAMS_MAX) {
		call_error(call, 503, "%d clients listen already; GET /v1/pools answers everybody",
			   STREAMS_MAX);
		return;
	}
	call->answer.type = "text/event-stream";
	call->answer.goes_on = true;
	str_text(&call->answer.body, "retry: 2000\n\n");
	stream_put(call->api, &call->answer.body);
}
