/* SPDX-License-Identifier: MIT */
/*
 * What weir changes in heads and trailers on their way: what this client may not
 * say goes and what weir says comes before anything looks at a request (see
 * weir/route/identity.h), a request id is there in any case, and the route's own
 * edits come last.
 */
#include <stdio.h>
#include <string.h>

#include "deadline.h"
#include "diagnose.h"
#include "exchange.h"
#include "pin.h"
#include "trace.h"
#include "values.h"

#include "weir/base/hex.h"
#include "weir/base/parse.h"
#include "weir/http/field.h"

/* The longest Host that a route writes. */
#define HOST_ROOM 512

static bool is_id_char(char c)
{
	return char_is_digit(c) || (char_lower(c) >= 'a' && char_lower(c) <= 'z') || c == '.' ||
	       c == '_' || c == '-';
}

static bool is_request_id(struct view v)
{
	if (v.len == 0 || v.len > REQUEST_ID_MAX)
		return false;
	for (size_t i = 0; i < v.len; i++)
		if (!is_id_char(v.ptr[i]))
			return false;
	return true;
}

size_t policy_make_id(struct worker *w, char out[REQUEST_ID_MAX])
{
	hex_u64(rng_next(&w->pool.rng), out);
	hex_u64(rng_next(&w->pool.rng), out + 16);
	return 32;
}

/* Quality of one element of Accept in thousandths (RFC 9110 12.4.2). */
static unsigned quality_of(struct view params)
{
	while (params.len) {
		ptrdiff_t semicolon = view_chr(params, ';');
		size_t n = semicolon < 0 ? params.len : (size_t)semicolon;
		struct view param = view_trim(view_head(params, n));
		params = view_skip(params, n + 1);
		double q;
		if (view_istarts(param, VIEW("q=")) && parse_double(view_skip(param, 2), &q))
			return q <= 0 ? 0 : q >= 1 ? 1000 : (unsigned)(q * 1000);
	}
	return 1000;
}

bool policy_prefers_json(struct view accept)
{
	unsigned json = 0, text = 0, position = 2000, q;
	struct view element;
	while (view_next_token(&accept, &element)) {
		ptrdiff_t semicolon = view_chr(element, ';');
		size_t n = semicolon < 0 ? element.len : (size_t)semicolon;
		struct view type = view_trim(view_head(element, n));
		/* among equals the first named wins */
		q = quality_of(view_skip(element, n + 1)) * 4000 + (position ? position-- : 0);
		if (view_ieq(type, VIEW("application/json")) || view_ends(type, VIEW("+json")))
			json = q > json && q >= 4000 ? q : json;
		else if (view_istarts(type, VIEW("text/")))
			text = q > text && q >= 4000 ? q : text;
	}
	return json > text;
}

bool policy_is_grpc(struct view content_type)
{
	const struct view type = VIEW("application/grpc");
	if (!view_istarts(content_type, type))
		return false;
	/* application/grpc, ...+proto, ...;parameter */
	return content_type.len == type.len || strchr("+; \t", content_type.ptr[type.len]);
}

static void note(struct exchange *ex, struct header *h, struct view *id)
{
	switch (h->id) {
	case HDR_X_REQUEST_ID:
		*id = h->value;
		h->drop = true; /* written anew */
		break;
	case HDR_TE:
		ex->te_trailers = view_ieq(h->value, VIEW("trailers"));
		break;
	case HDR_CONTENT_TYPE:
		ex->grpc = policy_is_grpc(h->value);
		break;
	case HDR_GRPC_TIMEOUT:
		ex->has_grpc_timeout = true;
		break;
	case HDR_ACCEPT:
		if (h->value.len > 5 && memmem(h->value.ptr, h->value.len, "json", 4))
			ex->wants_json = policy_prefers_json(h->value);
		ex->tried.stream |= view_istarts(h->value, VIEW("text/event-stream"));
		break;
	default:
		break;
	}
}

static void add(struct message *msg, enum hdr_id id, struct view name, struct view value)
{
	msg->headers[msg->n_headers++] =
	    (struct header){.name = name, .value = value, .id = (uint8_t)id};
}

