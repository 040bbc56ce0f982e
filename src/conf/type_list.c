/* SPDX-License-Identifier: MIT */
/*
 * Lists of texts (one alone may stand without brackets) and maps from texts to
 * texts.
 */
#include "http.h"
#include "suggest.h"
#include "type.h"
#include "weir/base/addr.h"
#include "weir/base/url.h"

/* As in the DNS. */
#define SITE_NAME_MAX 253

/* ---- lists: struct conf_views ---- */

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
    .decode = views_decode,
    .encode = views_encode,
    .schema = views_schema,
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
    .decode = views_decode,
    .encode = views_encode,
    .schema = views_schema,
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
    .decode = views_decode,
    .encode = views_encode,
    .schema = views_schema,
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
    .decode = views_decode,
    .encode = views_encode,
    .schema = views_schema,
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
    .decode = views_decode,
    .encode = views_encode,
    .schema = views_schema,
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
    .decode = views_decode,
    .encode = views_encode,
    .schema = views_schema,
    .check_text = check_method,
    .pattern = HTTP_TOKEN_PATTERN,
};

static bool check_listener(struct decoder *d, const struct node *node)
{
	if (names_find(&d->listeners, node->text))
		return true;
	struct suggest s;
	suggest_init(&s, node->text);
	for (size_t i = 0; report_has_room(&d->report) && i < d->listeners.n; i++)
		suggest_try(&s, d->listeners.rows[i].text, d->listeners.rows[i].node->spot.line);
	decode_error_hint(d, node, suggest_hint(&s), "listener '" VIEW_FMT "' is not defined",
			  VIEW_ARG(node->text));
	return false;
}

const struct conf_type conf_type_listener_names = {
    .syntax = "the name of a listener or a list",
    .decode = views_decode,
    .encode = views_encode,
    .schema = views_schema,
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

/* ---- header fields that may be edited ---- */

/* Framing and the connection are weir's own: an edit could smuggle requests. */
static const char *const own_fields[] = {
    "content-length", "transfer-encoding", "connection", "keep-alive", "proxy-connection", "te",
    "trailer",        "upgrade",
};

static bool check_field(struct decoder *d, const struct node *node)
{
	if (!http_check_token(d, node))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(own_fields); i++) {
		if (!view_ieq(node->text, view_str(own_fields[i])))
			continue;
		decode_error(d, node, "'" VIEW_FMT "' frames messages and cannot be edited",
			     VIEW_ARG(node->text));
		return false;
	}
	if (view_ieq(node->text, VIEW("host"))) {
		decode_error(d, node, "'" VIEW_FMT "' cannot be edited; use rewrite.host",
			     VIEW_ARG(node->text));
		return false;
	}
	return true;
}

#define FIELD_PATTERN                                                                        \
	"^(?!([Cc][Oo][Nn][Tt][Ee][Nn][Tt]-[Ll][Ee][Nn][Gg][Tt][Hh]|"                        \
	"[Tt][Rr][Aa][Nn][Ss][Ff][Ee][Rr]-[Ee][Nn][Cc][Oo][Dd][Ii][Nn][Gg]|"                 \
	"([Pp][Rr][Oo][Xx][Yy]-)?[Cc][Oo][Nn][Nn][Ee][Cc][Tt][Ii][Oo][Nn]|[Hh][Oo][Ss][Tt]|" \
	"[Kk][Ee][Ee][Pp]-[Aa][Ll][Ii][Vv][Ee]|[Tt][Ee]|[Tt][Rr][Aa][Ii][Ll][Ee][Rr]|"       \
	"[Uu][Pp][Gg][Rr][Aa][Dd][Ee])$)[-!#$%&'*+.^_`|~0-9A-Za-z]+$"

const struct conf_type conf_type_header_names = {
    .syntax = "a header name or a list",
    .decode = views_decode,
    .encode = views_encode,
    .schema = views_schema,
    .check_text = check_field,
    .pattern = FIELD_PATTERN,
};

/* ---- maps: struct conf_pairs ---- */

static bool check_any(struct decoder *d, const struct node *node)
{
	(void)d;
	(void)node;
	return true;
}

