/* SPDX-License-Identifier: MIT */
/*
 * Trailer fields (RFC 9110 6.5).  A trailer arrives when routing, framing and
 * authentication are long decided, so fields about these are not passed on.
 */
#include "h1_head.h"

#define NOT_IN_TRAILERS                                                                        \
	(HDR_BIT(HOST) | HDR_BIT(CONTENT_LENGTH) | HDR_BIT(TRANSFER_ENCODING) |                \
	 HDR_BIT(CONNECTION) | HDR_BIT(KEEP_ALIVE) | HDR_BIT(PROXY_CONNECTION) | HDR_BIT(TE) | \
	 HDR_BIT(TRAILER) | HDR_BIT(UPGRADE) | HDR_BIT(HTTP2_SETTINGS) |                       \
	 HDR_BIT(PROXY_AUTHENTICATE) | HDR_BIT(PROXY_AUTHORIZATION) | HDR_BIT(EXPECT) |        \
	 HDR_BIT(PROXY) | HDR_BIT(FORWARDED) | HDR_BIT(X_FORWARDED_FOR) |                      \
	 HDR_BIT(X_FORWARDED_PROTO) | HDR_BIT(X_FORWARDED_HOST) | HDR_BIT(X_FORWARDED_PORT) |  \
	 HDR_BIT(X_REAL_IP) | HDR_BIT(X_REQUEST_ID) | HDR_BIT(COOKIE) | HDR_BIT(SET_COOKIE) |  \
	 HDR_BIT(CONTENT_TYPE) | HDR_BIT(DATE) | HDR_BIT(LOCATION) | HDR_BIT(RETRY_AFTER) |    \
	 HDR_BIT(AUTHORIZATION) | HDR_BIT(CACHE_CONTROL) | HDR_BIT(CONTENT_ENCODING) |         \
	 HDR_BIT(CONTENT_RANGE) | HDR_BIT(RANGE) | HDR_BIT(MAX_FORWARDS) | HDR_BIT(AGE) |      \
	 HDR_BIT(EXPIRES) | HDR_BIT(VARY) | HDR_BIT(WWW_AUTHENTICATE))

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
		if ((NOT_IN_TRAILERS >> hdr.id & 1) || view_istarts(hdr.name, VIEW("x-forwarded-")))
			hdr.drop = true;
		msg->headers[msg->n_headers++] = hdr;
	}
	return H1_OK;
}
