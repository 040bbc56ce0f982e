/* SPDX-License-Identifier: MIT */
/* A URL in its parts, and names of hosts. */
#include "weir/base/url.h"

#include "weir/base/addr.h"
#include "weir/base/parse.h"

bool url_is_host(struct view v)
{
	bool in_label = false;
	for (size_t i = 0; i < v.len; i++) {
		char c = char_lower(v.ptr[i]);
		bool plain = (c >= 'a' && c <= 'z') || char_is_digit(c) || c == '-' || c == '_';
		if (!plain && !(c == '.' && in_label))
			return false;
		in_label = plain;
	}
	return in_label && v.len <= 253;
}

static bool is_target(struct view v)
{
	for (size_t i = 0; i < v.len; i++)
		if (v.ptr[i] <= 0x20 || v.ptr[i] >= 0x7f || v.ptr[i] == '#')
			return false;
	return true;
}

bool url_split_authority(struct view authority, struct url *out)
{
	struct addr addr;
	uint64_t port = out->port;
	size_t colon = authority.len;
	while (colon && char_is_digit(authority.ptr[colon - 1]))
		colon--;
	if (colon && authority.ptr[colon - 1] == ':') {
		if (!parse_u64(view_skip(authority, colon), &port))
			return false;
		authority = view_head(authority, colon - 1);
	}
	if (port == 0 || port > 65535)
		return false;
	out->port = (uint16_t)port;
	out->host = authority;
	if (!view_starts(authority, VIEW("[")))
		return url_is_host(authority);
	out->host = view_of(authority.ptr + 1, authority.len - 2);
	return addr_parse_ip(authority, &addr) && addr.sa.sa_family == AF_INET6;
}

bool url_split(struct view text, struct url *out)
{
	out->tls = view_starts(text, VIEW("https://"));
	out->port = out->tls ? 443 : 80;
	if (!out->tls && !view_starts(text, VIEW("http://")))
		return false;
	text = view_skip(text, out->tls ? 8 : 7);
	size_t n = 0;
	while (n < text.len && text.ptr[n] != '/' && text.ptr[n] != '?')
		n++;
	struct view authority = view_head(text, n);
	out->path = view_skip(text, n);
	if (!out->path.len)
		out->path = VIEW("/");
	return authority.len && out->path.ptr[0] == '/' && url_split_authority(authority, out) &&
	       is_target(out->path);
}
