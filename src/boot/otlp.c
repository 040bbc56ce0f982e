/* SPDX-License-Identifier: MIT */
/* Spans as the JSON of OTLP over HTTP. */
#include "otlp.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "weir/base/hex.h"
#include "weir/base/parse.h"
#include "weir/http/message.h"
#include "weir/proxy/outcome.h"
#include "weir/proxy/trace_record.h"

enum { KIND_SERVER = 2, KIND_CLIENT = 3, STATUS_ERROR = 2 };
/* Span.flags beside those of the trace: whether the parent is in another process. */
enum { FLAG_HAS_REMOTE = 0x100, FLAG_REMOTE = 0x200 };

struct record {
	struct trace_record r;
	struct trace_attempt attempts[TRACE_ATTEMPTS_MAX];
	struct view texts[N_TRACE_TEXTS];
	struct view names[TRACE_ATTEMPTS_MAX], addresses[TRACE_ATTEMPTS_MAX];
	uint64_t offset_us;
};

static struct view take_text(const char **at)
{
	uint16_t len;
	memcpy(&len, *at, sizeof(len));
	struct view v = view_of(*at + sizeof(len), len);
	*at += sizeof(len) + len;
	return v;
}

static void unpack(const char *at, uint64_t offset_us, struct record *out)
{
	memcpy(&out->r, at, sizeof(out->r));
	at += sizeof(out->r);
	memcpy(out->attempts, at, out->r.n_attempts * sizeof(out->attempts[0]));
	at += out->r.n_attempts * sizeof(out->attempts[0]);
	for (unsigned i = 0; i < N_TRACE_TEXTS; i++)
		out->texts[i] = take_text(&at);
	for (unsigned i = 0; i < out->r.n_attempts; i++) {
		out->names[i] = take_text(&at);
		out->addresses[i] = take_text(&at);
	}
	out->offset_us = offset_us;
}

/* ---- pieces ---- */

static void put_nanos(struct json *j, const char *key, uint64_t us)
{
	json_key(j, key);
	json_textf(j, "%llu000", (unsigned long long)us);
}

static void put_id(struct json *j, const char *key, const uint8_t *id, unsigned n)
{
	char text[32];
	hex_write(id, n, text);
	json_member_view(j, key, view_of(text, 2 * (size_t)n));
}

static void begin_attribute(struct json *j, const char *key)
{
	json_object_begin(j);
	json_member_text(j, "key", key);
	json_key(j, "value");
	json_object_begin(j);
}

static void end_attribute(struct json *j)
{
	json_object_end(j);
	json_object_end(j);
}

/* Nothing for an empty text. */
static void attr_view(struct json *j, const char *key, struct view v)
{
	if (!v.len)
		return;
	begin_attribute(j, key);
	json_member_view(j, "stringValue", v);
	end_attribute(j);
}

static void attr_u64(struct json *j, const char *key, uint64_t n)
{
	begin_attribute(j, key);
	json_key(j, "intValue");
	json_textf(j, "%llu", (unsigned long long)n);
	end_attribute(j);
}

static void attr_true(struct json *j, const char *key, bool on)
{
	if (!on)
		return;
	begin_attribute(j, key);
	json_member_bool(j, "boolValue", true);
	end_attribute(j);
}

/* Methods that the conventions know; anything else would make spans uncountable. */
static bool is_known(struct view method)
{
	return method_of(method) != METHOD_OTHER;
}

static void put_method(struct json *j, struct view method)
{
	attr_view(j, "http.request.method", is_known(method) ? method : VIEW("_OTHER"));
	if (!is_known(method))
		attr_view(j, "http.request.method_original", method);
}

/* Signatures in queries are passwords: the conventions name these. */
static void put_query(struct str *out, struct view query)
{
	static const char *const secret[] = {
	    "AWSAccessKeyId=", "Signature=", "sig=", "X-Goog-Signature="};
	bool more = true;
	while (more) {
		ptrdiff_t amp = view_chr(query, '&');
		struct view pair = view_head(query, amp < 0 ? query.len : (size_t)amp);
		struct view shown = pair;
		for (size_t i = 0; i < ARRAY_LEN(secret); i++)
			if (view_istarts(pair, view_str(secret[i])))
				shown.len = strlen(secret[i]);
		str_view(out, shown);
		if (shown.len < pair.len)
			str_text(out, "REDACTED");
		more = amp >= 0;
		if (more)
			str_char(out, '&');
		query = view_skip(query, pair.len + 1);
	}
}

