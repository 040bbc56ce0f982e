/* SPDX-License-Identifier: MIT */
/*
 * The URL of a service that weir itself sends to: http(s)://host[:port][/path][?query].
 * No user information and no fragment: neither belongs into a request (RFC 9110 4.2.4).
 */
#ifndef WEIR_BASE_URL_H
#define WEIR_BASE_URL_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/view.h"

/* Views borrow from the text. */
struct url {
	bool tls;
	struct view host; /* without brackets */
	uint16_t port;    /* 80 or 443 when the text has none */
	struct view path; /* with the query; "/" when the text has none */
};

bool url_split(struct view text, struct url *out);

/* Host and port of "host", "host:port", "[v6]", "[v6]:port"; without a port out->port stays
 * as it is, and 0 is none. */
bool url_split_authority(struct view authority, struct url *out);

/* A name as in DNS or a hosts file, or an IPv4 address: labels of letters, digits, - and _. */
bool url_is_host(struct view v);

#endif
