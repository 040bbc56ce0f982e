/* SPDX-License-Identifier: MIT */
/* GET /v1/pools and /v1/pools/P: counters, states and latency of pools and of every backend. */
#include "api.h"
#include "counters.h"

#include <string.h>

#include "weir/base/clock.h"
#include "weir/health/health.h"

static uint32_t load_u32(const _Atomic uint32_t *n)
{
	return atomic_load_explicit(n, memory_order_relaxed);
}

static uint32_t n_idle(const struct backend *b)
{
	uint32_t n = 0;
	for (unsigned i = 0; i < b->n_workers; i++)
		n += load_u32(&b->local[i]->n_idle_shown);
	return n;
}

static void put_counters(struct json *j, const struct backend *b)
{
	for (size_t i = 0; i < n_backend_counter_rows; i++)
		json_member_u64(j, backend_counter_rows[i].name,
				backend_counter(b, &backend_counter_rows[i]));
}

/* The shortest idle time after which it was seen closing kept connections. */
static void put_idle_close(struct json *j, const struct backend *b)
{
	uint64_t us = atomic_load_explicit(&b->learned_idle_us, memory_order_relaxed);
	json_key(j, "closes_idle_after_us");
	if (us == UINT64_MAX)
		json_null(j);
	else
		json_u64(j, us);
}

/* How the limit was found. */
static void put_adaptive(struct json *j, const struct backend *b)
{
	const struct limiter *limiter = atomic_load(&b->limiter);
	if (!limiter)
		return;
	json_key(j, "adaptive");
	json_object_begin(j);
	json_member_u64(j, "latency_us", limiter_limit(limiter)->latency_us);
	json_member_u64(j, "baseline_us", limiter_limit(limiter)->baseline_us);
	json_member_bool(j, "refreshing", limiter_limit(limiter)->refreshing > 0);
	json_object_end(j);
}

/* Whom a draining backend still waits for. */
static void put_sessions(struct json *j, const struct pool *pool, uint32_t i)
{
	struct pool_sessions s = pool_sessions(pool, i);
	json_key(j, "sessions");
	json_object_begin(j);
	if (pool->learned)
		json_member_u64(j, "n", s.n);
	json_member_u64(j, "quiet_s", s.quiet_s);
	json_member_bool(j, "over", s.over);
	json_object_end(j);
}

/* The last ones, newest first. */
static void put_checks(struct json *j, const struct health_facts *facts)
{
	json_key(j, "checks");
	json_array_begin(j);
	for (uint32_t i = 0; facts && i < facts->n_checks; i++) {
		const struct health_check *c = &facts->checks[i];
		json_object_begin(j);
		json_member_time(j, "at", c->at_wall_us);
		json_member_bool(j, "ok", c->ok);
		json_key(j, "status");
		if (c->status)
			json_u64(j, c->status);
		else
			json_null(j);
		json_member_u64(j, "duration_us", c->duration_us);
		json_member_text(j, "reason", c->reason);
		json_object_end(j);
	}
	json_array_end(j);
}

static void put_load(struct json *j, const struct health_facts *facts)
{
	if (!facts || !facts->asked_load)
		return;
	json_key(j, "load_probes");
	json_object_begin(j);
	json_member_u64(j, "answered", facts->n_loads);
	json_member_u64(j, "lost", facts->n_loads_lost);
	json_object_end(j);
}

static void put_backend_with(struct json *j, const struct pool *pool, uint32_t i, bool buckets)
{
	const struct backend *b = pool->backends[i];
	uint64_t now = clock_wall_us();
	json_object_begin(j);
	json_member_view(j, "name", b->name);
	json_member_view(j, "address", b->address_text);
	json_member_text(j, "state", backend_state_name(health_state(b)));
	json_member_text(j, "reason", b->reason);
	/* of the last handshake, while it failed */
	json_member_optional(j, "tls_error",
			     view_str(atomic_load_explicit(&b->tls_error, memory_order_relaxed)));
	json_member_u64(j, "since_s", now > b->since_us ? (now - b->since_us) / 1000000 : 0);
	json_member_u64(j, "weight", pool->weights[i]);
	json_member_u64(j, "priority", pool->priorities[i]);
	json_member_u64(j, "limit", pool_limit(pool, i));
	if (pool->adaptive)
		put_adaptive(j, b);
	if (pool->conf->sticky.on && health_state(b) == BACKEND_draining)
		put_sessions(j, pool, i);
	json_member_double(j, "share",
			   (double)atomic_load_explicit(&b->health_share, memory_order_relaxed) /
			       SHARE_FULL);
	json_member_u64(j, "in_flight", backend_in_flight(b));
	json_member_bool(j, "idle", backend_is_idle(b));
	json_member_u64(j, "streams", backend_streams(b));
	if (b->others_in_flight > 0 || b->others_rate > 0) {
		json_member_double(j, "others_in_flight", b->others_in_flight);
		json_member_double(j, "others_rate", b->others_rate);
	}
	/* waiters belong to the pool: they take any backend that has room, this one too */
	json_member_u64(j, "queued",
			backend_is_usable(pool, i) ? load_u32(&pool->state->n_queued) : 0);
	json_member_u64(j, "upconns", load_u32(&b->n_upconns));
	json_member_u64(j, "idle_upconns", n_idle(b));
	put_idle_close(j, b);
	put_counters(j, b);
	json_member_double(j, "rate", rate_per_s(&b->rate));
	json_member_text(j, "verdict", verdict_name(scaling_part_verdict(b->scaling)));
	put_checks(j, health_facts(b));
	put_load(j, health_facts(b));
	json_key(j, "latency");
	put_windows(j, b->windows, false);
	json_key(j, "failed");
	put_windows(j, b->failed, true);
	if (buckets)
		put_window_buckets(j, b->windows);
	json_object_end(j);
}

