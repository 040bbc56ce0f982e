/* SPDX-License-Identifier: MIT */
/*
 * POST /v1/marks: names a moment.  {"name": "deploy-v42", "pool": "app", "backend": "app1"};
 * without a backend it touches the whole pool, without a pool all of them.  What was learned
 * about speed before is evidence of another epoch, and is forgotten; so is what was compared of
 * answers to copies (GET /v1/mirror).
 *
 *   {"name": "deploy-v42", "at": "2026-11-24T01:02:03.456Z", "pools": ["app"]}
 */
#include "api.h"
#include "mirror.h"

#include "weir/base/clock.h"

#define MARK_MAX 64

struct mark {
	struct view name, pool, backend;
};

static bool is_name(struct view name)
{
	if (!name.len || name.len > MARK_MAX)
		return false;
	for (size_t i = 0; i < name.len; i++)
		if ((unsigned char)name.ptr[i] <= ' ' || name.ptr[i] == 0x7f)
			return false;
	return true;
}

static struct pool *find_pool(struct call *call, struct view name)
{
	const struct admin_host *host = &call->api->host;
	uint32_t n;
	struct pool *pools = host->pools(host->ctx, &n);
	for (uint32_t i = 0; i < n; i++)
		if (view_eq(pools[i].conf->name, name))
			return &pools[i];
	call_error(call, 404, "there is no pool '" VIEW_FMT "'", VIEW_ARG(name));
	return NULL;
}

/* Of one backend: its own evidence; the pool's curve is the sum of what is left. */
static bool touch_backend(struct call *call, const struct pool *pool, struct view name)
{
	int32_t i = call_backend(call, pool, name);
	if (i >= 0 && pool->backends[i]->scaling)
		scaling_part_begin_epoch(pool->backends[i]->scaling);
	return i >= 0;
}

static void touch_pool(const struct pool *pool)
{
	if (pool->state->scaling)
		scaling_begin_epoch(pool->state->scaling, "a mark", clock_us());
}

static void answer(struct call *call, const struct mark *mark)
{
	const struct admin_host *host = &call->api->host;
	struct json j;
	uint32_t n;
	const struct pool *pools = host->pools(host->ctx, &n);
	json_init(&j, &call->answer.body, false);
	json_object_begin(&j);
	json_member_view(&j, "name", mark->name);
	json_member_time(&j, "at", clock_wall_us());
	json_key(&j, "pools");
	json_array_begin(&j);
	for (uint32_t i = 0; i < n; i++)
		if (!mark->pool.len || view_eq(pools[i].conf->name, mark->pool))
			json_view(&j, pools[i].conf->name);
	json_array_end(&j);
	json_object_end(&j);
}

static bool touch(struct call *call, const struct mark *mark)
{
	const struct admin_host *host = &call->api->host;
	uint32_t n;
	const struct pool *pools = host->pools(host->ctx, &n);
	if (!mark->pool.len) {
		for (uint32_t i = 0; i < n; i++)
			touch_pool(&pools[i]);
		return true;
	}
	const struct pool *pool = find_pool(call, mark->pool);
	if (pool && mark->backend.len)
		return touch_backend(call, pool, mark->backend);
	if (pool)
		touch_pool(pool);
	return pool != NULL;
}

void api_mark(struct call *call)
{
	static const char *const keys[] = {"name", "pool", "backend", NULL};
	struct body *body = call_body(call, keys);
	struct mark mark = {VIEW_NONE, VIEW_NONE, VIEW_NONE};
	if (!body)
		return;
	body_text(body, "pool", &mark.pool);
	body_text(body, "backend", &mark.backend);
	if (!body_text(body, "name", &mark.name) || !is_name(mark.name)) {
		call_error(call, 400, "name must be 1 to %d characters without spaces", MARK_MAX);
	} else if (mark.backend.len && !mark.pool.len) {
		call_error(call, 400, "backend needs pool");
	} else if (touch(call, &mark)) {
		mirrors_begin_epoch(&call->api->host, mark.pool);
		event_add(EVENT_MARK, mark.pool, mark.backend, VIEW_FMT, VIEW_ARG(mark.name));
		answer(call, &mark);
	}
	body_free(body);
}
