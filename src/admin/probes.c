/* SPDX-License-Identifier: MIT */
/* GET /livez and /readyz, for orchestrators and load balancers in front. */
#include "api.h"

static void put_ok(struct call *call, const char *key)
{
	struct json j;
	json_init(&j, &call->answer.body, false);
	json_object_begin(&j);
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

/* Whoever asks may wait: backends that are not checked yet do not count. */
static uint32_t n_known_up(const struct pool *pool)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < pool->n; i++)
		n += backend_is_usable(pool, i) &&
		     backend_state(pool->backends[i]) != BACKEND_unknown;
	return n;
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
		if (n_known_up(&pools[i]) || !pool_is_used(conf, pools[i].conf->index))
			continue;
		call_error(call, 503, "pool " VIEW_FMT " has no backend that %s",
			   VIEW_ARG(pools[i].conf->name),
			   pool_n_usable(&pools[i]) ? "passed a health check yet"
						    : "takes requests");
		return;
	}
	put_ok(call, "ready");
}