/* Header names that differ only in case are the same field. */
static bool is_twice(struct decoder *d, const struct conf_pairs *pairs, const struct node *key)
{
	for (size_t i = 0; i < pairs->n; i++) {
		if (!view_ieq(pairs->rows[i].name, key->text))
			continue;
		decode_error(d, key, "'" VIEW_FMT "' and '" VIEW_FMT "' are the same header",
			     VIEW_ARG(pairs->rows[i].name), VIEW_ARG(key->text));
		return true;
	}
	return false;
}

#define PAIRS_MAX 256

/* {regex: text} */
static bool take_regex(struct decoder *d, const struct node_item *item)
{
	const struct node *map = item->value, *regex = node_get(map, VIEW("regex"));
	if (map->n == 1 && regex && regex->kind == NODE_SCALAR && regex->text.len)
		return true;
	decode_error(d, map, "the value of '" VIEW_FMT "' is a text, or {regex: ...}",
		     VIEW_ARG(item->key->text));
	return false;
}

static void pairs_decode(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	struct conf_pairs *pairs = member_of(row, base);
	const struct conf_type *type = row->type;
	if (node->kind != NODE_MAP) {
		wrong_shape(d, row, node);
		return;
	}
	if (node->n > PAIRS_MAX) {
		decode_error(d, node, "'" VIEW_FMT "' has more than %d entries",
			     VIEW_ARG(row_key(row)), PAIRS_MAX);
		return;
	}
	pairs->rows = arena_array(d->arena, node->n, sizeof(*pairs->rows));
	for (struct node_item *it = node->items; it; it = it->next) {
		bool ok = type->check_name(d, it->key), is_regex = false;
		if (type->takes_regex && it->value->kind == NODE_MAP) {
			is_regex = true;
			if (!take_regex(d, it))
				continue;
		}
		if (!is_regex && (it->value->kind != NODE_SCALAR || node_is_null(it->value))) {
			decode_error(d, it->value, "the value of '" VIEW_FMT "' must be text",
				     VIEW_ARG(it->key->text));
			continue;
		}
		struct conf_text value = {.text = it->value->text};
		if (is_regex)
			value.text = node_get(it->value, VIEW("regex"))->text;
		else if (type->has_variables ? !decode_template(d, type, it->value, &value)
					     : !type->check_text(d, it->value))
			continue;
		if (!ok)
			continue;
		if (type->names_fold && is_twice(d, pairs, it->key))
			continue;
		pairs->rows[pairs->n++] = (struct conf_pair){
		    .name = arena_view(d->arena, it->key->text),
		    .value = arena_view(d->arena, value.text),
		    .template = value.template,
		    .is_regex = is_regex,
		};
	}
}

static struct node *pairs_encode(struct encoder *e, const struct row *row, const void *base)
{
	const struct conf_pairs *pairs = member_in(row, base);
	struct node *map = node_map(e->arena);
	for (size_t i = 0; i < pairs->n; i++) {
		const struct conf_text text = {pairs->rows[i].value, pairs->rows[i].template};
		struct view value =
		    row->type->has_variables ? conf_text_source(&text, false, e->arena) : text.text;
		struct node *node = node_scalar(e->arena, NODE_TEXT, value);
		if (pairs->rows[i].is_regex) {
			struct node *regex = node_map(e->arena);
			node_put(e->arena, regex, node_scalar(e->arena, NODE_WORD, VIEW("regex")),
				 node);
			node = regex;
		}
		node_put(e->arena, map, node_scalar(e->arena, NODE_TEXT, pairs->rows[i].name),
			 node);
	}
	return pairs->n ? map : NULL;
}

/* {regex: text} */
static void schema_regex(struct json *j)
{
	schema_type(j, "object");
	json_member_bool(j, "additionalProperties", false);
	json_key(j, "required");
	json_array_begin(j);
	json_text(j, "regex");
	json_array_end(j);
	json_key(j, "properties");
	json_object_begin(j);
	json_key(j, "regex");
	json_object_begin(j);
	json_key(j, "type");
	json_array_begin(j);
	json_text(j, "string");
	json_text(j, "number");
	json_text(j, "boolean");
	json_array_end(j);
	json_member_text(j, "pattern", "^(.|\\n)+$");
	json_object_end(j);
	json_object_end(j);
}