/* "Via: 1.1 weir": a pseudonym, and the version in which the message came. */
static void add_via(struct message *msg, bool h2, unsigned minor)
{
	static const char http10[] = "Via: 1.0 weir\r\n", http11[] = "Via: 1.1 weir\r\n",
			  http2[] = "Via: 2 weir\r\n";
	static const struct header rows[] = {
	    HEADER_OF_LINE(VIA, http10, 3),
	    HEADER_OF_LINE(VIA, http11, 3),
	    HEADER_OF_LINE(VIA, http2, 3),
	};
	msg->headers[msg->n_headers++] = rows[h2 ? 2 : minor];
}

/* The line of Date, put together once a second. */
static struct view date_line(struct worker *w)
{
	if (unlikely(w->loop.now_us >= w->date_until_us)) {
		uint64_t wall = clock_wall_us();
		memcpy(w->date, "Date: ", 6);
		clock_http(w->date + 6, wall);
		memcpy(w->date + 6 + CLOCK_HTTP_LEN, "\r\n", 2);
		w->date_until_us = w->loop.now_us + 1000000 - wall % 1000000;
	}
	return view_of(w->date, sizeof(w->date));
}

struct view policy_date(struct worker *w)
{
	return view_of(date_line(w).ptr + 6, CLOCK_HTTP_LEN);
}

/* Notes what is needed later. */
static void scan(struct exchange *ex, struct message *msg)
{
	const uint64_t noted = HDR_BIT(X_REQUEST_ID) | HDR_BIT(TE) | HDR_BIT(CONTENT_TYPE) |
			       HDR_BIT(GRPC_TIMEOUT) | HDR_BIT(ACCEPT);
	struct view id = VIEW_NONE;
	for (uint32_t i = 0; (msg->ids & noted) && i < msg->n_headers; i++)
		if (noted >> msg->headers[i].id & 1)
			note(ex, &msg->headers[i], &id);
	if (is_request_id(id)) {
		memcpy(ex->request_id, id.ptr, id.len);
		ex->request_id_len = (uint8_t)id.len;
	} else {
		ex->request_id_len = (uint8_t)policy_make_id(ex->worker, ex->request_id);
	}
}

void policy_take(struct exchange *ex, const struct exchange_request *req, struct message *msg)
{
	struct worker *w = ex->worker;
	scan(ex, msg);
	w->texts = str_fixed(w->texts.ptr, TEXTS_ROOM);
	identity_claim(&req->who, msg, ex->wants_upgrade, &w->texts);
	ex->ends_trailers = msg->names_fields;
	ex->client_h2 = msg->h2;
	add_via(msg, msg->h2, msg->version_minor);
	add(msg, HDR_X_REQUEST_ID, VIEW("X-Request-ID"),
	    view_of(ex->request_id, ex->request_id_len));
}

bool policy_max_forwards(struct exchange *ex, struct message *msg)
{
	struct str *texts = &ex->worker->texts;
	struct header *h = message_find(msg, HDR_MAX_FORWARDS);
	uint64_t left;
	if (!h || (msg->method != METHOD_TRACE && msg->method != METHOD_OPTIONS) ||
	    !parse_u64(h->value, &left))
		return true;
	if (left == 0)
		return false;
	const size_t from = texts->len;
	str_u64(texts, left - 1);
	h->value = view_of(texts->ptr + from, texts->len - from);
	h->line_len = 0;
	return true;
}

/* "1.1 weir", "HTTP/2 weir (comment)": received-protocol and received-by (RFC 9110 7.6.3). */
static bool is_weir(struct view element)
{
	const struct view name = VIEW("weir");
	ptrdiff_t space = view_chr(element, ' ');
	struct view by = space < 0 ? VIEW_NONE : view_trim(view_skip(element, (size_t)space));
	return view_istarts(by, name) && (by.len == name.len || by.ptr[name.len] == ' ');
}

/* The element of this hop is among those of the request by now. */
bool policy_is_loop(const struct exchange *ex, struct message *msg)
{
	uint32_t n = 0, most = ex->listener->limits.hops;
	for (uint32_t i = 0; i < msg->n_headers; i++) {
		struct view rest = msg->headers[i].value, element;
		while (msg->headers[i].id == HDR_VIA && view_next_token(&rest, &element))
			n += is_weir(element);
	}
	return most && n > most;
}

