/* SPDX-License-Identifier: MIT */
/* What handlers ask of a call: names in the path, the query, the JSON body. */
#include "api.h"

#include <string.h>

#include "weir/base/clock.h"
#include "weir/base/hex.h"

bool decode_percent(struct view v, struct arena *arena, struct view *out)
{
	char *to = arena_alloc(arena, v.len + 1);
	size_t n = 0;
	while (v.len) {
		bool escaped = v.ptr[0] == '%';
		int c = !escaped ? (unsigned char)v.ptr[0] : v.len < 3 ? -1 : hex_byte(v.ptr + 1);
		if (c <= 0)
			return false;
		to[n++] = (char)c;
		v = view_skip(v, escaped ? 3 : 1);
	}
	to[n] = '\0';
	*out = view_of(to, n);
	return true;
}

/* ---- query ---- */

static ptrdiff_t name_index(const char *const *names, struct view name)
{
	for (ptrdiff_t i = 0; names[i]; i++)
		if (view_eq(name, view_str(names[i])))
			return i;
	return -1;
}

static bool take_parameter(struct call *call, struct view pair, const char *const *names,
			   struct view *values)
{
	ptrdiff_t equals = view_chr(pair, '=');
	size_t len = equals < 0 ? pair.len : (size_t)equals;
	struct view name, value;
	if (!decode_percent(view_head(pair, len), call->arena, &name) ||
	    !decode_percent(view_skip(pair, len + 1), call->arena, &value)) {
		call_error(call, 400, "the query has a malformed percent-encoding");
		return false;
	}
	ptrdiff_t i = name_index(names, name);
	if (i < 0 || values[i].ptr) {
		call_error(call, 400, "%s parameter '" VIEW_FMT "' in the query",
			   i < 0 ? "unknown" : "repeated", VIEW_ARG(name));
		return false;
	}
	values[i] = value;
	return true;
}

bool call_query(struct call *call, const char *const *names, struct view *values)
{
	struct view rest = call->query;
	for (size_t i = 0; names[i]; i++)
		values[i] = VIEW_NONE;
	while (rest.len) {
		ptrdiff_t amp = view_chr(rest, '&');
		struct view pair = view_head(rest, amp < 0 ? rest.len : (size_t)amp);
		rest = view_skip(rest, pair.len + 1);
		if (pair.len && !take_parameter(call, pair, names, values))
			return false;
	}
	return true;
}

/* ---- body ---- */

struct body *call_body(struct call *call, const char *const *keys)
{
	struct str why = STR_INIT;
	struct body *body = body_parse(call->body, keys, &why);
	if (!body)
		call_error(call, 400, "%s", why.len ? why.ptr : "the body is not JSON");
	str_fini(&why);
	return body;
}

/* ---- names ---- */

struct pool *call_pool(struct call *call)
{
	const struct admin_host *host = &call->api->host;
	uint32_t n;
	struct pool *pools = host->pools(host->ctx, &n);
	for (uint32_t i = 0; i < n; i++)
		if (view_eq(pools[i].conf->name, call->params[PARAM_POOL]))
			return &pools[i];
	call_error(call, 404, "there is no pool '" VIEW_FMT "'",
		   VIEW_ARG(call->params[PARAM_POOL]));
	return NULL;
}

int32_t call_backend(struct call *call, const struct pool *pool, struct view name)
{
	int32_t i = pool_backend_index(pool, name);
	if (i < 0)
		call_error(call, 404, "there is no backend '" VIEW_FMT "' in pool '" VIEW_FMT "'",
			   VIEW_ARG(name), VIEW_ARG(pool->conf->name));
	return i;
}

bool backend_is_usable(const struct pool *pool, uint32_t i)
{
	return pool->weights[i] > 0 && backend_state_takes_new(backend_state(pool->backends[i]));
}

uint32_t pool_n_usable(const struct pool *pool)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < pool->n; i++)
		n += backend_is_usable(pool, i);
	return n;
}

/* ---- JSON ---- */

void json_member_time(struct json *j, const char *key, uint64_t wall_us)
{
	char text[CLOCK_RFC3339_LEN + 1];
	clock_rfc3339(text, wall_us);
	json_member_text(j, key, text);
}

void json_member_optional(struct json *j, const char *key, struct view v)
{
	json_key(j, key);
	if (v.len)
		json_view(j, v);
	else
		json_null(j);
}
