/* SPDX-License-Identifier: MIT */
/*
 * POST /v1/explain: where a request would go, and why.  The request is written down as HTTP/1 and
 * read by the same parser, with the listener's limits, as a real one; nothing is sent anywhere.
 */
#include "api.h"

#include <string.h>

#include "weir/base/bitset.h"
#include "weir/health/health.h"
#include "weir/http/h1.h"
#include "weir/route/identity.h"
#include "weir/route/strict.h"
#include "weir/route/value.h"

/* Routes that are told about although they do not match. */
#define PASSED_MAX 50

struct probe {
	const struct conf_listener *listener;
	struct identity who;
	char peer_ip[ADDR_IP_TEXT_MAX];
	struct view method, scheme, authority, target;
	struct view host; /* without the port */
	struct addr client;
	struct str head, room; /* the request as HTTP/1, and what is put together of it */
	struct message *msg;
};

/* ---- the request out of the body ---- */

static bool has_control(struct view v)
{
	for (size_t i = 0; i < v.len; i++)
		if (((unsigned char)v.ptr[i] < ' ' && v.ptr[i] != '\t') || v.ptr[i] == 0x7f)
			return true;
	return false;
}

/* A member that is text without control characters; `fallback` when it is missing. */
static bool take_text(struct call *call, const struct body *body, const char *key,
		      const char *fallback, struct view *out)
{
	if (fallback && !body_has(body, key)) {
		*out = view_str(fallback);
		return true;
	}
	if (body_text(body, key, out) && !has_control(*out))
		return true;
	call_error(call, 400, "%s must be a text without control characters", key);
	return false;
}

/* "https://host:1/a?b#c" into its parts; a path alone has neither scheme nor host. */
static bool split_url(struct call *call, struct view url, struct probe *p)
{
	ptrdiff_t hash = view_chr(url, '#');
	if (hash >= 0) /* fragments are not sent */
		url = view_head(url, (size_t)hash);
	p->scheme = VIEW("http");
	p->target = url;
	if (view_starts(url, VIEW("/")) || view_eq(url, VIEW("*")))
		return true;
	if (view_istarts(url, VIEW("https://")))
		p->scheme = VIEW("https");
	else if (!view_istarts(url, VIEW("http://"))) {
		call_error(call, 400, "url must begin with http://, https:// or /");
		return false;
	}
	struct view rest = view_skip(url, p->scheme.len + 3);
	size_t len = 0;
	while (len < rest.len && rest.ptr[len] != '/' && rest.ptr[len] != '?')
		len++;
	p->authority = view_head(rest, len);
	p->target = view_skip(rest, len);
	if (!p->target.len || p->target.ptr[0] != '/') /* RFC 9112 3.2.1: never empty */
		p->target = view_str(arena_printf(call->arena, "/" VIEW_FMT, VIEW_ARG(p->target)));
	return true;
}

struct fields {
	struct str text;
	bool has_host;
};

static bool put_field(void *arg, struct view name, struct view value)
{
	struct fields *fields = arg;
	if (has_control(name) || has_control(value))
		return false;
	str_printf(&fields->text, VIEW_FMT ": " VIEW_FMT "\r\n", VIEW_ARG(name), VIEW_ARG(value));
	fields->has_host |= view_ieq(name, VIEW("host"));
	return true;
}

/* Without a host the request is one of HTTP/1.0, which may lack it. */
static bool write_request(struct call *call, struct probe *p, const struct body *body)
{
	struct fields fields = {.text = STR_INIT};
	bool ok = body_pairs(body, "headers", put_field, &fields);
	bool with_host = !fields.has_host && p->authority.len;
	str_printf(&p->head, VIEW_FMT " " VIEW_FMT " HTTP/1.%d\r\n", VIEW_ARG(p->method),
		   VIEW_ARG(p->target), fields.has_host || with_host);
	if (with_host)
		str_printf(&p->head, "Host: " VIEW_FMT "\r\n", VIEW_ARG(p->authority));
	str_view(&p->head, str_as_view(&fields.text));
	str_text(&p->head, "\r\n");
	str_fini(&fields.text);
	if (!ok)
		call_error(call, 400,
			   "headers must be an object or an array of pairs, of texts without "
			   "control characters");
	return ok;
}

/* What this client may say, and what weir says of it. */
static void claim(struct probe *p)
{
	const struct conf_cidrs *trusted = &p->listener->trusted_proxies;
	p->who.peer_ip = view_of(p->peer_ip, addr_format_ip(&p->client, p->peer_ip));
	p->who.scheme = p->scheme;
	p->who.trusted = cidr_any(trusted->rows, trusted->n, &p->client);
	if (p->who.trusted)
		identity_believe(&p->who, p->msg, trusted, &p->client);
	/* views borrow from it: it must not move */
	str_reserve(&p->room, p->head.len + 256);
	identity_claim(&p->who, p->msg, p->msg->upgrade, &p->room);
	p->scheme = p->who.scheme;
}