static void put_host(struct json *j, struct view authority, struct view scheme)
{
	struct view host;
	uint16_t port;
	if (!authority.len || !authority_split(authority, &host, &port))
		return;
	if (!port)
		port = view_eq(scheme, VIEW("https")) ? 443 : 80;
	attr_view(j, "server.address", host);
	attr_u64(j, "server.port", port);
}

static const char *version_of(bool h2, unsigned minor)
{
	return h2 ? "2" : minor ? "1.1" : "1.0";
}

/* ---- a span ---- */

struct span_head {
	struct view name;
	unsigned kind, flags;
	const uint8_t *id, *parent; /* parent NULL: a root */
	uint64_t start_us, end_us;
};

static void begin_span(struct json *j, const struct record *rec, const struct span_head *s)
{
	json_object_begin(j);
	put_id(j, "traceId", rec->r.context.trace_id, 16);
	put_id(j, "spanId", s->id, 8);
	if (s->parent)
		put_id(j, "parentSpanId", s->parent, 8);
	if (rec->texts[TRACE_STATE].len)
		json_member_view(j, "traceState", rec->texts[TRACE_STATE]);
	json_member_u64(j, "flags", rec->r.context.flags | s->flags);
	json_member_view(j, "name", s->name);
	json_member_u64(j, "kind", s->kind);
	put_nanos(j, "startTimeUnixNano", s->start_us + rec->offset_us);
	put_nanos(j, "endTimeUnixNano", s->end_us + rec->offset_us);
	json_key(j, "attributes");
	json_array_begin(j);
}

/* error.type comes last of the attributes; `type` empty: no error. */
static void end_attributes(struct json *j, struct view type)
{
	attr_view(j, "error.type", type);
	json_array_end(j);
}

static void put_status(struct json *j, bool error, const char *message)
{
	json_key(j, "status");
	json_object_begin(j);
	if (error)
		json_member_u64(j, "code", STATUS_ERROR);
	if (error && message)
		json_member_text(j, "message", message);
	json_object_end(j);
}

static struct view status_text(unsigned status, char room[8])
{
	return view_of(room, (size_t)snprintf(room, 8, "%u", status));
}

/* ---- the exchange ---- */

static void put_url(struct json *j, const struct record *rec)
{
	struct view path, query;
	struct str text = STR_INIT;
	target_split(rec->texts[TRACE_TARGET], &path, &query);
	attr_view(j, "url.scheme", rec->texts[TRACE_SCHEME]);
	attr_view(j, "url.path", path);
	if (query.len) {
		put_query(&text, query);
		attr_view(j, "url.query", str_as_view(&text));
	}
	str_fini(&text);
}

static void put_phases(struct json *j, const struct trace_record *r)
{
	attr_u64(j, "weir.queue_us", r->queue_us);
	attr_u64(j, "weir.connect_us", r->connect_us);
	attr_u64(j, "weir.client_us", r->client_us);
	attr_u64(j, "weir.retries", r->retries);
	if (r->n_lost)
		attr_u64(j, "weir.attempts_without_span", r->n_lost);
}

