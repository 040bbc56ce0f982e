/* SPDX-License-Identifier: MIT */
/*
 * GET /v1/stream: what the dashboard shows, once a second, as server-sent
 * events.  Only what changes and what a table needs: with 1000 backends this is
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

static void put_latency(struct json *j, const struct hist_summary *s)
{
	json_member_u64(j, "n", s->n);
	if (!s->n)
		return;
	json_member_u64(j, "p50_us", s->p50_us);
	json_member_u64(j, "p90_us", s->p90_us);
	json_member_u64(j, "p99_us", s->p99_us);
}

static void put_row(struct json *j, const struct pool *pool, uint32_t i, uint64_t now_us)
{
	const struct backend *b = pool->backends[i];
	struct hist_summary latency = {0};
	json_object_begin(j);
	json_member_view(j, "name", b->name);
	json_member_view(j, "address", b->address_text);
	json_member_text(j, "state", backend_state_name(health_state(b)));
	json_member_text(j, "reason", b->reason);
	json_member_text(j, "verdict", verdict_name(scaling_part_verdict(b->scaling)));
	json_member_u64(j, "since_s", now_us > b->since_us ? (now_us - b->since_us) / 1000000 : 0);
	json_member_u64(j, "weight", pool->weights[i]);
	json_member_u64(j, "in_flight", backend_in_flight(b));
	json_member_u64(j, "streams", backend_streams(b));
	json_member_u64(j, "upconns", atomic_load_explicit(&b->n_upconns, memory_order_relaxed));
	json_member_double(j, "rate", rate_per_s(&b->rate));
	json_member_u64(j, "requests", backend_counter_named(b, "requests"));
	json_member_u64(j, "errors", backend_counter_named(b, "errors"));
	if (b->windows)
		windows_summary(b->windows, PHASE_total, WINDOW_10S, &latency);
	put_latency(j, &latency);
	json_object_end(j);
}

static void put_pool(struct json *j, const struct pool *pool, uint64_t now_us)
{
	json_object_begin(j);
	json_member_view(j, "name", pool->conf->name);
	json_member_text(j, "strategy", pool->strategy->keyword);
	const struct scaling *s = pool->state->scaling;
	struct hist_summary latency = {0};
	enum verdict verdict = scaling_verdict(s);
	json_member_text(j, "verdict", verdict_name(verdict));
	json_member_bool(j, "problem", verdict_is_problem(verdict));
	json_member_text(j, "sentence", s ? s->sentence : "");
	json_member_u64(j, "queued",
			atomic_load_explicit(&pool->state->n_queued, memory_order_relaxed));
	if (pool->state->windows)
		windows_summary(pool->state->windows, PHASE_total, WINDOW_10S, &latency);
	put_latency(j, &latency);
	json_key(j, "backends");
	json_array_begin(j);
	for (uint32_t i = 0; i < pool->n; i++)
		put_row(j, pool, i, now_us);
	json_array_end(j);
	json_object_end(j);
}

void stream_put(struct api *api, struct str *out)
{
	const struct admin_host *host = &api->host;
	struct arena *arena = arena_new();
	struct json j;
	uint32_t n;
	uint64_t now_us = clock_wall_us();
	const struct pool *pools = host->pools(host->ctx, &n);
	str_text(out, "event: tick\ndata: ");
	json_init(&j, out, false);
	json_object_begin(&j);
	json_member_time(&j, "at", now_us);
	json_member_u64(&j, "last_event", event_last_id());
	put_status(&j, host, arena, false); /* the same text for all */
	json_key(&j, "pools");
	json_array_begin(&j);
	for (uint32_t i = 0; i < n; i++)
		put_pool(&j, &pools[i], now_us);
	json_array_end(&j);
	json_object_end(&j);
	str_text(out, "\n\n");
	arena_free(arena);
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
