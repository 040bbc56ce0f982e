/* SPDX-License-Identifier: MIT */
/*
 * Request heads (RFC 9112 3): the request line, the four forms of a target, and
 * what must hold between target and Host.
 */
#include "h1_head.h"

/* ---- method ---- */

static enum h1_result read_method(struct h1_head *head, struct message *msg)
{
	const char *begin = head->pos;
	const char *p = scan_token(head->base, begin, head->end);
	if ((size_t)(p - begin) > head->line_bytes)
		return h1_head_bad(head, head->too_long);
	if (p == head->end)
		return H1_MORE;
	if (p == begin && (*p == '\r' || *p == ' '))
		return h1_head_bad(head, REJECT_BAD_REQUEST_LINE);
	if (*p != ' ' || p == begin) {
		enum h1_result result = h1_line_end(head, begin, p, REJECT_BAD_METHOD);
		return result == H1_OK ? h1_head_bad(head, REJECT_BAD_REQUEST_LINE) : result;
	}
	msg->method_text = view_of(begin, (size_t)(p - begin));
	msg->method = method_of(msg->method_text);
	if (msg->method == METHOD_CONNECT)
		return h1_head_bad(head, REJECT_CONNECT_REFUSED);
	head->pos = p + 1;
	return H1_OK;
}

/* ---- target ---- */

/* "http://host:port/path?query" into scheme, authority and path. */
static bool split_absolute(struct message *msg)
{
	struct view rest = msg->target, host;
	uint16_t port;
	ptrdiff_t colon = view_chr(rest, ':');
	msg->scheme = view_head(rest, colon < 0 ? 0 : (size_t)colon);
	if (!view_ieq(msg->scheme, VIEW("http")) && !view_ieq(msg->scheme, VIEW("https")))
		return false;
	rest = view_skip(rest, msg->scheme.len);
	if (!view_starts(rest, VIEW("://")))
		return false;
	rest = view_skip(rest, 3);
	size_t n = 0;
	while (n < rest.len && rest.ptr[n] != '/' && rest.ptr[n] != '?')
		n++;
	msg->authority = view_head(rest, n);
	msg->path = view_skip(rest, n);
	if (!authority_split(msg->authority, &host, &port))
		return false;
	msg->authority = authority_plain(msg->authority);
	/* "http://host" means "/", or "*" with OPTIONS (RFC 9112 3.2.4) */
	if (view_is_empty(msg->path))
		msg->path = msg->method == METHOD_OPTIONS ? VIEW("*") : VIEW("/");
	/* "http://host?query" would need a '/' that is not there */
	return msg->path.ptr[0] != '?';
}

static bool split_target(struct message *msg)
{
	struct view target = msg->target;
	if (target.ptr[0] == '/') {
		msg->path = target;
		return true;
	}
	if (target.ptr[0] == '*') {
		msg->path = target;
		return target.len == 1 && msg->method == METHOD_OPTIONS;
	}
	return split_absolute(msg);
}

/* What stands where the target should end with a space. */
static enum h1_result target_verdict(struct h1_head *head, const char *line, const char *p,
				     bool empty)
{
	enum reject why =
	    empty && p < head->end && *p == ' ' ? REJECT_BAD_REQUEST_LINE : REJECT_BAD_TARGET;
	enum h1_result result = h1_line_end(head, line, p, why);
	if (result != H1_OK)
		return result;
	return h1_head_bad(head, empty ? REJECT_BAD_REQUEST_LINE : REJECT_HTTP09);
}

static enum h1_result read_target(struct h1_head *head, struct message *msg, const char *line)
{
	const char *begin = head->pos;
	const char *p = scan_target(head->base, begin, head->end);
	if (unlikely(p == head->end || *p != ' ' || p == begin ||
		     (size_t)(p - line) > head->line_bytes))
		return target_verdict(head, line, p, p == begin);
	msg->target = view_of(begin, (size_t)(p - begin));
	head->pos = p + 1;
	return H1_OK;
}

/* ---- version ---- */