static bool parse_request(struct call *call, struct probe *p)
{
	const struct h1_limits limits = {
	    .head_bytes = p->listener->limits.header_bytes,
	    .line_bytes = p->listener->limits.line_bytes,
	    .n_headers = p->listener->limits.header_count,
	};
	enum reject why = REJECT_BAD_REQUEST_LINE;
	uint16_t port;
	if (h1_parse_request(str_as_view(&p->head), &limits, p->msg, &why) != H1_OK) {
		call_error(call, 400, "weir would refuse this request with %u: %s",
			   reject_status(why), reject_sentence(why));
		return false;
	}
	why = strict_request(p->listener, p->msg);
	if (why != REJECT_NONE) {
		call_error(call, 400, "weir would refuse this request with %u: %s",
			   reject_status(why), reject_sentence(why));
		return false;
	}
	p->host = p->msg->authority;
	if (p->host.len && !authority_split(p->msg->authority, &p->host, &port)) {
		call_error(call, 400, "weir would refuse this request with 400: %s",
			   reject_sentence(REJECT_BAD_HOST));
		return false;
	}
	claim(p);
	return true;
}

static bool has_port(const struct conf_listener *l, uint16_t port)
{
	for (size_t k = 0; k < l->n_binds; k++)
		if (!addr_is_unix(&l->binds[k]) && addr_port(&l->binds[k]) == port)
			return true;
	return false;
}

/* The listener at the URL's port, else the first that speaks its scheme, else the first. */
static const struct conf_listener *find_listener(const struct conf *conf, const struct probe *p)
{
	struct view host;
	uint16_t port = 0;
	bool tls = view_eq(p->scheme, VIEW("https"));
	if (!p->authority.len || !authority_split(p->authority, &host, &port) || !port)
		port = tls ? 443 : 80;
	for (size_t i = 0; i < conf->n_listeners; i++)
		if (has_port(&conf->listeners[i], port))
			return &conf->listeners[i];
	for (size_t i = 0; i < conf->n_listeners; i++)
		if (conf->listeners[i].tls.on == tls)
			return &conf->listeners[i];
	return &conf->listeners[0];
}

/* Texts borrow from `body`. */
static bool read_probe(struct call *call, const struct body *body, struct probe *p)
{
	struct view url, client;
	const struct admin_host *host = &call->api->host;
	if (!take_text(call, body, "method", "GET", &p->method) ||
	    !take_text(call, body, "url", NULL, &url) ||
	    !take_text(call, body, "client", "127.0.0.1", &client) || !split_url(call, url, p))
		return false;
	if (!addr_parse_ip(client, &p->client) && !addr_parse(client, &p->client)) {
		call_error(call, 400, "client must be an IP address");
		return false;
	}
	p->listener = find_listener(host->conf(host->ctx), p);
	return write_request(call, p, body) && parse_request(call, p);
}

/* ---- the answer ---- */

/* Percent of the exchanges that begin in the tier of backend i. */
static unsigned load_of(const struct pool *pool, uint32_t i, const uint8_t *loads)
{
	uint32_t t = 0;
	while (pool->tiers[t].priority != pool->priorities[i])
		t++;
	return loads[t];
}

/* And what it is in spite of that: `used`, since too few others are, or tried now and then. */
static void put_state(const struct backend *b, bool used, struct str *why)
{
	str_printf(why, "it is %s%s%s", backend_state_name(health_state(b)),
		   b->reason[0] ? ": " : "", b->reason);
	if (used)
		str_text(why, "; used, for there are too few others");
	else if (health_state(b) == BACKEND_ejected && b->ejected_for != EJECTION_odd &&
		 atomic_load_explicit(&b->odd.try_us, memory_order_relaxed))
		str_text(why, "; one request a second tries it");
}

static bool is_candidate(const struct pool *pool, uint32_t i, bool usable, unsigned load,
			 struct str *why)
{
	const struct backend *b = pool->backends[i];
	uint32_t limit = pool_limit(pool, i), in_flight = backend_in_flight(b);
	bool candidate = usable && load > 0 && !(limit && in_flight >= limit);
	if (!backend_state_takes_new(health_state(b)))
		put_state(b, candidate, why);
	else if (pool->weights[i] == 0)
		str_text(why, "its weight is 0");
	else if (!usable)
		str_text(why, "it is not checked yet");
	else if (load == 0)
		str_text(why, "it stands by: the priorities before its own carry everything");
	else if (limit && in_flight >= limit)
		str_printf(why, "it is at its limit of %u in flight", limit);
	else if (limit)
		str_printf(why, "%u of at most %u in flight", in_flight, limit);
	else
		str_printf(why, "%u in flight", in_flight);
	return candidate;
}

