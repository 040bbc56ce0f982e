/* SPDX-License-Identifier: MIT */
/*
 * POST and DELETE of backends.  Everything in the body is checked before
 * anything is changed; boot/ makes the change and records the event.
 */
#include "api.h"

#include <string.h>

#define WEIGHT_MAX 65535
#define NAME_MAX_LEN 255

static unsigned status_of(enum err err)
{
	switch (err) {
	case ERR_NOENT:
		return 404;
	case ERR_EXISTS:
	case ERR_FULL:
		return 409;
	case ERR_SYNTAX:
	case ERR_RANGE:
	case ERR_UNSUPPORTED:
		return 400;
	default:
		return 500;
	}
}

static bool succeeded(struct call *call, enum err err, struct str *why)
{
	if (err != ERR_OK)
		call_error(call, status_of(err), "%s", why->len ? why->ptr : err_text(err));
	str_fini(why);
	return err == ERR_OK;
}

/* The row as it is now; pools may have been built anew since the call began. */
static bool put_row(struct call *call, struct view name)
{
	struct json j;
	const struct pool *pool = call_pool(call);
	int32_t i = pool ? pool_backend_index(pool, name) : -1;
	if (i < 0)
		return false;
	json_init(&j, &call->answer.body, false);
	put_backend(&j, pool, (uint32_t)i);
	return true;
}

static bool take_weight(struct call *call, const struct body *body, uint32_t *weight)
{
	int64_t n;
	if (!body_has(body, "weight"))
		return true;
	if (!body_integer(body, "weight", &n) || n < 0 || n > WEIGHT_MAX) {
		call_error(call, 400, "weight must be a whole number from 0 to %d", WEIGHT_MAX);
		return false;
	}
	*weight = (uint32_t)n;
	return true;
}

/* ---- POST .../backends/B ---- */

static bool take_state(struct call *call, const struct body *body, enum backend_state *state)
{
	static const struct {
		const char *word;
		enum backend_state state;
	} words[] = {
	    {"up", BACKEND_up}, {"drain", BACKEND_draining}, {"maintenance", BACKEND_maintenance}};
	struct view text = VIEW_NONE;
	body_text(body, "state", &text);
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (view_eq(text, view_str(words[i].word))) {
			*state = words[i].state;
			return true;
		}
	}
	call_error(call, 400, "state must be up, drain or maintenance");
	return false;
}

struct change {
	bool has_state, has_weight;
	enum backend_state state;
	uint32_t weight;
};

static bool take_change(struct call *call, struct change *change)
{
	static const char *const keys[] = {"state", "weight", NULL};
	struct body *body = call_body(call, keys);
	if (!body)
		return false;
	*change = (struct change){
	    .has_state = body_has(body, "state"),
	    .has_weight = body_has(body, "weight"),
	};
	bool ok = change->has_state || change->has_weight;
	if (!ok)
		call_error(call, 400, "the body names no change: give state or weight");
	ok = ok && (!change->has_state || take_state(call, body, &change->state)) &&
	     take_weight(call, body, &change->weight);
	body_free(body);
	return ok;
}

void api_backend_change(struct call *call)
{
	const struct admin_host *host = &call->api->host;
	struct view name = call->params[PARAM_BACKEND];
	struct str why = STR_INIT;
	struct change change;
	const struct pool *pool = call_pool(call);
	int32_t i = pool ? call_backend(call, pool, name) : -1;
	if (i < 0 || !take_change(call, &change))
		return;
	if (change.has_state &&
	    !succeeded(call, host->set_state(host->ctx, pool->backends[i], change.state, &why),
		       &why))
		return;
	if (change.has_weight && !succeeded(call,
					    host->set_weight(host->ctx, call->params[PARAM_POOL],
							     name, change.weight, &why),
					    &why))
		return;
	put_row(call, name);
}

/* ---- POST .../backends ---- */

static bool name_is_good(struct view v)
{
	if (!v.len || v.len > NAME_MAX_LEN || v.ptr[0] == ' ' || v.ptr[v.len - 1] == ' ')
		return false;
	for (size_t i = 0; i < v.len; i++)
		if ((unsigned char)v.ptr[i] < ' ' || v.ptr[i] == 0x7f)
			return false;
	return true;
}

/* A copy that outlives the body; empty when the member is missing or no text. */
static struct view text_member(struct call *call, const struct body *body, const char *key)
{
	struct view v = VIEW_NONE;
	body_text(body, key, &v);
	return arena_view(call->arena, v);
}

static bool take_backend(struct call *call, const struct body *body, struct conf_backend *b)
{
	*b = (struct conf_backend){.weight = 1};
	b->address_text = text_member(call, body, "address");
	if (!addr_parse(b->address_text, &b->address)) {
		call_error(call, 400,
			   "address must be an address with a port like 10.0.0.1:8000, or "
			   "unix:PATH; names "
			   "are not looked up");
		return false;
	}
	const char *unreachable = addr_unreachable(&b->address);
	if (unreachable) {
		call_error(call, 400, VIEW_FMT " %s", VIEW_ARG(b->address_text), unreachable);
		return false;
	}
	b->name = body_has(body, "name") ? text_member(call, body, "name") : b->address_text;
	if (!name_is_good(b->name)) {
		call_error(call, 400,
			   "a name has 1 to %d bytes, no control characters, and neither begins "
			   "nor ends with a space",
			   NAME_MAX_LEN);
		return false;
	}
	return take_weight(call, body, &b->weight);
}

void api_backend_add(struct call *call)
{
	static const char *const keys[] = {"address", "name", "weight", NULL};
	const struct admin_host *host = &call->api->host;
	struct conf_backend backend;
	struct str why = STR_INIT;
	const struct pool *pool = call_pool(call);
	struct body *body = pool ? call_body(call, keys) : NULL;
	if (!body)
		return;
	bool ok = take_backend(call, body, &backend);
	body_free(body);
	if (!ok)
		return;
	if (pool_backend_index(pool, backend.name) >= 0) {
		call_error(call, 409, "pool '" VIEW_FMT "' has a backend '" VIEW_FMT "' already",
			   VIEW_ARG(pool->conf->name), VIEW_ARG(backend.name));
		return;
	}
	if (!succeeded(call, host->add(host->ctx, call->params[PARAM_POOL], &backend, &why), &why))
		return;
	if (put_row(call, backend.name))
		call->answer.status = 201;
}

/* ---- DELETE .../backends/B ---- */

void api_backend_remove(struct call *call)
{
	const struct admin_host *host = &call->api->host;
	struct view name = call->params[PARAM_BACKEND];
	struct str why = STR_INIT;
	struct json j;
	const struct pool *pool = call_pool(call);
	if (!pool || call_backend(call, pool, name) < 0)
		return;
	if (!succeeded(call, host->remove(host->ctx, call->params[PARAM_POOL], name, &why), &why))
		return;
	if (put_row(call, name)) {
		call->answer.status = 202; /* it goes once nothing is in flight */
		return;
	}
	json_init(&j, &call->answer.body, false);
	json_object_begin(&j);
	json_member_view(&j, "name", name);
	json_member_bool(&j, "removed", true);
	json_object_end(&j);
}