/* "HTTP/1.1" and the end of the line, byte by byte: the slow and exact way. */
static enum h1_result version_verdict(struct h1_head *head, struct message *msg, const char *line)
{
	static const char form[] = "HTTP/d.d";
	const char *p = head->pos;
	for (const char *f = form; *f; f++, p++) {
		if (p == head->end || (size_t)(p - line) > head->line_bytes)
			return h1_line_end(head, line, p, REJECT_BAD_VERSION);
		if (*f == 'd' ? !char_is_digit(*p) : *p != *f)
			return h1_head_bad(head, REJECT_BAD_VERSION);
	}
	if ((size_t)(p - line) <= head->line_bytes && p[-3] != '1')
		return h1_head_bad(head, REJECT_VERSION_UNSUPPORTED);
	/* a later minor version is compatible, RFC 9110 2.5 */
	msg->version_minor = p[-1] != '0';
	return h1_line_end(head, line, p, REJECT_BAD_VERSION);
}

static enum h1_result read_version(struct h1_head *head, struct message *msg, const char *line)
{
	const char *p = head->pos;
	if (unlikely(head->end - p < 10 || memcmp(p, "HTTP/1.1\r\n", 10) != 0))
		return version_verdict(head, msg, line);
	msg->version_minor = 1;
	if (unlikely((size_t)(p + 8 - line) > head->line_bytes))
		return h1_line_end(head, line, p + 8, REJECT_BAD_VERSION);
	head->pos = p + 10;
	return H1_OK;
}

static enum h1_result read_request_line(struct h1_head *head, struct message *msg)
{
	const char *line = head->pos;
	enum h1_result result = read_method(head, msg);
	if (result == H1_OK)
		result = read_target(head, msg, line);
	if (result == H1_OK)
		result = read_version(head, msg, line);
	/* judged after the version, so that a preface of HTTP/2 gets 505 */
	if (result == H1_OK && !split_target(msg))
		result = h1_head_bad(head, REJECT_BAD_TARGET);
	return result;
}

/* ---- the head ---- */

static enum h1_result skip_empty_line(struct h1_head *head)
{
	if (head->pos == head->end)
		return H1_MORE;
	if (likely(*head->pos != '\r' && *head->pos != '\n'))
		return H1_OK;
	return h1_line_end(head, head->pos, head->pos, REJECT_BAD_REQUEST_LINE);
}

static enum h1_result finish_request(struct h1_head *head, struct message *msg)
{
	if (!(head->seen & HDR_BIT(HOST))) {
		if (msg->version_minor > 0)
			return h1_head_bad(head, REJECT_NO_HOST);
	} else if (!view_is_empty(msg->scheme) &&
		   !authority_is_same(msg->authority, head->host, msg->scheme)) {
		return h1_head_bad(head, REJECT_HOST_MISMATCH);
	}
	if (head->seen & HDR_BIT(TRANSFER_ENCODING)) {
		msg->body = BODY_CHUNKED;
	} else if (head->length > 0) {
		msg->body = BODY_LENGTH;
		msg->content_length = head->length;
	}
	h1_connection_meaning(head, msg);
	msg->head_len = (size_t)(head->pos - head->base);
	return H1_OK;
}

static inline enum h1_result read_head(struct h1_head *head, struct message *msg)
{
	h1_message_reset(msg);
	head->too_long = REJECT_TARGET_TOO_LONG;
	enum h1_result result = skip_empty_line(head);
	if (result == H1_OK)
		result = read_request_line(head, msg);
	head->too_long = REJECT_LINE_TOO_LONG;
	if (result == H1_OK)
		result = h1_fields_read(head, msg);
	return result == H1_OK ? finish_request(head, msg) : result;
}

enum h1_result h1_parse_request(struct view in, const struct h1_limits *limits, struct message *msg,
				enum reject *why)
{
	struct h1_head head = h1_head_init(in, limits, true);
	return h1_verdict(&head, read_head(&head, msg), in, limits, why);
}

enum h1_result h1_parse_own_request(struct view in, struct message *msg, enum reject *why)
{
	static const struct h1_limits any = {UINT32_MAX, UINT32_MAX, HEADERS_MAX};
	struct h1_head head = h1_head_init(in, &any, true);
	head.drops_underscore = false;
	return h1_verdict(&head, read_head(&head, msg), in, &any, why);
}
