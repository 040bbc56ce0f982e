/* SPDX-License-Identifier: MIT */
/*
 * Field lines (RFC 9112 5) and the fields that frame a message (6): read in
 * place, strictly, without a second pass.
 */
#include "h1_head.h"

#include "chars.h"
#include "weir/base/parse.h"

/* ---- lines ---- */

enum h1_result h1_line_end(struct h1_head *head, const char *line, const char *p,
			   enum reject control)
{
	if (unlikely((size_t)(p - line) > head->line_bytes))
		return h1_head_bad(head, head->too_long);
	if (likely(head->end - p >= 2 && p[0] == '\r' && p[1] == '\n')) {
		head->pos = p + 2;
		return H1_OK;
	}
	if (p == head->end)
		return H1_MORE;
	if (*p == '\n')
		return h1_head_bad(head, REJECT_BARE_LF);
	if (*p != '\r')
		return h1_head_bad(head, control);
	return head->end - p == 1 ? H1_MORE : h1_head_bad(head, REJECT_BARE_CR);
}

/* The token that began at `line` ended at `p`, but not with a colon. */
static enum h1_result name_verdict(struct h1_head *head, const char *line, const char *p)
{
	if (p < head->end && (*p == ' ' || *p == '\t') && (size_t)(p - line) <= head->line_bytes)
		return h1_head_bad(head, p == line ? REJECT_OBS_FOLD : REJECT_SPACE_BEFORE_COLON);
	enum h1_result result = h1_line_end(head, line, p, REJECT_BAD_HEADER_NAME);
	/* a line without a colon, properly ended */
	return result == H1_OK ? h1_head_bad(head, REJECT_BAD_HEADER_NAME) : result;
}

enum h1_result h1_field_read(struct h1_head *head, struct header *hdr)
{
	const char *line = head->pos;
	const char *colon = scan_name(head->base, line, head->end);
	bool plain = colon < head->end && *colon == ':';
	if (unlikely(!plain))
		colon = scan_token(head->base, colon, head->end);
	if (unlikely(colon == head->end || *colon != ':' || colon == line)) {
		hdr->name = VIEW_NONE;
		/* the blank line is the usual reason to be here */
		if (colon == line && colon < head->end && *colon == '\r')
			return h1_line_end(head, line, colon, REJECT_BARE_CR);
		return name_verdict(head, line, colon);
	}
	const char *value = colon + 1;
	const char *stop = scan_value(head->base, value, head->end);
	enum h1_result result = h1_line_end(head, line, stop, REJECT_BAD_HEADER_VALUE);
	if (unlikely(result != H1_OK))
		return result;
	hdr->name = view_of(line, (size_t)(colon - line));
	hdr->line_len = (uint32_t)(head->pos - line);
	/* CGI would make the same variable of X_A and X-A */
	hdr->drop = !plain && memchr(line, '_', hdr->name.len);
	while (value < stop && (*value == ' ' || *value == '\t'))
		value++;
	while (stop > value && (stop[-1] == ' ' || stop[-1] == '\t'))
		stop--;
	hdr->value = view_of(value, (size_t)(stop - value));
	return H1_OK;
}

/* ---- meaning ---- */

static enum h1_result length_meaning(struct h1_head *head, struct view value)
{
	if (head->seen & HDR_BIT(CONTENT_LENGTH))
		return h1_head_bad(head, REJECT_MANY_LENGTHS);
	/* half the range, so that sums of lengths cannot wrap */
	if (!parse_u64(value, &head->length) || head->length > INT64_MAX)
		return h1_head_bad(head, REJECT_BAD_LENGTH);
	if (head->seen & HDR_BIT(TRANSFER_ENCODING))
		return h1_head_bad(head, REJECT_LENGTH_AND_CODING);
	return H1_OK;
}

static bool is_token(struct view v)
{
	for (size_t i = 0; i < v.len; i++)
		if (!char_is(v.ptr[i], CHAR_TOKEN))
			return false;
	return v.len > 0;
}

