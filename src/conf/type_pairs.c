/* SPDX-License-Identifier: MIT */
/* Maps from texts to texts: struct conf_pairs. */
#include "http.h"
#include "type.h"

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
	pairs_schema(j, row, HTTP_EDITED_PATTERN);
}

static void header_matches_schema(struct json *j, const struct row *row)
{
	pairs_schema(j, row, HTTP_TOKEN_PATTERN);
}

static void query_matches_schema(struct json *j, const struct row *row)
{
	pairs_schema(j, row, NULL);
}

/* What maps from names of fields have. */
#define FIELDS                                                                               \
	.decode = pairs_decode, .encode = pairs_encode, .schema = header_pairs_schema,       \
	.check_name = http_check_edited, .names_fold = true, .check_text = http_check_value, \
	.pattern = HTTP_VALUE_PATTERN, .secret = SECRET_VALUE

const struct conf_type conf_type_header_pairs = {
    .syntax = "a map from header names to values",
    FIELDS,
};
const struct conf_type conf_type_request_fields = {
    .syntax = "a map from header names to values",
    FIELDS,
    .has_variables = true,
    .until = VARIABLE_POOL,
};
const struct conf_type conf_type_response_fields = {
    .syntax = "a map from header names to values",
    FIELDS,
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

/* What maps of matches have. */
#define MATCHES \
	.decode = pairs_decode, .encode = pairs_encode, .secret = SECRET_VALUE, .takes_regex = true

const struct conf_type conf_type_header_matches = {
    .syntax = "a map from header names to values, *, or {regex: ...}",
    MATCHES,
    .schema = header_matches_schema,
    .check_name = http_check_token,
    .names_fold = true,
    .check_text = http_check_value,
    .pattern = HTTP_VALUE_PATTERN,
};
const struct conf_type conf_type_query_matches = {
    .syntax = "a map from parameters to values, *, or {regex: ...}",
    MATCHES,
    .schema = query_matches_schema,
    .check_name = check_any,
    .check_text = check_any,
};
const struct conf_type conf_type_cookie_matches = {
    .syntax = "a map from cookies to values, *, or {regex: ...}",
    MATCHES,
    .schema = header_matches_schema,
    .check_name = check_cookie,
    .check_text = http_check_value,
    .pattern = HTTP_VALUE_PATTERN,
};
