/* SPDX-License-Identifier: MIT */
/* GET and DELETE of what was changed about backends at run time. */
#include "api.h"

#include <string.h>

static void put_added(struct json *j, const struct pool_override *o)
{
	json_key(j, "added");
	if (!o->add) {
		json_null(j);
		return;
	}
	json_object_begin(j);
	json_member_view(j, "address", o->added.address_text);
	json_member_u64(j, "weight", o->added.weight);
	json_object_end(j);
}

static void put_row(struct json *j, const struct pool_override *o)
{
	const char *state = o->state == BACKEND_draining ? "drain" : "maintenance";
	json_object_begin(j);
	json_member_view(j, "pool", o->pool);
	json_member_view(j, "backend", o->backend);
	json_member_text(j, "state", o->has_state ? state : NULL);
	json_key(j, "weight");
	if (o->has_weight)
		json_u64(j, o->weight);
	else
		json_null(j);
	put_added(j, o);
	json_member_bool(j, "removed", o->remove);
	json_member_bool(j, "leaving", o->leaving);
	json_member_time(j, "at", o->at_wall_us);
	json_object_end(j);
}

/* Those of a pool and a backend; an empty view: of all. */
static void put_rows(struct json *j, const struct list *overrides, struct view pool,
		     struct view backend)
{
	json_key(j, "changes");
	json_array_begin(j);
	list_each (it, overrides) {
		const struct pool_override *o = list_entry(it, struct pool_override, link);
		if ((!pool.len || view_eq(o->pool, pool)) &&
		    (!backend.len || view_eq(o->backend, backend)))
			put_row(j, o);
	}
	json_array_end(j);
}

void api_runtime(struct call *call)
{
	const struct admin_host *host = &call->api->host;
	struct json j;
	json_init(&j, &call->answer.body, false);
	json_object_begin(&j);
	put_rows(&j, host->overrides(host->ctx), VIEW_NONE, VIEW_NONE);
	json_object_end(&j);
}

/* Answers with what was taken back. */
void api_runtime_reset(struct call *call)
{
	const struct admin_host *host = &call->api->host;
	struct view pool = call->params[PARAM_POOL], backend = call->params[PARAM_BACKEND];
	struct str why = STR_INIT;
	struct json j;
	json_init(&j, &call->answer.body, false);
	json_object_begin(&j);
	put_rows(&j, host->overrides(host->ctx), pool, backend);
	json_object_end(&j);
	enum err err = host->reset(host->ctx, pool, backend, &why);
	if (err)
		call_error(call,
			   err == ERR_NOENT  ? 404
			   : err == ERR_FULL ? 409
					     : 500,
			   "%s", why.len ? why.ptr : err_text(err));
	str_fini(&why);
}
