/* SPDX-License-Identifier: MIT */
/* Words of HTTP in the configuration: tokens, field values, hosts. */
#include "http.h"

bool http_is_token(struct view v)
{
	for (size_t i = 0; i < v.len; i++) {
		char c = char_lower(v.ptr[i]);
		if (!(c >= 'a' && c <= 'z') && !char_is_digit(c) &&
		    (c == '\0' || !strchr("-!#$%&'*+.^_`|~", c)))
			return false;
	}
	return v.len > 0;
}

bool http_is_value(struct view v)
{
	for (size_t i = 0; i < v.len; i++) {
		unsigned char c = (unsigned char)v.ptr[i];
		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

bool http_check_token(struct decoder *d, const struct node *node)
{
	if (http_is_token(node->text))
		return true;
	decode_error(d, node, "'" VIEW_FMT "' is no header name", VIEW_ARG(node->text));
	return false;
}

bool http_check_value(struct decoder *d, const struct node *node)
{
	if (http_is_value(node->text))
		return true;
	decode_error(d, node, "a header value must not hold line ends or control bytes");
	return false;
}

/* Framing and the connection are weir's own: an edit could smuggle requests. */
static const char *const own_fields[] = {
    "content-length", "transfer-encoding", "connection", "keep-alive", "proxy-connection", "te",
    "trailer",        "upgrade",
};

bool http_check_edited(struct decoder *d, const struct node *node)
{
	if (!http_check_token(d, node))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(own_fields); i++) {
		if (!view_ieq(node->text, view_str(own_fields[i])))
			continue;
		decode_error(d, node, "'" VIEW_FMT "' frames messages and cannot be edited",
			     VIEW_ARG(node->text));
		return false;
	}
	if (view_ieq(node->text, VIEW("host"))) {
		decode_error(d, node, "'" VIEW_FMT "' cannot be edited; use rewrite.host",
			     VIEW_ARG(node->text));
		return false;
	}
	return true;
}
