/* SPDX-License-Identifier: MIT */
/*
 * Response fields that say what weir did, where a listener asks for them:
 * Server-Timing (W3C), the phases until the backend's first byte in milliseconds,
 * and Proxy-Status (RFC 9209), the backend or the kind of the error.  The texts
 * live in the worker until the head at hand is written.
 */
#include "diagnose.h"

#include "weir/base/str.h"
#include "weir/proxy/worker.h"

/* RFC 9209 2.3; what has no row is an error of weir's own. */
static const struct {
	enum outcome outcome;
	const char *type;
} types[] = {
    {OUTCOME_no_backend, "destination_unavailable"},
    {OUTCOME_queue_full, "connection_limit_reached"},
    {OUTCOME_queue_timeout, "connection_limit_reached"},
    {OUTCOME_connect_refused, "connection_refused"},
    {OUTCOME_connect_failed, "destination_unavailable"},
    {OUTCOME_connect_timeout, "connection_timeout"},
    {OUTCOME_connect_limit, "connection_limit_reached"},
    {OUTCOME_backend_closed, "connection_terminated"},
    {OUTCOME_backend_reset, "connection_terminated"},
    {OUTCOME_backend_head_cut, "http_response_incomplete"},
    {OUTCOME_backend_timeout, "http_response_timeout"},
    {OUTCOME_backend_send_timeout, "connection_write_timeout"},
    {OUTCOME_total_timeout, "http_response_timeout"},
    {OUTCOME_bad_response, "http_protocol_error"},
    {OUTCOME_bad_request, "http_request_error"},
    {OUTCOME_bad_body, "http_request_error"},
    {OUTCOME_body_too_large, "http_request_error"},
    {OUTCOME_no_route, "destination_not_found"},
};

static const char *type_of(enum outcome outcome)
{
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (types[i].outcome == outcome)
			return types[i].type;
	return "proxy_internal_error";
}

static void add(struct message *resp, struct view name, struct view value)
{
	if (resp->n_headers < HEADERS_ROOM)
		resp->headers[resp->n_headers++] = (struct header){.name = name, .value = value};
}

static void put_phase(struct str *out, const char *name, uint64_t us)
{
	str_printf(out, "%s%s;dur=%llu.%03u", out->len ? ", " : "", name,
		   (unsigned long long)us / 1000, (unsigned)(us % 1000));
}

static void add_timing(struct exchange *ex, struct message *resp)
{
	const struct attempt *at = ex->at;
	struct worker *w = ex->worker;
	struct str text = str_fixed(w->server_timing, sizeof(w->server_timing));
	uint64_t wait = ex->failed_wait_us;
	if (at->sent_us && at->first_byte_us > at->sent_us)
		wait += at->first_byte_us - at->sent_us;
	put_phase(&text, "queue", ex->queue_us);
	put_phase(&text, "connect", ex->connect_us);
	put_phase(&text, "wait", wait);
	add(resp, VIEW("Server-Timing"), str_as_view(&text));
}

static void add_status(struct exchange *ex, struct message *resp)
{
	struct worker *w = ex->worker;
	struct str text = str_fixed(w->proxy_status, sizeof(w->proxy_status));
	const struct backend *b = ex->at->lease.backend;
	str_text(&text, "weir");
	if (b) /* an address holds nothing that a quoted text must escape */
		str_printf(&text, ";next-hop=\"" VIEW_FMT "\"", VIEW_ARG(b->address_text));
	str_printf(&text, ";received-status=%u", resp->status);
	add(resp, VIEW("Proxy-Status"), str_as_view(&text));
}

void diagnose_response(struct exchange *ex, struct message *resp)
{
	if (resp->status < 200)
		return;
	if (ex->listener->server_timing)
		add_timing(ex, resp);
	if (ex->listener->proxy_status)
		add_status(ex, resp);
}

void diagnose_error(struct exchange *ex, enum outcome outcome)
{
	struct worker *w = ex->worker;
	if (!ex->listener->proxy_status)
		return;
	struct str text = str_fixed(w->proxy_status, sizeof(w->proxy_status));
	str_printf(&text, "weir;error=%s", type_of(outcome));
	add(&w->resp, VIEW("Proxy-Status"), str_as_view(&text));
}
