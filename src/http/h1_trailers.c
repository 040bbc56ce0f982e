/* SPDX-License-Identifier: MIT */
/* Trailer fields (RFC 9110 6.5). */
#include "h1_head.h"

#include "weir/http/field.h"

static enum reject trailer_reason(enum reject why)
{
	switch (why) {
	case REJECT_LINE_TOO_LONG:
		return REJECT_TRAILER_TOO_LARGE;
	case REJECT_TOO_MANY_HEADERS:
		return why;
	default:
		return REJECT_BAD_TRAILER;
	}
}

enum h1_result h1_parse_trailers(struct view raw, const struct h1_limits *limits,
				 struct message *msg, enum reject *why)
{
	struct h1_head head = h1_head_init(raw, limits, false);
	head.drops_underscore = true;
	msg->n_headers = 0;
	msg->n_underscore = 0;
	msg->never = 0;
	*why = REJECT_NONE;
	if (raw.len > limits->head_bytes) {
		*why = REJECT_TRAILER_TOO_LARGE;
		return H1_BAD;
	}
	while (head.pos < head.end) {
		struct header hdr;
		enum h1_result result = h1_field_read(&head, &hdr);
		if (result == H1_OK && hdr.name.ptr && msg->n_headers == head.n_headers_max)
			result = h1_head_bad(&head, REJECT_TOO_MANY_HEADERS);
		if (result != H1_OK || !hdr.name.ptr) {
			*why = trailer_reason(head.why);
			return H1_BAD;
		}
		msg->n_underscore += hdr.drop;
		if (field_traits(&hdr) & FIELD_HEAD)
			hdr.drop = true;
		msg->headers[msg->n_headers++] = hdr;
	}
	return H1_OK;
}