static void put_server_attributes(struct json *j, const struct record *rec)
{
	const struct trace_record *r = &rec->r;
	put_method(j, rec->texts[TRACE_METHOD]);
	put_url(j, rec);
	put_host(j, rec->texts[TRACE_HOST], rec->texts[TRACE_SCHEME]);
	attr_view(j, "http.route", rec->texts[TRACE_ROUTE_PATH]);
	if (r->status)
		attr_u64(j, "http.response.status_code", r->status);
	attr_view(j, "network.protocol.name", VIEW("http"));
	attr_view(j, "network.protocol.version", view_str(version_of(r->h2, r->version_minor)));
	attr_view(j, "client.address", rec->texts[TRACE_CLIENT]);
	attr_view(j, "network.peer.address", rec->texts[TRACE_PEER]);
	attr_view(j, "user_agent.original", rec->texts[TRACE_AGENT]);
	attr_view(j, "weir.listener", rec->texts[TRACE_LISTENER]);
	attr_view(j, "weir.route", rec->texts[TRACE_ROUTE]);
	attr_view(j, "weir.pool", rec->texts[TRACE_POOL]);
	attr_view(j, "weir.request_id", rec->texts[TRACE_REQUEST_ID]);
	attr_view(j, "weir.outcome", view_str(outcome_row((enum outcome)r->outcome)->name));
	put_phases(j, r);
}

static void put_server(struct json *j, const struct record *rec)
{
	const struct trace_record *r = &rec->r;
	const struct outcome_row *row = outcome_row((enum outcome)r->outcome);
	bool error = row->is_error || r->status >= 500;
	char room[8];
	struct str name = STR_INIT;
	struct view method = rec->texts[TRACE_METHOD];
	str_view(&name, is_known(method) ? method : VIEW("HTTP"));
	if (rec->texts[TRACE_ROUTE_PATH].len)
		str_char(&name, ' ');
	str_view(&name, rec->texts[TRACE_ROUTE_PATH]);
	struct span_head s = {
	    .name = str_as_view(&name),
	    .kind = KIND_SERVER,
	    .flags = FLAG_HAS_REMOTE | (r->has_parent ? FLAG_REMOTE : 0),
	    .id = r->context.span_id,
	    .parent = r->has_parent ? r->parent_id : NULL,
	    .start_us = r->start_us,
	    .end_us = r->end_us,
	};
	begin_span(j, rec, &s);
	put_server_attributes(j, rec);
	end_attributes(j, !error          ? VIEW_NONE
			  : row->is_error ? view_str(row->name)
					  : status_text(r->status, room));
	put_status(j, error, row->is_error ? row->sentence : NULL);
	json_object_end(j);
	str_fini(&name);
}

/* ---- an attempt ---- */

/* "10.0.0.1:80", "[::1]:80" or "unix:/path". */
static void put_address(struct json *j, struct view text)
{
	struct view host;
	uint16_t port;
	if (view_starts(text, VIEW("unix:"))) {
		attr_view(j, "server.address", view_skip(text, 5));
		attr_view(j, "network.transport", VIEW("unix"));
	} else if (authority_split(text, &host, &port)) {
		if (view_starts(host, VIEW("[")))
			host = view_of(host.ptr + 1, host.len - 2);
		attr_view(j, "server.address", host);
		attr_u64(j, "server.port", port);
		attr_view(j, "network.peer.address", host);
		attr_u64(j, "network.peer.port", port);
	}
}

static void put_full_url(struct json *j, const struct record *rec, unsigned i)
{
	struct view target = rec->texts[TRACE_SENT], path, query;
	struct str text = STR_INIT;
	if (view_starts(rec->addresses[i], VIEW("unix:")))
		return; /* there is no URL for it */
	target_split(target, &path, &query);
	str_printf(&text, "%s://" VIEW_FMT VIEW_FMT, rec->r.backend_tls ? "https" : "http",
		   VIEW_ARG(rec->addresses[i]), VIEW_ARG(path));
	if (query.len) {
		str_char(&text, '?');
		put_query(&text, query);
	}
	attr_view(j, "url.full", str_as_view(&text));
	str_fini(&text);
}

static void put_event(struct json *j, const struct record *rec, const char *name, uint64_t at_us)
{
	if (!at_us)
		return;
	json_object_begin(j);
	put_nanos(j, "timeUnixNano", at_us + rec->offset_us);
	json_member_text(j, "name", name);
	json_object_end(j);
}

static void put_events(struct json *j, const struct record *rec, const struct trace_attempt *at)
{
	json_key(j, "events");
	json_array_begin(j);
	put_event(j, rec, "weir.connected", at->connected_us);
	put_event(j, rec, "weir.request_sent", at->sent_us);
	put_event(j, rec, "weir.first_byte", at->first_us);
	json_array_end(j);
}

