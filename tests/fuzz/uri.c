/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as an authority and as a path: what is accepted can be put together
 * again, has no byte that a second reader might take for a delimiter, and does
 * as a Host header.
 */
#include <stdio.h>

#include "h1_fuzz.h"
#include "weir/base/str.h"

static void check_host_bytes(struct view host)
{
	bool ipv6 = host.ptr[0] == '[';
	for (size_t i = 0; i < host.len; i++) {
		unsigned char c = (unsigned char)host.ptr[i];
		check(c > ' ' && c < 0x7f && !strchr("/?#@,%\\\"<>^`{|}", c));
		check(ipv6 || !strchr("[]:", c));
	}
	check(!ipv6 || host.ptr[host.len - 1] == ']');
}

static enum h1_result as_host_header(struct view authority, enum reject *why)
{
	static struct message msg;
	static const struct h1_limits limits = {65536, 65536, 10};
	struct str head = STR_INIT;
	str_text(&head, "GET / HTTP/1.1\r\nHost: ");
	str_view(&head, authority);
	str_text(&head, "\r\n\r\n");
	enum h1_result result = h1_parse_request(str_as_view(&head), &limits, &msg, why);
	if (result == H1_OK)
		check(view_eq(msg.authority, authority_plain(view_trim(authority))));
	str_fini(&head);
	return result;
}

static void check_authority(struct view authority)
{
	struct view host, host_again;
	uint16_t port, port_again;
	enum reject why;
	if (view_chr(authority, '\r') >= 0 || view_chr(authority, '\n') >= 0) {
		/* these would end the line of the header that is tried below */
		check(!authority_split(authority, &host, &port));
		return;
	}
	if (!authority_split(authority, &host, &port)) {
		check(as_host_header(authority, &why) != H1_OK ||
		      view_trim(authority).len < authority.len);
		return;
	}
	struct str text = STR_INIT;
	check(host.ptr == authority.ptr && host.len > 0 && host.len <= authority.len);
	check_host_bytes(host);
	str_view(&text, host);
	if (port)
		str_printf(&text, ":%u", port);
	check(authority_split(str_as_view(&text), &host_again, &port_again));
	check(view_eq(host, host_again) && port == port_again);
	/* without an empty port it is the same, and nothing else is taken away */
	struct view plain = authority_plain(authority);
	check(authority_split(plain, &host_again, &port_again));
	check(view_eq(host, host_again) && port == port_again);
	check(plain.ptr == authority.ptr && (plain.len == host.len || port));
	check(as_host_header(authority, &why) == H1_OK);
	str_fini(&text);
}

static void check_target(struct view target)
{
	struct view path, query;
	target_split(target, &path, &query);
	check(view_chr(path, '?') < 0);
	check(path.ptr == target.ptr && path.len <= target.len);
	check(path.len + query.len + (path.len < target.len) == target.len);
	check(path.len == target.len || target.ptr[path.len] == '?');
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	if (size > 60000)
		return 0;
	char *copy = exact_copy(data, size);
	check_authority(view_of(copy, size));
	check_target(view_of(copy, size));
	free(copy);
	return 0;
}
