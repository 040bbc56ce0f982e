/* SPDX-License-Identifier: MIT */
/* A service that weir itself sends to: a URL, http(s)://host[:port][/path], or host:port. */
#include "type.h"

#include "weir/base/url.h"

#define PATTERN "^https?://([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?(/[!-\"$-~]*)?$"

static void endpoint_decode(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	struct conf_endpoint *out = member_of(row, base);
	struct url url;
	if (!want_scalar(d, row, node))
		return;
	struct view text = arena_view(d->arena, node->text);
	if (url_split(text, &url))
		*out = (struct conf_endpoint){text, url.tls, url.host, url.port, url.path};
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

static void peer_decode(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	struct conf_endpoint *out = member_of(row, base);
	struct url url = {.port = 0};
	if (!want_scalar(d, row, node))
		return;
	struct view text = arena_view(d->arena, node->text);
	if (text.len && url_split_authority(text, &url))
		*out = (struct conf_endpoint){text, false, url.host, url.port, VIEW_NONE};
	else
		decode_error(d, node,
			     "'" VIEW_FMT "' is no host and port such as 127.0.0.1:6379 or "
			     "redis.internal:6379",
			     VIEW_ARG(node->text));
}

#define PEER_PATTERN "^([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]{1,5}$"

static void peer_schema(struct json *j, const struct row *row)
{
	(void)row;
	schema_pattern(j, PEER_PATTERN);
}

const struct conf_type conf_type_peer = {
    .syntax = "a host and a port such as 127.0.0.1:6379",
    .decode = peer_decode,
    .encode = endpoint_encode,
    .schema = peer_schema,
};
