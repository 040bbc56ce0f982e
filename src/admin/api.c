/* SPDX-License-Identifier: MIT */
/*
 * From a request to the row of tbl/api.def that answers it.
 *
 * Who may change things: whoever can open the unix socket (its file mode
 * decides), and over TCP only who knows the token.  A browser that was led here
 * by a foreign page (DNS rebinding, cross-site forms) knows no token, and
 * cannot send application/json without asking first.
 */
#include "api.h"

#include "dashboard.h"

#include <string.h>

enum access { READ, CHANGE };

static const struct row {
	enum method method;
	enum access access;
	const char *method_text;
	const char *path;
	const char *sentence;
	void (*handler)(struct call *call);
} rows[] = {
#define API(method, path, handler, access, sentence) \
	{METHOD_##method, access, #method, path, sentence, api_##handler},
#include "weir/tbl/api.def"
#undef API
};

bool api_init(struct api *api, const struct admin_host *host)
{
	api->host = *host;
	api->token = STR_INIT;
	api->backlog = 0;
	api->cache = (struct cache){0};
	api->auth_tls = NULL;
	api->auth_tls_mark = api->auth_tls_minute = 0;
	api->auth_why[0] = '\0';
	api->auth_logged_us = 0;
	list_init(&api->passwords);
	list_init(&api->relays);
	api->scratch = route_scratch_new();
	return api->scratch != NULL;
}

void api_fini(struct api *api)
{
	str_fini(&api->token);
	cache_clear(&api->cache);
	tls_client_put(api->auth_tls);
	if (api->scratch)
		route_scratch_free(api->scratch);
	api->scratch = NULL;
}

void answer_error(struct answer *answer, unsigned status, const char *fmt, ...)
{
	struct str text = STR_INIT;
	struct json j;
	va_list ap;
	va_start(ap, fmt);
	str_vprintf(&text, fmt, ap);
	va_end(ap);
	answer->status = status;
	answer->type = "application/json";
	str_reset(&answer->body);
	json_init(&j, &answer->body, false);
	json_object_begin(&j);
	json_member_view(&j, "error", str_as_view(&text));
	json_object_end(&j);
	str_fini(&text);
}

/* ---- paths ---- */

/* "/a/b" gives "a" and leaves "/b"; false at the end. */
static bool next_segment(struct view *rest, struct view *segment)
{
	if (rest->len == 0 || rest->ptr[0] != '/')
		return false;
	*rest = view_skip(*rest, 1);
	ptrdiff_t slash = view_chr(*rest, '/');
	size_t len = slash < 0 ? rest->len : (size_t)slash;
	*segment = view_head(*rest, len);
	*rest = view_skip(*rest, len);
	return true;
}

/* Segments are decoded one by one, so that a name may hold an encoded slash. */
static bool path_matches(const char *pattern, struct view path, struct call *call)
{
	struct view want = view_str(pattern), expected, given, decoded;
	unsigned n_params = 0;
	while (next_segment(&want, &expected)) {
		if (!next_segment(&path, &given) || !decode_percent(given, call->arena, &decoded))
			return false;
		if (expected.len && expected.ptr[0] == '{') {
			if (!decoded.len)
				return false;
			call->params[n_params++] = decoded;
		} else if (!view_eq(expected, decoded)) {
			return false;
		}
	}
	return path.len == 0;
}

static const struct row *find_row(struct call *call)
{
	struct view path;
	enum method method = call->msg->method == METHOD_HEAD ? METHOD_GET : call->msg->method;
	unsigned allow = 0;
	target_split(call->msg->path, &path, &call->query);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!path_matches(rows[i].path, path, call))
			continue;
		if (rows[i].method == method)
			return &rows[i];
		allow |= 1u << rows[i].method;
	}
	if (allow) {
		call_error(call, 405, "this endpoint has no method " VIEW_FMT,
			   VIEW_ARG(call->msg->method_text));
		call->answer.allow = allow;
	} else {
		call_error(call, 404, "there is no such endpoint; GET / lists them");
	}
	return NULL;
}

/* ---- permission ---- */

/* Takes as long for a wrong token as for the right one of the same length. */
static bool token_is(const struct str *token, struct view given)
{
	unsigned char differs = token->len != given.len;
	for (size_t i = 0; i < given.len; i++)
		differs |=
		    (unsigned char)(given.ptr[i] ^ token->ptr[i < token->len ? i : token->len - 1]);
	return !differs;
}

