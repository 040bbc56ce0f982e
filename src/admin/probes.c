/* SPDX-License-Identifier: MIT */
/* GET /livez and /readyz, for orchestrators and load balancers in front. */
#include "api.h"

static void put_ok(struct call *call, const char *key)
{
	struct json j;
	json_init(&j, &call->answer.body, false);
	json_object(&j);
	json_member_bool(&j, key, true);
	json_object_end(&j);
}

void api_livez(struct call *call)
{
	put_ok(call, "live");
}

static bool route_uses(const struct conf_route *route, uint32_t pool)
{
	if (route->action == CONF_ACTION_POOL)
		return route->pool == pool;
	if (route->action == CONF_ACTION_SPLIT)
		for (size_t i = 0; i < route->n_split; i++)
			if (route->split[i].pool == pool && route->split[i].share)
				return true;
	return false;
}

static bool pool_is_used(const struct conf *conf, uint32_t pool)
{
	for (size_t i = 0; i < conf->n_routes; i++)
		if (route_uses(&conf->routes[i], pool))
			return true;
	return false;
}

void api_readyz(struct call *call)
{
	const struct admin_host *host = &call->api->host;
	const struct conf *conf = host->conf(host->ctx);
	struct admin_status s = {0};
	uint32_t n;
	const struct pool *pools = host->pools(host->ctx, &n);
	host->status(host->ctx, call->arena, &s);
	if (s.draining) {
		call_error(call, 503, "weir is draining");
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		if (pool_n_usable(&pools[i]) || !pool_is_used(conf, pools[i].conf->index))
			continue;
		call_error(call, 503, "pool " VIEW_FMT " has no backend that takes requests",
			   VIEW_ARG(pools[i].conf->name));
		return;
	}
	put_ok(call, "ready");
}