/* Ports make no difference; those who sent no name mean the default. */
bool policy_is_for(const struct tls_info *tls, struct view authority)
{
	struct view host;
	uint16_t port;
	return !tls->sni.len ||
	       (authority_split(authority, &host, &port) && host_is_same(tls->sni, host));
}

static inline bool has_edits(const struct conf_header_edits *edits)
{
	return unlikely((edits->remove.n | edits->set.n | edits->add.n) != 0);
}

static void drop_edited(struct message *msg, const struct conf_header_edits *edits)
{
	for (size_t i = 0; i < edits->remove.n; i++)
		field_edit(msg, edits->remove.rows[i]);
	for (size_t i = 0; i < edits->set.n; i++)
		field_edit(msg, edits->set.rows[i].name);
}

/*
 * A trailer section says nothing that belongs to weir or to the route in a head: who
 * reads trailers into the head, as CGI and many frameworks do, would believe it.
 */
static void drop_trailers(struct message *msg, const struct conf_header_edits *edits, bool all)
{
	for (uint32_t i = 0; all && i < msg->n_headers; i++)
		msg->headers[i].drop = true;
	drop_edited(msg, edits);
}

/* ---- requests ---- */

static bool put_request_line(struct exchange *ex, const struct message *msg, struct h1_out *out)
{
	const struct conf_route *route = ex->route;
	struct worker *w = ex->worker;
	if (likely(route->rewrite.path.text.ptr == NULL)) {
		h1_put_request_line(out, msg->method_text, msg->path);
		return true;
	}
	scratch_take(w, SCRATCH_FRONT);
	struct str path = str_fixed(w->from_backend.base, AREA_FRONT);
	struct values values = values_of(ex);
	enum rewrite rewrite = route_rewrite_path(ex->gl->gen->routes, w->routes, route, msg->path,
						  &values.source, &path);
	h1_put_request_line(out, msg->method_text,
			    rewrite == REWRITE_DONE ? str_as_view(&path) : msg->path);
	scratch_drop(w, SCRATCH_FRONT);
	return rewrite != REWRITE_FAILED; /* the path as it came may lead elsewhere */
}

/* What depends on the attempt, or is for this connection alone. */
static void put_own_fields(struct exchange *ex, const struct message *msg, struct h1_out *out)
{
	if (unlikely(ex->client_deadline))
		deadline_put(ex, out);
	if (unlikely(ex->trace != NULL))
		trace_put(ex, out);
	if (msg->body == BODY_CHUNKED)
		h1_put(out, VIEW("Transfer-Encoding: chunked\r\n"));
}

/* Host comes first (RFC 9110 7.2) where it is not the client's line; NULL: it is, or goes. */
static struct header *own_host(struct exchange *ex, struct message *msg, struct str *room)
{
	const struct conf_route *route = ex->route;
	struct header *host = message_find(msg, HDR_HOST);
	if (host && unlikely(route->rewrite.host.text.ptr != NULL)) {
		struct values values = values_of(ex);
		if (route_rewrite_host(route, &values.source, room)) {
			host->value = str_as_view(room);
			host->line_len = 0;
		}
	}
	return host && host->line_len == 0 ? host : NULL;
}

bool policy_request(struct exchange *ex, struct h1_out *out)
{
	struct message *msg = &ex->worker->req;
	const struct conf_header_edits *edits = &ex->route->request_headers;
	const bool edited = has_edits(edits);
	if (edited)
		drop_edited(msg, edits);
	if (!put_request_line(ex, msg, out))
		return false;
	char room[HOST_ROOM];
	struct str host_text = str_fixed(room, sizeof(room));
	struct header *host = own_host(ex, msg, &host_text);
	if (host) {
		h1_put_header(out, host->name, host->value);
		host->drop = true;
	}
	h1_put_headers(out, msg);
	if (host)
		host->drop = false; /* a head may be put together twice */
	put_own_fields(ex, msg, out);
	if (edited) {
		values_put_fields(ex, &edits->set, out);
		values_put_fields(ex, &edits->add, out);
	}
	h1_put(out, VIEW("\r\n"));
	return !out->overflow;
}