/* "xchunked", "chunked;q=1", "chunked-": meant to be read as chunked by somebody else. */
static bool resembles_chunked(struct view coding)
{
	const struct view chunked = VIEW("chunked");
	for (; coding.len >= chunked.len; coding = view_skip(coding, 1))
		if (view_istarts(coding, chunked))
			return true;
	return false;
}

/* Why a Transfer-Encoding that is not a lone "chunked" is refused. */
static enum reject coding_verdict(struct view value)
{
	struct view coding;
	bool unknown = false;
	while (view_next_token(&value, &coding)) {
		bool last = view_is_empty(value);
		bool chunked = view_ieq(coding, VIEW("chunked"));
		if (chunked ? !last : !is_token(coding) || resembles_chunked(coding))
			return REJECT_BAD_CODING;
		unknown |= !chunked;
	}
	return unknown ? REJECT_CODING_UNKNOWN : REJECT_BAD_CODING;
}

static enum h1_result coding_meaning(struct h1_head *head, const struct message *msg,
				     struct view value)
{
	if (msg->version_minor == 0)
		return h1_head_bad(head, REJECT_CODING_IN_HTTP10);
	if (head->seen & HDR_BIT(TRANSFER_ENCODING))
		return h1_head_bad(head, REJECT_BAD_CODING);
	if (!view_ieq(value, VIEW("chunked")))
		return h1_head_bad(head, coding_verdict(value));
	if (head->seen & HDR_BIT(CONTENT_LENGTH))
		return h1_head_bad(head, REJECT_LENGTH_AND_CODING);
	return H1_OK;
}

static enum h1_result connection_meaning(struct h1_head *head, struct view value)
{
	struct view option;
	while (view_next_token(&value, &option)) {
		if (++head->n_conn_options > CONN_OPTIONS_MAX)
			return h1_head_bad(head, REJECT_BAD_CONNECTION);
		if (view_ieq(option, VIEW("keep-alive")))
			head->conn |= CONN_KEEP_ALIVE;
		else if (view_ieq(option, VIEW("close")))
			head->conn |= CONN_CLOSE;
		else if (view_ieq(option, VIEW("upgrade")))
			head->conn |= CONN_UPGRADE;
	}
	return H1_OK;
}

static void upgrade_meaning(struct h1_head *head, struct view value)
{
	struct view protocol;
	while (view_next_token(&value, &protocol))
		if (view_ieq(protocol, VIEW("h2c")))
			head->h2c = true;
}

static enum h1_result host_meaning(struct h1_head *head, struct message *msg, struct view value)
{
	struct view host;
	uint16_t port;
	if (head->seen & HDR_BIT(HOST))
		return h1_head_bad(head, REJECT_MANY_HOSTS);
	if (!authority_split(value, &host, &port))
		return h1_head_bad(head, REJECT_BAD_HOST);
	/* the authority of an absolute form stays: they must agree, judged at the end */
	if (view_is_empty(msg->authority))
		msg->authority = value;
	head->host = value;
	return H1_OK;
}

static enum h1_result expect_meaning(struct h1_head *head, struct message *msg, struct view value)
{
	if (!view_ieq(value, VIEW("100-continue")))
		return h1_head_bad(head, REJECT_BAD_EXPECT);
	/* an HTTP/1.0 client cannot mean it, RFC 9110 10.1.1 */
	msg->expect_continue = msg->version_minor > 0;
	return H1_OK;
}

static enum h1_result field_meaning(struct h1_head *head, struct message *msg,
				    const struct header *hdr)
{
	enum h1_result result = H1_OK;
	switch (hdr->id) {
	case HDR_CONTENT_LENGTH:
		result = length_meaning(head, hdr->value);
		break;
	case HDR_TRANSFER_ENCODING:
		result = coding_meaning(head, msg, hdr->value);
		break;
	case HDR_CONNECTION:
		result = connection_meaning(head, hdr->value);
		break;
	case HDR_UPGRADE:
		upgrade_meaning(head, hdr->value);
		break;
	case HDR_HOST:
		if (head->is_request)
			result = host_meaning(head, msg, hdr->value);
		break;
	case HDR_EXPECT:
		if (head->is_request)
			result = expect_meaning(head, msg, hdr->value);
		break;
	}
	head->seen |= UINT64_C(1) << hdr->id;
	return result;
}

