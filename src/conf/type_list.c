/* SPDX-License-Identifier: MIT */
/* Lists of texts (one alone may stand without brackets): struct conf_views. */
#include "http.h"
#include "type.h"
#include "weir/base/addr.h"
#include "weir/base/url.h"

/* As in the DNS. */
#define SITE_NAME_MAX 253

static void views_decode(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	struct conf_views *views = member_of(row, base);
	struct node_item one = {.value = node};
	const struct node_item *it = node->kind == NODE_LIST ? node->items : &one;
	size_t n = node->kind == NODE_LIST ? node->n : 1;
	views->rows = arena_array(d->arena, n, sizeof(*views->rows));
	if (n == 0)
		decode_error(d, node, "'" VIEW_FMT "' is empty", VIEW_ARG(row_key(row)));
	struct names seen;
	names_init(&seen, d->scratch);
	for (; it; it = it->next) {
		if (!want_scalar(d, row, it->value) || !row->type->check_text(d, it->value))
			continue;
		if (names_put(&seen, it->value->text, it->value))
			decode_error(d, it->value, "'" VIEW_FMT "' is there twice",
				     VIEW_ARG(it->value->text));
		else
			views->rows[views->n++] = arena_view(d->arena, it->value->text);
	}
}

static struct node *views_encode(struct encoder *e, const struct row *row, const void *base)
{
	const struct conf_views *views = member_in(row, base);
	struct node *list = node_list(e->arena);
	for (size_t i = 0; i < views->n; i++)
		node_add(e->arena, list, node_scalar(e->arena, NODE_TEXT, views->rows[i]));
	return views->n ? list : NULL;
}

static void views_schema(struct json *j, const struct row *row)
{
	json_key(j, "anyOf");
	json_array_begin(j);
	json_object_begin(j);
	schema_pattern(j, row->type->pattern);
	json_object_end(j);
	json_object_begin(j);
	schema_type(j, "array");
	json_member_u64(j, "minItems", 1);
	json_member_bool(j, "uniqueItems", true);
	json_key(j, "items");
	json_object_begin(j);
	schema_pattern(j, row->type->pattern);
	json_object_end(j);
	json_object_end(j);
	json_array_end(j);
}

/* What lists of texts have. */
#define VIEWS .decode = views_decode, .encode = views_encode, .schema = views_schema

static bool check_host(struct decoder *d, const struct node *node)
{
	struct view v = node->text;
	struct addr addr;
	if (url_is_host(view_starts(v, VIEW("*.")) ? view_skip(v, 2) : v))
		return true;
	if (view_starts(v, VIEW("[")) && addr_parse_ip(v, &addr))
		return true;
	if (view_eq(v, VIEW("*")))
		decode_error(d, node, "leave 'host' out to match every host");
	else if (addr_parse(v, &addr) || (view_chr(v, ':') > 0 && v.ptr[0] != '['))
		decode_error(d, node, "hosts are matched without a port");
	else
		decode_error(d, node,
			     "'" VIEW_FMT "' is no host name such as a.example or *.a.example",
			     VIEW_ARG(v));
	return false;
}

const struct conf_type conf_type_hosts = {
    .syntax = "a host name or a list",
    VIEWS,
    .check_text = check_host,
    .pattern = "^(\\*\\.)?([A-Za-z0-9_-]+\\.)*[A-Za-z0-9_-]+$|^\\[[0-9A-Fa-f:.]+\\]$",
};

/* What a certificate can be for: no address, and no wildcard, which takes another challenge. */
static bool check_site_name(struct decoder *d, const struct node *node)
{
	struct view v = node->text;
	struct addr addr;
	if (view_starts(v, VIEW("*.")))
		decode_error(d, node,
			     "a certificate for '" VIEW_FMT "' takes a challenge in the DNS, which "
			     "weir does not answer: name the hosts, or use files",
			     VIEW_ARG(v));
	else if (addr_parse_ip(v, &addr) || !url_is_host(v) || view_chr(v, '_') >= 0 ||
		 v.len > SITE_NAME_MAX)
		decode_error(d, node, "'" VIEW_FMT "' is no name of a site such as www.example.com",
			     VIEW_ARG(v));
	else
		return true;
	return false;
}

const struct conf_type conf_type_site_names = {
    .syntax = "a name such as www.example.com, or a list",
    VIEWS,
    .check_text = check_site_name,
    .pattern = "^([A-Za-z0-9-]+\\.)*[A-Za-z0-9-]+$",
};

