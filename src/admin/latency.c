/* SPDX-License-Identifier: MIT */
/*
 * GET /v1/latency: latency by phase of routes and listeners; those of pools and
 * backends are in /v1/pools.  What failed is apart, its total only.  `requests` counts all that
 * took the route, redirects and fixed responses too.
 *
 *   {"routes": [{"name": "api", "requests": N, "latency": {"10s": {"queue": {"n": .., "p50_us": ..,
 *      "p90_us": .., "p99_us": .., "p999_us": .., "max_us": .., "mean_us": ..}, ...}, "1m": ..,
 *      "5m": .., "start": ..}, "failed": {"10s": {"total": {..}}, ...}}],
 *    "listeners": [the same without requests]}
 */
#include "api.h"

#include "weir/stats/meter.h"

static void put_meters(struct json *j, const char *key, const struct admin_meter *rows, size_t n,
		       bool counted)
{
	json_key(j, key);
	json_array_begin(j);
	for (size_t i = 0; i < n; i++) {
		json_object_begin(j);
		json_member_view(j, "name", rows[i].name);
		if (counted)
			json_member_u64(j, "requests", meter_exchanges(rows[i].meter));
		json_key(j, "latency");
		put_windows(j, rows[i].meter->ok, false);
		json_key(j, "failed");
		put_windows(j, rows[i].meter->failed, true);
		json_object_end(j);
	}
	json_array_end(j);
}

void api_latency(struct call *call)
{
	const struct admin_host *host = &call->api->host;
	struct admin_meters meters = {0};
	struct json j;
	host->meters(host->ctx, call->arena, &meters);
	json_init(&j, &call->answer.body, false);
	json_object_begin(&j);
	put_meters(&j, "routes", meters.routes, meters.n_routes, true);
	put_meters(&j, "listeners", meters.listeners, meters.n_listeners, false);
	json_object_end(&j);
}
