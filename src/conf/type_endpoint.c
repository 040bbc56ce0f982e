/* SPDX-License-Identifier: MIT */
/* The URL of a service that weir itself sends to: http(s)://host[:port][/path]. */
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
