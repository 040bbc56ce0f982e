/* SPDX-License-Identifier: MIT */
#include "request.h"

#include "weir/base/parse.h"

#define HEAD_MAX 65536

static bool has_token(struct view list, struct view token)
{
	struct view each;
	while (view_next_token(&list, &each))
		if (view_ieq(each, token))
			return true;
	return false;
}

static void split_target(struct request *req)
{
	ptrdiff_t mark = view_chr(req->target, '?');
	req->path = req->target;
	req->query = VIEW_NONE;
	if (mark >= 0) {
		req->path = view_head(req->target, (size_t)mark);
		req->query = view_skip(req->target, (size_t)mark + 1);
		req->has_options = true;
	}
}

static bool parse_request_line(struct view line, struct request *req)
{
	ptrdiff_t space = view_chr(line, ' ');
	if (space <= 0)
		return false;
	req->method = view_head(line, (size_t)space);
	struct view rest = view_skip(line, (size_t)space + 1);
	space = view_chr(rest, ' ');
	if (space <= 0)
		return false;
	req->target = view_head(rest, (size_t)space);
	struct view version = view_skip(rest, (size_t)space + 1);
	req->http10 = view_eq(version, VIEW("HTTP/1.0"));
	req->keep_alive = !req->http10;
	req->is_head = view_eq(req->method, VIEW("HEAD"));
	split_target(req);
	return req->http10 || view_eq(version, VIEW("HTTP/1.1"));
}

static bool take_framing(struct request *req, struct view name, struct view value)
{
	bool is_length = view_ieq(name, VIEW("content-length"));
	if (!is_length && !view_ieq(name, VIEW("transfer-encoding")))
		return true;
	if (req->body != REQUEST_BODY_NONE)
		return false; /* twice, or both: weir must never forward it */
	if (is_length) {
		req->body = REQUEST_BODY_LENGTH;
		return parse_u64(value, &req->content_length);
	}
	req->body = REQUEST_BODY_CHUNKED;
	return view_ieq(value, VIEW("chunked"));
}

static void take_connection(struct request *req, struct view value)
{
	if (has_token(value, VIEW("close")))
		req->keep_alive = false;
	else if (has_token(value, VIEW("keep-alive")))
		req->keep_alive = true;
	if (has_token(value, VIEW("upgrade")))
		req->wants_upgrade = true;
}

static bool take_header(struct request *req, struct view name, struct view value)
{
	/* Lengths sort out nearly every header without comparing names. */
	switch (name.len) {
	case 6:
		if (view_ieq(name, VIEW("expect")))
			req->expect_continue = view_ieq(value, VIEW("100-continue"));
		break;
	case 7:
		if (view_ieq(name, VIEW("upgrade")))
			req->upgrade = value;
		break;
	case 10:
		if (view_ieq(name, VIEW("connection")))
			take_connection(req, value);
		break;
	case 14:
	case 17:
		if (!take_framing(req, name, value))
			return false;
		if (view_ieq(name, VIEW("sec-websocket-key")))
			req->websocket_key = value;
		break;
	default:
		break;
	}
	if (view_istarts(name, VIEW("x-app-")))
		req->has_options = true;
	return true;
}

static bool parse_header(struct view line, struct request *req)
{
	ptrdiff_t colon = view_chr(line, ':');
	if (colon <= 0 || req->n_headers == REQUEST_HEADERS_MAX)
		return false;
	struct view name = view_head(line, (size_t)colon);
	struct view value = view_trim(view_skip(line, (size_t)colon + 1));
	if (view_chr(name, ' ') >= 0 || view_chr(name, '\t') >= 0)
		return false;
	req->headers[req->n_headers].name = name;
	req->headers[req->n_headers++].value = value;
	return take_header(req, name, value);
}

enum request_result request_parse(struct view in, struct request *req)
{
	const char *end = memmem(in.ptr, in.len, "\r\n\r\n", 4);
	if (!end)
		return in.len > HEAD_MAX ? REQUEST_BAD : REQUEST_MORE;
	/* All before the table of headers, which n_headers covers. */
	memset(req, 0, offsetof(struct request, headers));
	req->head_len = (size_t)(end - in.ptr) + 4;
	const char *at = in.ptr;
	while (at < end + 2) {
		const char *eol = memchr(at, '\r', (size_t)(end + 2 - at));
		if (!eol || eol[1] != '\n')
			return REQUEST_BAD;
		struct view line = view_of(at, (size_t)(eol - at));
		if (at == in.ptr ? !parse_request_line(line, req) : !parse_header(line, req))
			return REQUEST_BAD;
		at = eol + 2;
	}
	return REQUEST_OK;
}
