/* SPDX-License-Identifier: MIT */
/* Response heads: the status line (RFC 9112 4) and how the body ends (6.3). */
#include "h1_head.h"

/* The byte at form[i] of a status line: 'd' is a digit, all else itself. */
static const char form[] = "HTTP/d.d ddd";
#define FORM_LEN (sizeof(form) - 1)
#define MAJOR_AT 5
#define MINOR_AT 7
#define STATUS_AT 9

static unsigned digit(char c)
{
	return (unsigned)(c - '0');
}

static bool are_digits(const char *p)
{
	return char_is_digit(p[0]) && char_is_digit(p[1]) && char_is_digit(p[2]);
}

/* Up to the status digits; a verdict as soon as a byte is wrong. */
static enum h1_result read_status(struct h1_head *head, struct message *msg)
{
	const char *line = head->pos;
	bool usual = head->end - line >= (ptrdiff_t)FORM_LEN &&
		     memcmp(line, "HTTP/1.1 ", STATUS_AT) == 0 && are_digits(line + STATUS_AT);
	for (size_t i = usual ? FORM_LEN : 0; i < FORM_LEN; i++) {
		if (line + i == head->end)
			return H1_MORE;
		if (form[i] == 'd' ? !char_is_digit(line[i]) : line[i] != form[i])
			return h1_head_bad(head, REJECT_BAD_STATUS_LINE);
		if (i == MINOR_AT && line[MAJOR_AT] != '1')
			return h1_head_bad(head, REJECT_VERSION_UNSUPPORTED);
	}
	const char *s = line + STATUS_AT;
	msg->status = (uint16_t)(digit(s[0]) * 100 + digit(s[1]) * 10 + digit(s[2]));
	if (msg->status < 100 || msg->status > 599)
		return h1_head_bad(head, REJECT_BAD_STATUS_LINE);
	msg->version_minor = line[MINOR_AT] != '0';
	head->pos = line + FORM_LEN;
	return H1_OK;
}

/* " reason", or nothing at all: many servers leave out the space with the reason. */
static enum h1_result read_reason(struct h1_head *head, struct message *msg, const char *line)
{
	const char *p = head->pos;
	if (p == head->end || *p != ' ')
		return h1_line_end(head, line, p, REJECT_BAD_STATUS_LINE);
	const char *stop = scan_value(head->base, p + 1, head->end);
	enum h1_result result = H1_OK;
	if (likely(is_crlf(stop, head->end) && (size_t)(stop - line) <= head->line_bytes))
		head->pos = stop + 2;
	else
		result = h1_line_end(head, line, stop, REJECT_BAD_STATUS_LINE);
	msg->reason = view_of(p + 1, (size_t)(stop - p - 1));
	if (unlikely(result == H1_OK && msg->reason.len && (p[1] <= ' ' || stop[-1] <= ' ')))
		msg->reason = view_trim(msg->reason);
	return result;
}

/*
 * RFC 9110 8.6 and RFC 9112 6.1: 1xx and 204 carry neither of the two.  A server
 * that announces a body with 204 may well send it: its connection is not for
 * another request.
 */
static void drop_framing(const struct h1_head *head, struct message *msg)
{
	if (!(head->seen & (HDR_BIT(CONTENT_LENGTH) | HDR_BIT(TRANSFER_ENCODING))))
		return;
	if (msg->status == 204 && (head->length > 0 || head->seen & HDR_BIT(TRANSFER_ENCODING)))
		msg->keep_alive = false;
	for (uint32_t i = 0; i < msg->n_headers; i++)
		if (msg->headers[i].id == HDR_CONTENT_LENGTH ||
		    msg->headers[i].id == HDR_TRANSFER_ENCODING)
			msg->headers[i].drop = true;
}

/* RFC 9112 6.3, in its order. */
static void body_meaning(const struct h1_head *head, struct message *msg,
			 enum method request_method)
{
	if (msg->status < 200 || msg->status == 204) {
		drop_framing(head, msg);
	} else if (request_method == METHOD_HEAD || msg->status == 304) {
		msg->body = BODY_NONE;
	} else if (head->seen & HDR_BIT(TRANSFER_ENCODING)) {
		msg->body = BODY_CHUNKED;
	} else if (!(head->seen & HDR_BIT(CONTENT_LENGTH))) {
		msg->body = BODY_CLOSE;
		msg->keep_alive = false;
	} else if (head->length > 0) {
		msg->body = BODY_LENGTH;
		msg->content_length = head->length;
	}
}

enum h1_result h1_parse_response(struct view in, const struct h1_limits *limits,
				 enum method request_method, struct message *msg, enum reject *why)
{
	struct h1_head head = h1_head_init(in, limits, false);
	h1_message_reset(msg);
	enum h1_result result = read_status(&head, msg);
	if (result == H1_OK)
		result = read_reason(&head, msg, head.base);
	if (result == H1_OK)
		result = h1_fields_read(&head, msg);
	if (result == H1_OK) {
		h1_connection_meaning(&head, msg);
		msg->upgrade = msg->upgrade && msg->status == 101;
		body_meaning(&head, msg, request_method);
		msg->head_len = (size_t)(head.pos - head.base);
	}
	return h1_verdict(&head, result, in, limits, why);
}