/* With a port or without. */
static bool check_name_server(struct decoder *d, const struct node *node)
{
	struct addr addr;
	bool port = addr_parse(node->text, &addr) && !addr_is_unix(&addr) && addr_port(&addr);
	if (port || addr_parse_ip(node->text, &addr))
		return true;
	decode_error(d, node, "'" VIEW_FMT "' is no address of a name server such as 127.0.0.1:53",
		     VIEW_ARG(node->text));
	return false;
}

const struct conf_type conf_type_name_servers = {
    .syntax = "an address such as 127.0.0.1:53, or a list",
    VIEWS,
    .check_text = check_name_server,
    .pattern = "^([0-9.]+(:[0-9]{1,5})?|[0-9A-Fa-f:.]+|\\[[0-9A-Fa-f:.]+\\](:[0-9]{1,5})?)$",
};

static bool check_url(struct decoder *d, const struct node *node)
{
	struct url url;
	if (url_split(node->text, &url) && view_chr(node->text, '?') < 0)
		return true;
	decode_error(d, node, "'" VIEW_FMT "' is no URL such as http://127.0.0.1:2379",
		     VIEW_ARG(node->text));
	return false;
}

const struct conf_type conf_type_urls = {
    .syntax = "a URL such as http://127.0.0.1:2379, or a list",
    VIEWS,
    .check_text = check_url,
    .pattern = "^https?://([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?(/[!-\"$-~]*)?$",
};

static bool check_media_type(struct decoder *d, const struct node *node)
{
	struct view v = node->text;
	ptrdiff_t slash = view_chr(v, '/');
	struct view sub = slash < 0 ? VIEW_NONE : view_skip(v, (size_t)slash + 1);
	if (slash > 0 && http_is_token(view_head(v, (size_t)slash)) && view_chr(v, '*') != 0 &&
	    (view_eq(sub, VIEW("*")) || (http_is_token(sub) && view_chr(sub, '*') < 0)))
		return true;
	decode_error(d, node, "'" VIEW_FMT "' is no media type such as text/html or text/*",
		     VIEW_ARG(v));
	return false;
}

const struct conf_type conf_type_media_types = {
    .syntax = "a media type such as text/html or text/*, or a list",
    VIEWS,
    .check_text = check_media_type,
    .pattern = "^[!#$%&'+.^_`|~0-9A-Za-z-]+/([*]|[!#$%&'+.^_`|~0-9A-Za-z-]+)$",
};

static bool check_method(struct decoder *d, const struct node *node)
{
	struct view v = node->text;
	bool lower = false;
	if (!http_is_token(v)) {
		decode_error(d, node, "'" VIEW_FMT "' is no method", VIEW_ARG(v));
		return false;
	}
	for (size_t i = 0; i < v.len; i++)
		lower |= v.ptr[i] >= 'a' && v.ptr[i] <= 'z';
	if (lower)
		decode_warning(d, node,
			       "methods are case-sensitive; '" VIEW_FMT "' is unlikely to be sent",
			       VIEW_ARG(v));
	return true;
}

const struct conf_type conf_type_methods = {
    .syntax = "a method or a list",
    VIEWS,
    .check_text = check_method,
    .pattern = HTTP_TOKEN_PATTERN,
};

static bool check_listener(struct decoder *d, const struct node *node)
{
	return decode_reference(d, &d->listeners, node, "listener") != NULL;
}

const struct conf_type conf_type_listener_names = {
    .syntax = "the name of a listener or a list",
    VIEWS,
    .check_text = check_listener,
    .pattern = "^[^\\u0000-\\u001f\\u007f]+$",
};

/* Read before anything is decoded (include.c); what is dumped has their parts in it. */
static struct node *include_encode(struct encoder *e, const struct row *row, const void *base)
{
	(void)e;
	(void)row;
	(void)base;
	return NULL;
}

static bool check_pattern(struct decoder *d, const struct node *node)
{
	if (node->text.len)
		return true;
	decode_error(d, node, "the name of a file is empty");
	return false;
}

const struct conf_type conf_type_include = {
    .syntax = "a file name, a pattern such as conf.d/*.yaml, or a list",
    .decode = views_decode,
    .encode = include_encode,
    .schema = views_schema,
    .check_text = check_pattern,
    .pattern = "^[^\\u0000-\\u001f\\u007f]+$",
};

const struct conf_type conf_type_header_names = {
    .syntax = "a header name or a list",
    VIEWS,
    .check_text = http_check_edited,
    .pattern = HTTP_EDITED_PATTERN,
};
