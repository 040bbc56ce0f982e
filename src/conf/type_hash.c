/* SPDX-License-Identifier: MIT */
/*
 * What a hashing strategy looks at: client-ip, path, uri, host, or one field by
 * its name, as in header:X-User.
 */
#include <stdio.h>
#include <string.h>

#include "http.h"
#include "type.h"

/* In the order of enum conf_hash_on. */
static const struct {
	const char *word;
	bool named;
} sources[] = {
    [CONF_HASH_CLIENT_IP] = {"client-ip", false},
    [CONF_HASH_PATH] = {"path", false},
    [CONF_HASH_URI] = {"uri", false},
    [CONF_HASH_HOST] = {"host", false},
    [CONF_HASH_HEADER] = {"header:", true},
    [CONF_HASH_COOKIE] = {"cookie:", true},
    [CONF_HASH_QUERY] = {"query:", true},
};

#define SOURCES "client-ip, path, uri, host, header:NAME, cookie:NAME, query:NAME"
#define NAME_CHARS "[^\\s;,=&]{1,256}"

static bool is_source_name(size_t source, struct view name)
{
	if (source != CONF_HASH_QUERY)
		return name.len <= 256 && http_is_token(name);
	for (size_t i = 0; i < name.len; i++)
		if ((unsigned char)name.ptr[i] <= ' ' || strchr(";,=&\x7f", name.ptr[i]))
			return false;
	return name.len > 0 && name.len <= 256;
}

const char source_pattern[] = "(client-ip|path|uri|host|(header|cookie|query):" NAME_CHARS ")";

bool source_parse(struct view text, struct conf_key_source *out)
{
	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		struct view word = view_str(sources[i].word);
		struct view name = view_skip(text, word.len);
		if (sources[i].named ? !view_starts(text, word) || !is_source_name(i, name)
				     : !view_eq(text, word))
			continue;
		*out = (struct conf_key_source){(enum conf_hash_on)i,
						sources[i].named ? name : VIEW_NONE};
		return true;
	}
	return false;
}

static void hash_source_decode(struct decoder *d, const struct row *row, struct node *node,
			       void *base)
{
	struct conf_pool *pool = base;
	struct conf_key_source source;
	if (!want_scalar(d, row, node))
		return;
	if (!source_parse(node->text, &source)) {
		decode_error(d, node, "'" VIEW_FMT "' is not one of " SOURCES,
			     VIEW_ARG(node->text));
		return;
	}
	member_store(row, base, source.on);
	pool->hash.name = source.name.ptr ? arena_view(d->arena, source.name) : VIEW_NONE;
}

static struct node *hash_source_encode(struct encoder *e, const struct row *row, const void *base)
{
	const struct conf_pool *pool = base;
	return node_printf(e->arena, NODE_TEXT, "%s" VIEW_FMT, sources[member_load(row, base)].word,
			   VIEW_ARG(pool->hash.name));
}

static void hash_source_schema(struct json *j, const struct row *row)
{
	char text[160];
	(void)row;
	snprintf(text, sizeof(text), "^%s$", source_pattern);
	schema_pattern(j, text);
}

const struct conf_type conf_type_hash_source = {
    .syntax = "client-ip, path, uri, host, header:NAME, cookie:NAME or query:NAME",
    .decode = hash_source_decode,
    .encode = hash_source_encode,
    .schema = hash_source_schema,
};

/* ---- what keeps a client on its side of a split ---- */

static void client_source_decode(struct decoder *d, const struct row *row, struct node *node,
				 void *base)
{
	struct conf_route *route = base;
	struct conf_key_source source;
	if (!want_scalar(d, row, node))
		return;
	if (!source_parse(node->text, &source) ||
	    (source.on != CONF_HASH_CLIENT_IP && source.on != CONF_HASH_HEADER &&
	     source.on != CONF_HASH_COOKIE)) {
		decode_error(d, node,
			     "'" VIEW_FMT "' is not one of client-ip, cookie:NAME, header:NAME",
			     VIEW_ARG(node->text));
		return;
	}
	route->is_split_on = true;
	route->split_on = (struct conf_key_source){source.on, arena_view(d->arena, source.name)};
}

static struct node *client_source_encode(struct encoder *e, const struct row *row, const void *base)
{
	const struct conf_route *route = base;
	(void)row;
	if (!route->is_split_on)
		return NULL;
	return node_printf(e->arena, NODE_TEXT, "%s" VIEW_FMT, sources[route->split_on.on].word,
			   VIEW_ARG(route->split_on.name));
}

static void client_source_schema(struct json *j, const struct row *row)
{
	(void)row;
	schema_pattern(j, "^(client-ip|(header|cookie):" NAME_CHARS ")$");
}

const struct conf_type conf_type_client_source = {
    .syntax = "client-ip, cookie:NAME or header:NAME",
    .decode = client_source_decode,
    .encode = client_source_encode,
    .schema = client_source_schema,
};
