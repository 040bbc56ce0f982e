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