static void put_candidate(struct json *j, const struct pool *pool, uint32_t i, bool usable,
			  unsigned load)
{
	const struct backend *b = pool->backends[i];
	char room[BACKEND_REASON_MAX + 128];
	struct str why = str_fixed(room, sizeof(room));
	json_object_begin(j);
	json_member_view(j, "pool", pool->conf->name);
	json_member_view(j, "name", b->name);
	json_member_text(j, "state", backend_state_name(health_state(b)));
	json_member_u64(j, "priority", pool->priorities[i]);
	json_member_u64(j, "weight", pool->weights[i]);
	json_member_u64(j, "in_flight", backend_in_flight(b));
	json_member_u64(j, "streams", backend_streams(b));
	json_member_u64(j, "limit", pool_limit(pool, i));
	json_member_bool(j, "candidate", is_candidate(pool, i, usable, load, &why));
	json_member_view(j, "why", str_as_view(&why));
	json_object_end(j);
}

static void put_candidates(struct json *j, const struct admin_host *host, uint32_t index)
{
	uint32_t n;
	const struct pool *pools = host->pools(host->ctx, &n);
	for (uint32_t i = 0; i < n; i++) {
		if (pools[i].conf->index != index)
			continue;
		uint8_t loads[256];
		struct arena *scratch = arena_new();
		uint64_t *bits = arena_array(scratch, BITSET_WORDS(pools[i].n) + 1, 8);
		pool_candidates(&pools[i], bits, loads);
		for (uint32_t k = 0; k < pools[i].n; k++)
			put_candidate(j, &pools[i], k, bitset_has(bits, k),
				      load_of(&pools[i], k, loads));
		arena_free(scratch);
	}
}

/* What variables would stand for: of what only a real exchange has, their names. */
struct values {
	struct expand_source source;
	struct value_head head;
	const struct conf_listener *listener;
	const struct conf_route *route;
};

static struct view value(const struct expand_source *source, const struct variable *v,
			 char room[EXPAND_ROOM])
{
	const struct values *values = container_of(source, const struct values, source);
	switch (v->id) {
	case VARIABLE_listener:
		return values->listener->name;
	case VARIABLE_route:
		return values->route->name;
	case VARIABLE_request_id:
	case VARIABLE_trace_id:
	case VARIABLE_pool:
	case VARIABLE_time:
		return v->text;
	default:
		return value_of_head(&values->head, v, room);
	}
}

static struct values values_of(struct call *call, const struct conf_route *route,
			       const struct probe *p)
{
	return (struct values){
	    .source.get = value,
	    .head = {p->msg, &p->client, p->scheme, call->api->scratch},
	    .listener = p->listener,
	    .route = route,
	};
}

static void put_redirect(struct json *j, struct call *call, const struct conf_route *route,
			 const struct probe *p)
{
	struct str to = STR_INIT;
	struct values values = values_of(call, route, p);
	route_redirect_to(route, &values.source, &to);
	json_member_text(j, "action", "redirect");
	json_member_u64(j, "status", route->redirect.status);
	json_member_view(j, "redirect", call_target(call, str_as_view(&to)));
	str_fini(&to);
}

static void put_respond(struct json *j, struct call *call, const struct conf_route *route)
{
	json_member_text(j, "action", "respond");
	json_member_u64(j, "status", route->respond.status);
	json_member_view(j, "content_type", route->respond.content_type);
	if (call_may_change(call)) /* others ask the route itself, if it lets them */
		json_member_view(j, "respond", route->respond.body.text);
}

static void put_rewrite(struct json *j, struct call *call, const struct conf_route *route,
			const struct probe *p)
{
	struct api *api = call->api;
	const struct route_table *table = api->host.routes(api->host.ctx);
	struct str path = STR_INIT, rewritten = STR_INIT;
	struct values values = values_of(call, route, p);
	enum rewrite rewrite =
	    route_rewrite_path(table, api->scratch, route, p->msg->path, &values.source, &path);
	if (rewrite == REWRITE_FAILED)
		json_member_text(j, "rewrite_failed", "the regular expression reached its limit");
	if (rewrite == REWRITE_DONE)
		json_member_view(j, "rewrite_path", call_target(call, str_as_view(&path)));
	if (route->rewrite.host.text.len && route_rewrite_host(route, &values.source, &rewritten))
		json_member_view(j, "rewrite_host", str_as_view(&rewritten));
	str_fini(&path);
	str_fini(&rewritten);
}