void put_backend(struct json *j, const struct pool *pool, uint32_t i)
{
	put_backend_with(j, pool, i, false);
}

/* One object for each tier; `slow` and the like count backends from 0. */
static void put_strategy_state(struct json *j, const struct pool *pool)
{
	json_key(j, "strategy_state");
	json_array_begin(j);
	for (uint32_t t = 0; t < pool->n_tiers && pool->strategy->dump; t++) {
		json_object_begin(j);
		json_member_u64(j, "priority", pool->tiers[t].priority);
		pool->strategy->dump(pool->tiers[t].table, &pool->loads, j);
		json_object_end(j);
	}
	json_array_end(j);
}

/* What of a pool is wanted. */
struct pool_parts {
	bool phases;  /* of its latency, not only the total */
	bool buckets; /* those of it and of its backends */
};

static void put_members(struct json *j, const struct pool *pool, bool buckets)
{
	json_key(j, "backends");
	json_array_begin(j);
	for (uint32_t i = 0; i < pool->n; i++) {
		if (i + 1 < pool->n && pool->backends[i + 1]->windows)
			windows_prefetch(pool->backends[i + 1]->windows);
		put_backend_with(j, pool, i, buckets);
	}
	json_array_end(j);
}

static void put_pool(struct json *j, const struct pool *pool, struct pool_parts parts)
{
	json_object_begin(j);
	json_member_view(j, "name", pool->conf->name);
	json_member_text(j, "strategy", pool->strategy->keyword);
	const struct scaling *s = pool->state->scaling;
	json_member_text(j, "verdict", verdict_name(scaling_verdict(s)));
	json_member_text(j, "verdict_sentence", scaling_sentence(s));
	if (pool->conf->subset) {
		json_member_u64(j, "subset", pool->conf->subset);
		json_member_u64(j, "members", pool->conf->n_backends);
	}
	json_member_u64(j, "queued", load_u32(&pool->state->n_queued));
	/* median time to an answer, by which deadlines are judged; 0: not known */
	json_member_u64(j, "typical_us",
			atomic_load_explicit(&pool->state->typical_us, memory_order_relaxed));
	for (size_t i = 0; i < n_pool_counter_rows; i++) {
		const char *name = pool_counter_rows[i].name;
		/* "queued" are those that wait now */
		json_member_u64(j, strcmp(name, "queued") == 0 ? "queued_total" : name,
				pool_counter(pool, &pool_counter_rows[i]));
	}
	put_strategy_state(j, pool);
	json_key(j, "latency");
	/* of all backends together: counts are added, quantiles never averaged */
	put_windows(j, pool->state->windows, !parts.phases);
	if (parts.buckets)
		put_window_buckets(j, pool->state->windows);
	put_members(j, pool, parts.buckets);
	json_object_end(j);
}

/* ?buckets=total; false and a 400 for anything else. */
static bool parse_parts(struct call *call, struct pool_parts *parts)
{
	static const char *const names[] = {"buckets", NULL};
	struct view q[1];
	if (!call_query(call, names, q))
		return false;
	parts->buckets = q[0].ptr != NULL;
	if (!parts->buckets || view_eq(q[0], VIEW("total")))
		return true;
	call_error(call, 400, "buckets are those of 'total', not of '" VIEW_FMT "'",
		   VIEW_ARG(q[0]));
	return false;
}

void api_pools(struct call *call)
{
	const struct admin_host *host = &call->api->host;
	struct json j;
	struct pool_parts parts = {.phases = false};
	uint32_t n;
	const struct pool *pools = host->pools(host->ctx, &n);
	if (!parse_parts(call, &parts))
		return;
	json_init(&j, &call->answer.body, false);
	json_object_begin(&j);
	json_key(&j, "pools");
	json_array_begin(&j);
	for (uint32_t i = 0; i < n; i++)
		put_pool(&j, &pools[i], parts);
	json_array_end(&j);
	json_object_end(&j);
}

void api_pool(struct call *call)
{
	const struct pool *pool = call_pool(call);
	struct pool_parts parts = {.phases = true};
	struct json j;
	if (!pool || !parse_parts(call, &parts))
		return;
	json_init(&j, &call->answer.body, false);
	put_pool(&j, pool, parts);
}