bool call_may_change(const struct call *call)
{
	const struct view scheme = VIEW("bearer ");
	if (call->trusted || !call->api->token.len)
		return call->trusted;
	const struct header *auth = message_find_name(call->msg, VIEW("authorization"));
	return auth && view_istarts(auth->value, scheme) &&
	       token_is(&call->api->token, view_trim(view_skip(auth->value, scheme.len)));
}

struct view call_target(const struct call *call, struct view target)
{
	return call_may_change(call) ? target : mask_query(call->arena, target);
}

static bool may_change(struct call *call)
{
	if (call_may_change(call))
		return true;
	if (call->api->token.len == 0) {
		call_error(call, 403,
			   "changes over status.bind need status.token_file; without one use the "
			   "unix socket");
		return false;
	}
	call_error(call, 401,
		   "changes over status.bind need the header Authorization: Bearer "
		   "with the content of status.token_file");
	call->answer.needs_token = true;
	return false;
}

/*
 * A cross-site request of a browser can have a body, but not with this type.  No
 * browser reaches the unix socket, where curl -d says it sends a form.
 */
static bool type_is_json(struct call *call)
{
	const struct header *hdr = message_find_name(call->msg, VIEW("content-type"));
	if (call->trusted || (!hdr && call->body.len == 0))
		return true;
	if (hdr) {
		ptrdiff_t semicolon = view_chr(hdr->value, ';');
		size_t len = semicolon < 0 ? hdr->value.len : (size_t)semicolon;
		if (view_ieq(view_trim(view_head(hdr->value, len)), VIEW("application/json")))
			return true;
	}
	call_error(call, 415, "the body must be JSON: send Content-Type: application/json");
	return false;
}

bool api_knows_host(struct call *call)
{
	const struct admin_host *host = &call->api->host;
	if (host_is_ours(&host->conf(host->ctx)->status.hosts, call->msg->authority))
		return true;
	call_error(call, 403,
		   "this is not served under the name in Host: use an IP address, or add the name "
		   "to status.hosts");
	return false;
}

static bool is_open(const struct row *row)
{
	return row->handler == api_livez || row->handler == api_readyz;
}

bool api_is_open(const struct call *call)
{
	struct view path, query;
	target_split(call->msg->path, &path, &query);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (is_open(&rows[i]) && view_eq(view_str(rows[i].path), path))
			return true;
	return false;
}

/* Probes come under whatever name a platform gives a machine. */
static bool may_ask(struct call *call, const struct row *row)
{
	return call->trusted || is_open(row) || api_knows_host(call);
}

static bool is_probe(const struct row *row)
{
	return is_open(row) || row->handler == api_metrics;
}

void api_dispatch(struct call *call)
{
	call->answer.status = 200;
	call->answer.type = "application/json";
	const struct row *row = find_row(call);
	if (!row || !may_ask(call, row))
		return;
	if (call->only_probes && !is_probe(row)) {
		call_error(call, 503,
			   "too many API connections: only /livez, /readyz and /metrics are "
			   "answered now");
		return;
	}
	if (row->access == CHANGE && !may_change(call))
		return;
	if (row->access == CHANGE)
		cache_clear(&call->api->cache);
	if (row->method != METHOD_GET && !type_is_json(call))
		return;
	row->handler(call);
}

/* Browsers ask for HTML by name; programs take anything. */
static bool wants_page(const struct call *call)
{
	const struct header *accept = message_find_name(call->msg, VIEW("accept"));
	const struct view html = VIEW("text/html");
	return accept && memmem(accept->value.ptr, accept->value.len, html.ptr, html.len);
}

void api_index(struct call *call)
{
	struct json j;
	if (wants_page(call)) {
		call->answer.type = "text/html; charset=utf-8";
		str_put(&call->answer.body, dashboard_page, dashboard_page_len);
		return;
	}
	json_init(&j, &call->answer.body, true);
	json_object_begin(&j);
	json_member_text(&j, "name", "weir");
	json_member_text(&j, "version", WEIR_VERSION);
	json_key(&j, "endpoints");
	json_array_begin(&j);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		json_object_begin(&j);
		json_member_text(&j, "method", rows[i].method_text);
		json_member_text(&j, "path", rows[i].path);
		json_member_text(&j, "help", rows[i].sentence);
		json_object_end(&j);
	}
	json_array_end(&j);
	json_object_end(&j);
}