static void put_client_attributes(struct json *j, const struct record *rec, unsigned i)
{
	const struct trace_attempt *at = &rec->attempts[i];
	put_method(j, rec->texts[TRACE_METHOD]);
	put_full_url(j, rec, i);
	put_address(j, rec->addresses[i]);
	if (at->status)
		attr_u64(j, "http.response.status_code", at->status);
	if (i)
		attr_u64(j, "http.request.resend_count", i);
	attr_view(j, "network.protocol.name", VIEW("http"));
	attr_view(j, "network.protocol.version", view_str(version_of(at->h2, 1)));
	attr_view(j, "weir.pool", rec->texts[TRACE_POOL]);
	attr_view(j, "weir.backend", rec->names[i]);
	if (at->outcome < N_OUTCOMES)
		attr_view(j, "weir.outcome", view_str(outcome_row(at->outcome)->name));
	attr_true(j, "weir.connection.reused", at->reused);
	attr_true(j, "weir.connection.replaced", at->replaced);
	attr_true(j, "weir.hedge", at->hedge);
	attr_true(j, "weir.cancelled", !at->status && at->outcome >= N_OUTCOMES);
}

static void put_client(struct json *j, const struct record *rec, unsigned i)
{
	const struct trace_attempt *at = &rec->attempts[i];
	const struct outcome_row *row =
	    at->outcome < N_OUTCOMES ? outcome_row((enum outcome)at->outcome) : NULL;
	bool failed = row && row->is_error, error = failed || at->status >= 400;
	struct view method = rec->texts[TRACE_METHOD];
	char room[8];
	struct span_head s = {
	    .name = is_known(method) ? method : VIEW("HTTP"),
	    .kind = KIND_CLIENT,
	    .flags = FLAG_HAS_REMOTE,
	    .id = at->span_id,
	    .parent = rec->r.context.span_id,
	    .start_us = at->from_us,
	    .end_us = at->end_us,
	};
	begin_span(j, rec, &s);
	put_client_attributes(j, rec, i);
	end_attributes(j, failed   ? view_str(row->name)
			  : !error ? VIEW_NONE
				   : status_text(at->status, room));
	put_events(j, rec, at);
	put_status(j, error, failed ? row->sentence : NULL);
	json_object_end(j);
}

/* ---- all of it ---- */

void otlp_begin(struct otlp *o, struct str *out, struct view service)
{
	struct json *j = &o->j;
	char host[256] = "";
	json_init(j, out, false);
	json_object_begin(j);
	json_key(j, "resourceSpans");
	json_array_begin(j);
	json_object_begin(j);
	json_key(j, "resource");
	json_object_begin(j);
	json_key(j, "attributes");
	json_array_begin(j);
	attr_view(j, "service.name", service);
	attr_view(j, "service.version", VIEW(WEIR_VERSION));
	if (gethostname(host, sizeof(host) - 1) == 0)
		attr_view(j, "host.name", view_str(host));
	attr_u64(j, "process.pid", (uint64_t)getpid());
	json_array_end(j);
	json_object_end(j);
	json_key(j, "scopeSpans");
	json_array_begin(j);
	json_object_begin(j);
	json_key(j, "scope");
	json_object_begin(j);
	json_member_text(j, "name", "weir");
	json_member_text(j, "version", WEIR_VERSION);
	json_object_end(j);
	json_key(j, "spans");
	json_array_begin(j);
}

unsigned otlp_add(struct otlp *o, const char *bytes, uint64_t offset_us)
{
	struct record rec;
	unpack(bytes, offset_us, &rec);
	put_server(&o->j, &rec);
	for (unsigned i = 0; i < rec.r.n_attempts; i++)
		put_client(&o->j, &rec, i);
	return 1u + rec.r.n_attempts;
}

void otlp_end(struct otlp *o)
{
	struct json *j = &o->j;
	json_array_end(j);
	json_object_end(j);
	json_array_end(j);
	json_object_end(j);
	json_array_end(j);
	json_object_end(j);
}
