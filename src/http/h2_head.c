/* SPDX-License-Identifier: MIT */
/* Header blocks become messages; see weir/http/h2.h. */
#include "weir/http/h2.h"

#include "chars.h"
#include "h1_head.h"
#include "header_id.h"
#include "weir/base/check.h"
#include "weir/base/parse.h"
#include "weir/http/field.h"

/* Fields that belong to an HTTP/1 connection: malformed in HTTP/2, RFC 9113 8.2.2. */
#define CONN_FIELDS                                                              \
	(HDR_BIT(CONNECTION) | HDR_BIT(KEEP_ALIVE) | HDR_BIT(PROXY_CONNECTION) | \
	 HDR_BIT(TRANSFER_ENCODING) | HDR_BIT(UPGRADE))

void h2_head_begin(struct h2_head *head, struct message *msg, char *lines,
		   const struct h1_limits *limits, bool trailers)
{
	*head = (struct h2_head){
	    .msg = msg,
	    .lines = lines,
	    .limits = *limits,
	    .why = REJECT_NONE,
	    .trailers = trailers,
	};
	h1_message_reset(msg);
}

static void refuse(struct h2_head *head, enum reject why)
{
	if (head->why == REJECT_NONE)
		head->why = why;
}

/* "name: value\r\n" behind what is there; false when there is no room. */
static bool put_line(struct h2_head *head, struct view name, struct view value, struct header *out)
{
	size_t n = name.len + 2 + value.len + 2;
	if (n > H2_LINES_MAX - head->len)
		return false;
	char *p = head->lines + head->len;
	memcpy(p, name.ptr, name.len);
	memcpy(p + name.len, ": ", 2);
	if (value.len)
		memcpy(p + name.len + 2, value.ptr, value.len);
	memcpy(p + n - 2, "\r\n", 2);
	head->len += n;
	*out = (struct header){
	    .name = view_of(p, name.len),
	    .value = view_of(p + name.len + 2, value.len),
	    .line_len = (uint32_t)n,
	};
	return true;
}

static bool is_clean(struct view value)
{
	if (view_is_empty(value))
		return true;
	const char *end = value.ptr + value.len;
	return scan_value(value.ptr, value.ptr, end) == end && value.ptr[0] != ' ' &&
	       value.ptr[0] != '\t' && end[-1] != ' ' && end[-1] != '\t';
}

/* A token in lower case. */
static bool is_name(struct view name)
{
	if (name.len == 0)
		return false;
	for (size_t i = 0; i < name.len; i++)
		if (!char_is(name.ptr[i], CHAR_TOKEN) || (name.ptr[i] >= 'A' && name.ptr[i] <= 'Z'))
			return false;
	return true;
}

static void add_pseudo(struct h2_head *head, const struct header *line)
{
	static const struct {
		struct view name;
		uint8_t bit;
		size_t at;
	} rows[] = {
	    {VIEW(":method"), H2_METHOD, offsetof(struct h2_head, method)},
	    {VIEW(":scheme"), H2_SCHEME, offsetof(struct h2_head, scheme)},
	    {VIEW(":authority"), H2_AUTHORITY, offsetof(struct h2_head, authority)},
	    {VIEW(":path"), H2_PATH, offsetof(struct h2_head, path)},
	    {VIEW(":protocol"), H2_PROTOCOL, offsetof(struct h2_head, protocol)},
	    {VIEW(":status"), H2_STATUS, offsetof(struct h2_head, status)},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!view_eq(line->name, rows[i].name))
			continue;
		if ((head->pseudo & rows[i].bit) || head->regular || head->trailers)
			refuse(head, REJECT_BAD_HEADER_NAME);
		head->pseudo |= rows[i].bit;
		*(struct view *)(void *)((char *)head + rows[i].at) = line->value;
		return;
	}
	refuse(head, REJECT_BAD_HEADER_NAME);
}

/* What some fields mean for the message. */
static void field_meaning(struct h2_head *head, struct header *line)
{
	switch (line->id) {
	case HDR_HOST:
		if (head->host.ptr)
			refuse(head, REJECT_MANY_HOSTS);
		head->host = line->value;
		break;
	case HDR_CONTENT_LENGTH:
		if (head->length.ptr)
			refuse(head, REJECT_MANY_LENGTHS);
		while (line->value.len > 1 && line->value.ptr[0] == '0') {
			line->value = view_skip(line->value, 1); /* written anew */
			line->line_len = 0;
		}
		head->length = line->value;
		break;
	case HDR_COOKIE:
		head->n_cookies++;
		break;
	case HDR_EXPECT:
		if (!view_ieq(line->value, VIEW("100-continue")))
			refuse(head, REJECT_BAD_EXPECT);
		head->msg->expect_continue = true;
		break;
	default:
		if (CONN_FIELDS >> line->id & 1)
			refuse(head, REJECT_BAD_HEADER_NAME);
	}
}