static void pairs_schema(struct json *j, const struct row *row, const char *name_pattern)
{
	schema_type(j, "object");
	json_member_u64(j, "maxProperties", PAIRS_MAX);
	if (name_pattern) {
		json_key(j, "propertyNames");
		json_object_begin(j);
		schema_pattern(j, name_pattern);
		json_object_end(j);
	}
	json_key(j, "additionalProperties");
	json_object_begin(j);
	if (row->type->takes_regex) {
		json_key(j, "anyOf");
		json_array_begin(j);
		json_object_begin(j);
		schema_regex(j);
		json_object_end(j);
		json_object_begin(j);
	}
	json_key(j, "type");
	json_array_begin(j);
	json_text(j, "string");
	json_text(j, "number");
	json_text(j, "boolean");
	json_array_end(j);
	if (row->type->pattern)
		json_member_text(j, "pattern", row->type->pattern);
	json_object_end(j);
	if (row->type->takes_regex) {
		json_array_end(j);
		json_object_end(j);
	}
}

static void header_pairs_schema(struct json *j, const struct row *row)
{
	pairs_schema(j, row, FIELD_PATTERN);
}

static void header_matches_schema(struct json *j, const struct row *row)
{
	pairs_schema(j, row, HTTP_TOKEN_PATTERN);
}

static void query_matches_schema(struct json *j, const struct row *row)
{
	pairs_schema(j, row, NULL);
}

const struct conf_type conf_type_header_pairs = {
    .syntax = "a map from header names to values",
    .decode = pairs_decode,
    .encode = pairs_encode,
    .schema = header_pairs_schema,
    .check_name = check_field,
    .names_fold = true,
    .check_text = http_check_value,
    .pattern = HTTP_VALUE_PATTERN,
    .secret = SECRET_VALUE,
};
const struct conf_type conf_type_request_fields = {
    .syntax = "a map from header names to values",
    .decode = pairs_decode,
    .encode = pairs_encode,
    .schema = header_pairs_schema,
    .check_name = check_field,
    .names_fold = true,
    .check_text = http_check_value,
    .pattern = HTTP_VALUE_PATTERN,
    .secret = SECRET_VALUE,
    .has_variables = true,
    .until = VARIABLE_POOL,
};
const struct conf_type conf_type_response_fields = {
    .syntax = "a map from header names to values",
    .decode = pairs_decode,
    .encode = pairs_encode,
    .schema = header_pairs_schema,
    .check_name = check_field,
    .names_fold = true,
    .check_text = http_check_value,
    .pattern = HTTP_VALUE_PATTERN,
    .secret = SECRET_VALUE,
    .has_variables = true,
    .until = VARIABLE_ANSWER,
};
/* Unlike names of fields those of cookies have case: a and A are two. */
static bool check_cookie(struct decoder *d, const struct node *node)
{
	if (http_is_token(node->text))
		return true;
	decode_error(d, node, "'" VIEW_FMT "' is no name of a cookie", VIEW_ARG(node->text));
	return false;
}

const struct conf_type conf_type_header_matches = {
    .syntax = "a map from header names to values, *, or {regex: ...}",
    .decode = pairs_decode,
    .encode = pairs_encode,
    .schema = header_matches_schema,
    .check_name = http_check_token,
    .names_fold = true,
    .check_text = http_check_value,
    .pattern = HTTP_VALUE_PATTERN,
    .secret = SECRET_VALUE,
    .takes_regex = true,
};
const struct conf_type conf_type_query_matches = {
    .syntax = "a map from parameters to values, *, or {regex: ...}",
    .decode = pairs_decode,
    .encode = pairs_encode,
    .schema = query_matches_schema,
    .check_name = check_any,
    .check_text = check_any,
    .secret = SECRET_VALUE,
    .takes_regex = true,
};
const struct conf_type conf_type_cookie_matches = {
    .syntax = "a map from cookies to values, *, or {regex: ...}",
    .decode = pairs_decode,
    .encode = pairs_encode,
    .schema = header_matches_schema,
    .check_name = check_cookie,
    .check_text = http_check_value,
    .pattern = HTTP_VALUE_PATTERN,
    .secret = SECRET_VALUE,
    .takes_regex = true,
};