/* Every pool with its share; which one a request gets is drawn. */
static void put_split(struct json *j, const struct conf *conf, const struct conf_route *route)
{
	json_member_text(j, "action", "split");
	json_key(j, "split");
	json_array_begin(j);
	for (size_t i = 0; i < route->n_split; i++) {
		json_object_begin(j);
		json_member_view(j, "pool", conf->pools[route->split[i].pool].name);
		json_member_u64(j, "share", route->split[i].share);
		json_object_end(j);
	}
	json_array_end(j);
}

static void put_action(struct json *j, struct call *call, const struct conf_route *route,
		       const struct probe *p)
{
	const struct conf *conf = call->api->host.conf(call->api->host.ctx);
	switch (route->action) {
	case CONF_ACTION_POOL:
		json_member_text(j, "action", "pool");
		json_member_view(j, "pool", conf->pools[route_pool(route, 0)].name);
		break;
	case CONF_ACTION_SPLIT:
		put_split(j, conf, route);
		break;
	case CONF_ACTION_REDIRECT:
		put_redirect(j, call, route, p);
		return;
	case CONF_ACTION_RESPOND:
		put_respond(j, call, route);
		return;
	}
	put_rewrite(j, call, route, p);
}

static void put_backends(struct json *j, const struct admin_host *host,
			 const struct conf_route *route)
{
	json_key(j, "backends");
	json_array_begin(j);
	if (route && route->action == CONF_ACTION_POOL)
		put_candidates(j, host, route->pool);
	else if (route && route->action == CONF_ACTION_SPLIT)
		for (size_t i = 0; i < route->n_split; i++)
			put_candidates(j, host, route->split[i].pool);
	json_array_end(j);
}

/* The keys of the route that hold. */
static void put_why(struct json *j, struct call *call, const struct route_request *req,
		    const struct conf_route *route)
{
	struct api *api = call->api;
	struct str why = STR_INIT;
	route_why(api->host.routes(api->host.ctx), api->scratch, route, req, &why);
	json_member_view(j, "matched", str_as_view(&why));
	str_fini(&why);
}

/* The routes before it, and what does not hold of each. */
static void put_passed(struct json *j, struct call *call, const struct route_request *req,
		       const struct conf_route *route)
{
	struct api *api = call->api;
	const struct conf *conf = api->host.conf(api->host.ctx);
	size_t n = route ? route->index : conf->n_routes;
	json_key(j, "passed");
	json_array_begin(j);
	for (size_t i = 0; i < n && i < PASSED_MAX; i++) {
		struct str why = STR_INIT;
		route_why(api->host.routes(api->host.ctx), api->scratch, &conf->routes[i], req,
			  &why);
		json_object_begin(j);
		json_member_view(j, "route", conf->routes[i].name);
		json_member_view(j, "why", str_as_view(&why));
		json_object_end(j);
		str_fini(&why);
	}
	json_array_end(j);
}

static void put_explanation(struct call *call, const struct probe *p)
{
	struct api *api = call->api;
	const struct admin_host *host = &api->host;
	const struct route_request req = {
	    .host = p->host,
	    .path = p->msg->path,
	    .method = p->msg->method_text,
	    .scheme = p->scheme,
	    .listener = p->listener->name,
	    .msg = p->msg,
	    .client = &p->client,
	};
	const struct conf_route *route = route_find(host->routes(host->ctx), api->scratch, &req);
	struct json j;
	json_init(&j, &call->answer.body, false);
	json_object_begin(&j);
	json_member_view(&j, "listener", p->listener->name);
	json_member_optional(&j, "route", route ? route->name : VIEW_NONE);
	if (route) {
		put_why(&j, call, &req, route);
		put_action(&j, call, route, p);
	} else {
		const struct conf_route *gave_up = route_gave_up(api->scratch);
		json_member_text(&j, "action", "refuse");
		json_member_u64(&j, "status", gave_up ? 500 : 404);
		json_member_text(&j, "why",
				 gave_up ? arena_printf(call->arena,
							"the regular expression of route " VIEW_FMT
							" reached its limit",
							VIEW_ARG(gave_up->name))
					 : "no route matches the request");
	}
	put_passed(&j, call, &req, route);
	put_backends(&j, host, route);
	json_object_end(&j);
}

void api_explain(struct call *call)
{
	static const char *const keys[] = {"method", "url", "headers", "client", NULL};
	struct body *body = call_body(call, keys);
	struct probe probe = {.msg = &call->api->probe, .head = STR_INIT, .room = STR_INIT};
	if (!body)
		return;
	if (read_probe(call, body, &probe))
		put_explanation(call, &probe);
	str_fini(&probe.head);
	str_fini(&probe.room);
	body_free(body);
}