static void add_regular(struct h2_head *head, struct header *line)
{
	struct message *msg = head->msg;
	head->regular = true;
	if (!is_name(line->name)) {
		refuse(head, REJECT_BAD_HEADER_NAME);
		return;
	}
	if (msg->n_headers == head->limits.n_headers || msg->n_headers == HEADERS_MAX) {
		refuse(head, REJECT_TOO_MANY_HEADERS);
		return;
	}
	line->id = (uint8_t)hdr_of_token(line->name);
	if (line->id == HDR_OTHER && memchr(line->name.ptr, '_', line->name.len)) {
		line->drop = true;
		msg->n_underscore++;
	}
	if (line->id != HDR_OTHER || line->name.ptr[0] == 'x')
		msg->ids |= UINT64_C(1) << line->id;
	if (line->id != HDR_OTHER && !head->trailers)
		field_meaning(head, line);
	msg->headers[msg->n_headers++] = *line;
}

bool h2_head_add(struct h2_head *head, struct view name, struct view value)
{
	struct header line;
	head->size += name.len + value.len;
	if (head->size > (size_t)H2_LIST_FACTOR * head->limits.head_bytes)
		return false;
	if (head->why != REJECT_NONE)
		return true;
	if (head->size > head->limits.head_bytes)
		refuse(head, REJECT_HEAD_TOO_LARGE);
	else if (name.len + value.len > head->limits.line_bytes)
		refuse(head, view_eq(name, VIEW(":path")) ? REJECT_TARGET_TOO_LONG
							  : REJECT_LINE_TOO_LONG);
	else if (name.len == 0)
		refuse(head, REJECT_BAD_HEADER_NAME);
	else if (!is_clean(value))
		refuse(head, REJECT_BAD_HEADER_VALUE);
	else if (!put_line(head, name, value, &line))
		refuse(head, REJECT_HEAD_TOO_LARGE);
	else if (name.ptr[0] == ':')
		add_pseudo(head, &line);
	else
		add_regular(head, &line);
	return true;
}

void h2_head_never(struct h2_head *head, struct view name)
{
	head->never |= UINT64_C(1) << hdr_lookup(name);
}

void h2_head_again(struct h2_head *head, struct message *msg, struct view kept)
{
	struct h2_head old = *head;
	h2_head_begin(head, msg, old.lines, &old.limits, old.trailers);
	while (kept.len) {
		/* a pseudo name begins with a colon, and no value has a CR */
		const char *cr = memchr(kept.ptr, '\r', kept.len);
		const char *colon = memchr(kept.ptr + 1, ':', kept.len - 1);
		check(cr && colon && colon < cr);
		struct view name = view_of(kept.ptr, (size_t)(colon - kept.ptr));
		check(h2_head_add(head, name, view_of(colon + 2, (size_t)(cr - colon - 2))));
		kept = view_skip(kept, (size_t)(cr + 2 - kept.ptr));
	}
	head->size = old.size;
	head->why = old.why;
	head->never = old.never;
}

/* ---- requests ---- */

/* Crumbs of Cookie (RFC 9113 8.2.3) become one field. */
static bool join_cookies(struct h2_head *head)
{
	struct message *msg = head->msg;
	size_t len = 0;
	char *begin = head->lines + head->len;
	struct header joined = {.id = HDR_COOKIE};
	for (uint32_t i = 0; i < msg->n_headers; i++)
		if (msg->headers[i].id == HDR_COOKIE)
			len += msg->headers[i].value.len + 2;
	if (len + 10 > H2_LINES_MAX - head->len)
		return false;
	char *p = (char *)memcpy(begin, "cookie: ", 8) + 8;
	uint32_t last = 0;
	for (uint32_t i = 0; i < msg->n_headers; i++) {
		struct header *hdr = &msg->headers[i];
		if (hdr->id != HDR_COOKIE)
			continue;
		memcpy(p, hdr->value.ptr, hdr->value.len);
		p += hdr->value.len;
		p = (char *)memcpy(p, "; ", 2) + 2;
		hdr->drop = true;
		hdr->id = HDR_OTHER; /* nobody is to find the crumbs again */
		last = i;
	}
	joined.name = view_of(begin, 6);
	joined.value = view_of(begin + 8, len - 2);
	memcpy(begin + 8 + len - 2, "\r\n", 2);
	joined.line_len = (uint32_t)(8 + len);
	head->len += joined.line_len;
	msg->headers[last] = joined;
	return true;
}

/* A line of ours behind the client's. */
static bool append_line(struct h2_head *head, enum hdr_id id, struct view name, struct view value)
{
	struct message *msg = head->msg;
	struct header line;
	if (msg->n_headers == HEADERS_MAX || !put_line(head, name, value, &line))
		return false;
	line.id = (uint8_t)id;
	msg->ids |= UINT64_C(1) << id;
	msg->headers[msg->n_headers++] = line;
	return true;
}