void policy_request_trailers(struct exchange *ex, struct message *msg)
{
	if (!ex->view) /* answered already: they go nowhere */
		return;
	for (size_t i = 0; i < ex->route->auth.forward.copy.n; i++)
		field_drop(msg, ex->route->auth.forward.copy.rows[i]);
	struct view deadline = ex->view->pool->conf->timeouts.deadline_header;
	drop_trailers(msg, &ex->route->request_headers, ex->ends_trailers);
	if (unlikely(deadline.ptr != NULL))
		field_drop(msg, deadline);
}

/* ---- responses ---- */

/* What does not fit is left out: a piece of a value could mean something else. */
static bool put_value(const struct exchange *ex, const struct template *template, struct view *out)
{
	struct str *room = &ex->worker->values;
	struct values values = values_of(ex);
	const size_t from = room->len;
	expand(template, ESCAPE_FIELD, &values.source, room);
	*out = view_trim(view_of(room->ptr + from, room->len - from));
	if (!room->overflow)
		return true;
	room->len = from;
	room->overflow = false;
	return false;
}

static void append(struct exchange *ex, struct message *msg, const struct conf_pairs *pairs)
{
	for (size_t i = 0; i < pairs->n && msg->n_headers < HEADERS_ROOM; i++) {
		struct view value = pairs->rows[i].value;
		const struct template *template = pairs->rows[i].template;
		if (template && !put_value(ex, template, &value))
			continue;
		msg->headers[msg->n_headers++] =
		    (struct header){.name = pairs->rows[i].name, .value = value};
	}
}

/* Load reports are for weir alone. */
static void take_report(struct exchange *ex, struct message *resp)
{
	struct view value;
	if (message_load_report(resp, &value) && ex->at->lease.backend)
		pool_note_report(ex->at->lease.backend, value, ex->worker->loop.now_us);
}

/* A client of HTTP/1 is told what to upgrade to (RFC 9110 15.5.22). */
static bool keeps_upgrade(const struct exchange *ex, const struct message *resp)
{
	return resp->status == 101 || (resp->status == 426 && !ex->client_h2);
}

/* What every forwarded response has (RFC 9110 6.6.1, 7.6.3). */
static void sign(struct exchange *ex, struct message *resp)
{
	if (resp->status < 200)
		return;
	if (unlikely(!(resp->ids & HDR_BIT(DATE))))
		resp->headers[resp->n_headers++] =
		    header_of_line(HDR_DATE, date_line(ex->worker), 4);
	add_via(resp, ex->at->h2 != NULL, resp->version_minor);
	if (unlikely(resp->status == 426 && resp->ids & HDR_BIT(UPGRADE)) &&
	    keeps_upgrade(ex, resp))
		add(resp, HDR_CONNECTION, VIEW("Connection"), VIEW("upgrade"));
}

void policy_edit_response(struct exchange *ex, struct message *resp)
{
	if (!ex->route)
		return;
	const struct conf_header_edits *edits = &ex->route->response_headers;
	if (has_edits(edits)) {
		drop_edited(resp, edits);
		ex->worker->values = str_fixed(ex->worker->values.ptr, VALUES_ROOM);
		append(ex, resp, &edits->set);
		append(ex, resp, &edits->add);
	}
}

void policy_response(struct exchange *ex, struct message *resp)
{
	message_drop_hop_by_hop(resp, keeps_upgrade(ex, resp));
	if (ex->view) /* it comes from a backend */
		sign(ex, resp);
	ex->ends_resp_trailers |= resp->names_fields;
	if (unlikely(ex->view && ex->view->pool->wants_reports))
		take_report(ex, resp);
	if (unlikely(ex->listener->server_timing || ex->listener->proxy_status))
		diagnose_response(ex, resp);
	if (!ex->route || unlikely(ex->is_aside))
		return;
	policy_edit_response(ex, resp);
	if (unlikely(pin_applies(ex)))
		pin_response(ex, resp);
}

void policy_response_trailers(struct exchange *ex, struct message *msg)
{
	(void)strict_fields(CONF_UNDERSCORES_PASS, msg); /* the app may, as in heads */
	drop_trailers(msg, &ex->route->response_headers, ex->ends_resp_trailers);
	if (unlikely(ex->view->pool->wants_reports))
		take_report(ex, msg);
}
