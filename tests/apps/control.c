/* SPDX-License-Identifier: MIT */
/*
 * Options out of requests, and the control requests of an instance: GET
 * /_stats, /_reset and /_set?key=value.  Control requests are not counted, and
 * neither is a connection that begins with one.
 */
#include <stdio.h>
#include <string.h>

#include "weir/base/json.h"
#include "weir/base/parse.h"

#include "app.h"

static int hex_digit(char c)
{
	c = char_lower(c);
	return char_is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void percent_decode(struct str *out, struct view in)
{
	str_reset(out);
	for (size_t i = 0; i < in.len; i++) {
		int hi = i + 2 < in.len ? hex_digit(in.ptr[i + 1]) : -1;
		int lo = i + 2 < in.len ? hex_digit(in.ptr[i + 2]) : -1;
		if (in.ptr[i] != '%' || hi < 0 || lo < 0) {
			str_char(out, in.ptr[i]);
			continue;
		}
		str_char(out, (char)(hi * 16 + lo));
		i += 2;
	}
}

/* The two options that are text and no rows of plan.def. */
static bool set_option(struct conn *conn, struct view key, struct view value)
{
	if (view_ieq(key, VIEW("raw"))) {
		percent_decode(&conn->text, value);
		conn->is_raw = true;
		return true;
	}
	struct str text = STR_INIT;
	percent_decode(&text, value);
	bool ok = true;
	if (view_ieq(key, VIEW("header"))) {
		str_view(&conn->extra, str_as_view(&text));
		str_view(&conn->extra, VIEW("\r\n"));
	} else {
		ok = plan_set(&conn->plan, key, str_as_view(&text));
	}
	str_fini(&text);
	return ok;
}

static bool option_is_known(struct view key)
{
	return plan_knows(key) || view_ieq(key, VIEW("raw")) || view_ieq(key, VIEW("header"));
}

static bool next_pair(struct view *query, struct view *key, struct view *value)
{
	while (query->len) {
		ptrdiff_t amp = view_chr(*query, '&');
		size_t n = amp < 0 ? query->len : (size_t)amp;
		struct view pair = view_head(*query, n);
		*query = view_skip(*query, n + 1);
		ptrdiff_t eq = view_chr(pair, '=');
		if (eq <= 0)
			continue;
		*key = view_head(pair, (size_t)eq);
		*value = view_skip(pair, (size_t)eq + 1);
		return true;
	}
	return false;
}

static bool options_from_path(struct conn *conn, struct view path)
{
	if (view_eq(path, VIEW("/echo")))
		conn->plan.echo = 1;
	if (view_starts(path, VIEW("/bytes/")))
		return parse_u64(view_skip(path, strlen("/bytes/")), &conn->plan.body);
	return true;
}

bool options_from_request(struct conn *conn, const struct request *req)
{
	struct view prefix = VIEW("X-App-");
	struct view query = req->query, key, value;
	bool ok = options_from_path(conn, req->path);
	for (size_t i = 0; i < req->n_headers && req->has_options; i++)
		if (view_istarts(req->headers[i].name, prefix))
			ok &= set_option(conn, view_skip(req->headers[i].name, prefix.len),
					 req->headers[i].value);
	while (next_pair(&query, &key, &value))
		/* Requests have other parameters too: only bad values are errors. */
		if (option_is_known(key))
			ok &= set_option(conn, key, value);
	return ok;
}

/* ---- control requests ---- */

static void put_responses(struct json *j, const struct counters *n)
{
	json_key(j, "responses");
	json_object_begin(j);
	for (unsigned status = 0; status < STATUS_MAX; status++) {
		char key[8];
		if (n->responses[status] == 0)
			continue;
		snprintf(key, sizeof(key), "%u", status);
		json_member_u64(j, key, n->responses[status]);
	}
	json_object_end(j);
}

/* Buckets [lower_us, count] of the time that requests took here. */
static void put_took(struct json *j, const struct hist *took)
{
	json_key(j, "took");
	json_array_begin(j);
	struct hist_total total = {0};
	hist_total_add_hist(&total, took);
	for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
		if (total.count[i] == 0)
			continue;
		json_array_begin(j);
		json_u64(j, hist_lower_us(i));
		json_u64(j, total.count[i]);
		json_array_end(j);
	}
	json_array_end(j);
}

static void put_stats(struct str *out, const struct instance *instance)
{
	const struct counters *n = &instance->n;
	struct json j;
	json_init(&j, out, false);
	json_object_begin(&j);
	json_member_text(&j, "name", instance->name);
	json_member_u64(&j, "port", instance->port);
	json_member_u64(&j, "connections", n->connections);
	json_member_u64(&j, "open", instance->open);
	json_member_u64(&j, "requests", n->requests);
	json_member_u64(&j, "in_progress", instance->in_progress);
	json_member_u64(&j, "max_in_progress", n->max_in_progress);
	json_member_u64(&j, "busy", instance->station.n_busy);
	json_member_u64(&j, "queued", instance->station.n_queued);
	json_member_u64(&j, "max_queued", instance->station.max_queued);
	json_member_u64(&j, "shared_queued", instance->server->shared.n_queued);
	json_member_u64(&j, "shared_max_queued", instance->server->shared.max_queued);
	json_member_u64(&j, "bad_requests", n->bad_requests);
	json_member_u64(&j, "aborted", n->aborted);
	json_member_u64(&j, "faults", n->faults);
	json_member_u64(&j, "tunnels", n->tunnels);
	json_member_u64(&j, "bytes_in", n->bytes_in);
	json_member_u64(&j, "bytes_out", n->bytes_out);
	put_responses(&j, n);
	put_took(&j, instance->took);
	json_object_end(&j);
	str_char(out, '\n');
}

static void reset_stats(struct instance *instance)
{
	instance->n = (struct counters){.max_in_progress = instance->in_progress};
	memset(instance->took, 0, sizeof(*instance->took));
	instance->station.max_queued = instance->station.n_queued;
	instance->server->shared.max_queued = instance->server->shared.n_queued;
}

static bool set_defaults(struct instance *instance, struct view query)
{
	struct plan plan = instance->defaults;
	struct view key, value;
	while (next_pair(&query, &key, &value))
		if (!plan_set(&plan, key, value))
			return false;
	instance->defaults = plan;
	instance->station.workers = plan.workers;
	reply_prepare(instance);
	return true;
}

/* The connection was counted when it was accepted: take it back. */
static void uncount(struct conn *conn)
{
	if (conn->is_control || conn->n_requests)
		return;
	conn->is_control = true;
	conn->instance->open--;
	conn->instance->n.connections--;
	conn->instance->n.bytes_in -= conn->n_in;
}

bool control_answer(struct conn *conn, const struct request *req)
{
	struct instance *instance = conn->instance;
	struct str body = STR_INIT;
	unsigned status = 200;
	uncount(conn);
	if (view_eq(req->path, VIEW("/_set")) && !set_defaults(instance, req->query))
		status = 400;
	else if (view_eq(req->path, VIEW("/_reset")))
		reset_stats(instance);
	else if (view_eq(req->path, VIEW("/_go")))
		conns_go(instance);
	else if (!view_eq(req->path, VIEW("/_stats")) && !view_eq(req->path, VIEW("/_set")))
		status = 404;
	put_stats(&body, instance);
	str_printf(&conn->out,
		   "HTTP/1.1 %u Control\r\nContent-Type: application/json\r\n"
		   "Content-Length: %zu\r\n\r\n" VIEW_FMT,
		   status, body.len, VIEW_ARG(str_as_view(&body)));
	str_fini(&body);
	return true;
}