static enum reject target_meaning(struct h2_head *head)
{
	struct message *msg = head->msg;
	if (view_is_empty(head->path)) /* or none at all */
		return REJECT_BAD_TARGET;
	const char *end = head->path.ptr + head->path.len;
	if (scan_target(head->path.ptr, head->path.ptr, end) != end)
		return REJECT_BAD_TARGET;
	bool star = view_eq(head->path, VIEW("*"));
	if (star ? msg->method != METHOD_OPTIONS : head->path.ptr[0] != '/')
		return REJECT_BAD_TARGET;
	msg->target = msg->path = head->path;
	msg->scheme = head->scheme;
	return REJECT_NONE;
}

/* Host and :authority say the same, and there is one of them. */
static enum reject authority_meaning(struct h2_head *head)
{
	struct view host;
	uint16_t port;
	struct view authority = head->authority.len ? head->authority : head->host;
	if (authority.len == 0)
		return REJECT_NO_HOST;
	if (!authority_split(authority, &host, &port))
		return REJECT_BAD_HOST;
	if (head->host.ptr && head->authority.len &&
	    !authority_is_same(head->host, head->authority, head->scheme))
		return REJECT_HOST_MISMATCH;
	head->msg->authority = authority_plain(authority);
	return REJECT_NONE;
}

static enum reject method_meaning(struct h2_head *head, struct view key)
{
	struct message *msg = head->msg;
	if (!head->method.len)
		return REJECT_BAD_METHOD;
	for (size_t i = 0; i < head->method.len; i++)
		if (!char_is(head->method.ptr[i], CHAR_TOKEN))
			return REJECT_BAD_METHOD;
	msg->method_text = head->method;
	msg->method = method_of(head->method);
	if (msg->method != METHOD_CONNECT)
		return head->protocol.ptr ? REJECT_BAD_METHOD : REJECT_NONE;
	if (!view_ieq(head->protocol, VIEW("websocket")))
		return REJECT_CONNECT_REFUSED;
	msg->method_text = VIEW("GET");
	msg->method = METHOD_GET;
	msg->upgrade = true;
	if (!append_line(head, HDR_UPGRADE, VIEW("Upgrade"), VIEW("websocket")) ||
	    !append_line(head, HDR_OTHER, VIEW("Sec-WebSocket-Key"), key))
		return REJECT_HEAD_TOO_LARGE;
	return REJECT_NONE;
}

static enum reject body_meaning(struct h2_head *head, bool end)
{
	struct message *msg = head->msg;
	uint64_t length = 0;
	if (head->length.ptr && (!parse_u64(head->length, &length) || length > INT64_MAX))
		return REJECT_BAD_LENGTH;
	if (msg->upgrade) /* what follows is no body */
		return head->length.ptr ? REJECT_BAD_LENGTH : REJECT_NONE;
	if (end)
		return length ? REJECT_BAD_LENGTH : REJECT_NONE;
	if (head->length.ptr && length == 0)
		return REJECT_NONE;
	msg->body = head->length.ptr ? BODY_LENGTH : BODY_CHUNKED;
	msg->content_length = length;
	return REJECT_NONE;
}

enum reject h2_head_request(struct h2_head *head, bool end, struct view key)
{
	struct message *msg = head->msg;
	enum reject why = head->why;
	msg->h2 = true;
	msg->version_minor = 1;
	msg->keep_alive = true;
	msg->head_len = head->size;
	msg->never = head->never;
	if (why == REJECT_NONE && (head->pseudo & H2_STATUS))
		why = REJECT_BAD_HEADER_NAME;
	if (why == REJECT_NONE)
		why = method_meaning(head, key);
	if (why == REJECT_NONE)
		why = target_meaning(head);
	if (why == REJECT_NONE)
		why = authority_meaning(head);
	if (why == REJECT_NONE)
		why = body_meaning(head, end);
	if (why == REJECT_NONE && head->n_cookies > 1 && !join_cookies(head))
		why = REJECT_HEAD_TOO_LARGE;
	return why;
}

/* What the decoder keeps (SETTINGS_HEADER_TABLE_SIZE is the default). */
#define TABLE_BYTES 4096
/* Huffman codes have 5 bits at the least; a block that is small may use the static table. */
#define UNPACKED(block) (2 * (block) + 1024)

uint32_t h2_head_weight(const struct h2_head *head, uint32_t block)
{
	size_t own = TABLE_BYTES + UNPACKED((size_t)block);
	size_t repeated = head->size > own ? head->size - own : 0;
	return (uint32_t)(head->size + repeated * (H2_REPEATED_WEIGHT - 1));
}

enum reject h2_head_trailers(struct h2_head *head)
{
	struct message *msg = head->msg;
	msg->never = head->never;
	for (uint32_t i = 0; i < msg->n_headers; i++)
		if (field_traits(&msg->headers[i]) & FIELD_HEAD)
			msg->headers[i].drop = true;
	return head->why;
}