enum h1_result h1_fields_read(struct h1_head *head, struct message *msg)
{
	for (;;) {
		struct header *hdr = &msg->headers[msg->n_headers];
		struct header beyond;
		if (unlikely(msg->n_headers == head->n_headers_max))
			hdr = &beyond;
		enum h1_result result = h1_field_read(head, hdr);
		if (result != H1_OK || !hdr->name.ptr)
			return result;
		if (unlikely(hdr == &beyond))
			return h1_head_bad(head, REJECT_TOO_MANY_HEADERS);
		hdr->id = (uint8_t)hdr_of_token(hdr->name);
		msg->n_headers++;
		msg->n_underscore += hdr->drop;
		if (hdr->id == HDR_OTHER)
			continue;
		result = field_meaning(head, msg, hdr);
		if (unlikely(result != H1_OK))
			return result;
	}
}

/* ---- the whole ---- */

void h1_connection_meaning(const struct h1_head *head, struct message *msg)
{
	bool wants_more = msg->version_minor > 0 || (head->conn & CONN_KEEP_ALIVE);
	msg->keep_alive = wants_more && !(head->conn & CONN_CLOSE);
	/*
	 * Not in HTTP/1.0 (RFC 9110 7.8).  h2c is not offered on: a tunnel of
	 * HTTP/2 would carry requests past every rule of ours.
	 */
	msg->upgrade = msg->version_minor > 0 && (head->conn & CONN_UPGRADE) &&
		       (head->seen & HDR_BIT(UPGRADE)) && !head->h2c;
}

enum h1_result h1_verdict(const struct h1_head *head, enum h1_result result, struct view in,
			  const struct h1_limits *limits, enum reject *why)
{
	*why = REJECT_NONE;
	if (result == H1_BAD) {
		*why = head->why;
	} else if (result == H1_MORE && in.len >= limits->head_bytes) {
		*why = REJECT_HEAD_TOO_LARGE;
		result = H1_BAD;
	}
	return result;
}

void h1_message_reset(struct message *msg)
{
	msg->method_text = msg->target = msg->scheme = msg->authority = msg->path = VIEW_NONE;
	msg->method = METHOD_OTHER;
	msg->status = 0;
	msg->reason = VIEW_NONE;
	msg->version_minor = 0;
	msg->body = BODY_NONE;
	msg->content_length = 0;
	msg->keep_alive = msg->upgrade = msg->expect_continue = false;
	msg->head_len = 0;
	msg->n_underscore = 0;
	msg->n_headers = 0;
}

bool h1_head_may_be_complete(struct view in, size_t seen, const struct h1_limits *limits)
{
	if (in.len >= limits->head_bytes)
		return true;
	const char *end = in.ptr + in.len;
	/* a CRLFCRLF may have begun in the last three bytes seen */
	const char *p = in.ptr + (seen < 3 ? 0 : seen - 3);
	for (; (p = scan_value(in.ptr, p, end)) < end; p += 2) {
		if (end - p == 1 && *p == '\r')
			break;
		/*
		 * The region begins anywhere in a CRLF, so an LF is judged by
		 * the byte before it.
		 */
		if (*p == '\n' && p > in.ptr && p[-1] == '\r') {
			p--;
			continue;
		}
		if (*p != '\r' || p[1] != '\n')
			return true;
		if (end - p >= 4 && p[2] == '\r' && p[3] == '\n')
			return true;
	}
	if (in.len <= limits->line_bytes)
		return false;
	const char *last = memrchr(in.ptr, '\n', in.len);
	return (size_t)(end - (last ? last + 1 : in.ptr)) > limits->line_bytes;
}
