/* SPDX-License-Identifier: MIT */
/* GET /v1/connections: the workers know, so the answer comes later. */
#include "api.h"

static void put_connection(struct json *j, const struct admin_connection *c, struct view path)
{
	json_object_begin(j);
	json_member_u64(j, "id", c->id);
	json_member_u64(j, "worker", c->worker);
	json_member_view(j, "listener", c->listener);
	json_member_view(j, "client", c->client);
	json_member_view(j, "state", c->state);
	json_member_u64(j, "requests", c->requests);
	json_member_u64(j, "streams", c->streams);
	json_member_u64(j, "age_s", c->age_us / 1000000);
	json_member_u64(j, "bytes_in", c->bytes_in);
	json_member_u64(j, "bytes_out", c->bytes_out);
	json_member_optional(j, "pool", c->pool);
	json_member_optional(j, "backend", c->backend);
	json_member_optional(j, "path", path);
	json_object_end(j);
}

static void on_rows(void *arg, const struct admin_connection *rows, size_t n)
{
	struct answer answer = {.status = 200, .type = "application/json", .body = STR_INIT};
	struct json j;
	struct arena *arena = arena_new();
	bool open = later_may_change(arg);
	json_init(&j, &answer.body, false);
	json_object_begin(&j);
	json_key(&j, "connections");
	json_array_begin(&j);
	for (size_t i = 0; i < n; i++)
		put_connection(&j, &rows[i], open ? rows[i].path : mask_query(arena, rows[i].path));
	json_array_end(&j);
	json_object_end(&j);
	arena_free(arena);
	later_answer(arg, &answer);
}

void api_connections(struct call *call)
{
	const struct admin_host *host = &call->api->host;
	struct later *later = call_later(call);
	if (later)
		host->connections(host->ctx, on_rows, later);
	else
		call_error(call, 503, "out of memory for this answer");
}
