/* SPDX-License-Identifier: MIT */
/* The URL of a service that weir itself sends to: http(s)://host[:port][/path]. */
#include "http.h"
#include "type.h"
#include "weir/base/addr.h"
#include "weir/base/parse.h"

#define PATTERN "^https?://([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?(/[!-\"$-~]*)?$"

static bool is_target(struct view v)
{
	for (size_t i = 0; i < v.len; i++)
		if (v.ptr[i] <= 0x20 || v.ptr[i] >= 0x7f || v.ptr[i] == '#')
			return false;
	return true;
}

/* Host and port of "host", "host:port", "[v6]", "[v6]:port". */
static bool split(struct view authority, struct conf_endpoint *out)
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
		return http_is_host(authority);
	out->host = view_of(authority.ptr + 1, authority.len - 2);
	return addr_parse_ip(authority, &addr) && addr.sa.sa_family == AF_INET6;
}

static bool parse(struct view url, struct conf_endpoint *out)
{
	out->tls = view_starts(url, VIEW("https://"));
	out->port = out->tls ? 443 : 80;
	if (!out->tls && !view_starts(url, VIEW("http://")))
		return false;
	url = view_skip(url, out->tls ? 8 : 7);
	ptrdiff_t slash = view_chr(url, '/');
	struct view authority = view_head(url, slash < 0 ? url.len : (size_t)slash);
	out->path = view_skip(url, authority.len);
	if (!out->path.len)
		out->path = VIEW("/");
	return authority.len && split(authority, out) && is_target(out->path);
}

static void endpoint_decode(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	struct conf_endpoint out = {.text = VIEW_NONE};
	if (!want_scalar(d, row, node))
		return;
	out.text = arena_view(d->arena, node->text);
	if (parse(out.text, &out))
		*(struct conf_endpoint *)member_of(row, base) = out;
	else
		decode_error(d, node,
			     "'" VIEW_FMT "' is no URL such as http://127.0.0.1:4318/v1/traces",
			     VIEW_ARG(node->text));
}

static struct node *endpoint_encode(struct encoder *e, const struct row *row, const void *base)
{
	const struct conf_endpoint *endpoint = member_in(row, base);
	return endpoint->text.ptr ? node_scalar(e->arena, NODE_TEXT, endpoint->text) : NULL;
}

static void endpoint_schema(struct json *j, const struct row *row)
{
	(void)row;
	schema_pattern(j, PATTERN);
}

const struct conf_type conf_type_endpoint = {
    .syntax = "a URL such as http://127.0.0.1:4318/v1/traces",
    .decode = endpoint_decode,
    .encode = endpoint_encode,
    .schema = endpoint_schema,
    .secret = SECRET_QUERY,
};
