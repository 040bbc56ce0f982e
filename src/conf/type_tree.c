/* SPDX-License-Identifier: MIT */
/*
 * The types that hold other keys: sections, sections that may be `off`, lists
 * of maps and maps by name.
 */
#include "short_form.h"
#include "type.h"

static const char *hint(struct decoder *d, const char *path, const struct node *node)
{
	return node->kind == NODE_SCALAR ? short_form_hint(d->scratch, path, node->text) : NULL;
}

/* The same of who takes a list for a map, or a map for a list. */
static const char *shape_hint(struct decoder *d, const struct row *row, const struct node *node)
{
	struct view key = row_key(row);
	if (node->kind == NODE_LIST && row->type == &conf_type_named)
		return arena_printf(d->scratch, "did you mean '" VIEW_FMT ": {NAME: {...}}'?",
				    VIEW_ARG(key));
	if (node->kind == NODE_MAP && row->type == &conf_type_list)
		return arena_printf(d->scratch, "did you mean '" VIEW_FMT ": [{...}]'?",
				    VIEW_ARG(key));
	return hint(d, row->path, node);
}

void wrong_shape(struct decoder *d, const struct row *row, const struct node *node)
{
	static const char *const kinds[] = {
	    [NODE_SCALAR] = "plain text", [NODE_MAP] = "a map", [NODE_LIST] = "a list"};
	struct view key = row_key(row);
	if (node_is_null(node))
		decode_error(d, node, "'" VIEW_FMT "' has no value; it must be %s", VIEW_ARG(key),
			     row->type->syntax);
	else
		decode_error_hint(d, node, shape_hint(d, row, node),
				  "'" VIEW_FMT "' must be %s, not %s", VIEW_ARG(key),
				  row->type->syntax, kinds[node->kind]);
}

static void section_decode(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	if (node->kind == NODE_MAP)
		decode_map(d, row, node, base);
	else
		wrong_shape(d, row, node);
}

static void switched_decode(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	bool off = node_is_text(node, "off");
	if (!off && node->kind != NODE_MAP) {
		wrong_shape(d, row, node);
		return;
	}
	*(bool *)member_of(row, base) = !off;
	decode_map(d, row, off ? NULL : node, base);
}

/* `- x` is short for `- {key: x}`, key being the row's word. */
static struct node *element_node(struct decoder *d, const struct row *row, struct node *node)
{
	if (node->kind == NODE_MAP)
		return node;
	if (node->kind != NODE_SCALAR || !row->words || node_is_null(node)) {
		const char *path = arena_printf(d->scratch, "%s%s", row->path,
						row->type == &conf_type_named ? ".*" : "[]");
		decode_error_hint(d, node, hint(d, path, node),
				  "an element of '" VIEW_FMT "' must be a map%s",
				  VIEW_ARG(row_key(row)), row->words ? " or an address" : "");
		return NULL;
	}
	struct node *map = node_map(d->scratch);
	map->spot = node->spot;
	struct node *key = node_scalar(d->scratch, NODE_TEXT, view_str(row->words));
	key->spot = node->spot;
	node_put(d->scratch, map, key, node);
	return map;
}

static void decode_elements(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	struct rows_member *member = member_of(row, base);
	size_t size = row_element_size(row), i = 0;
	member->rows = arena_array(d->arena, node->n, size);
	member->n = node->n;
	if (!node->n && row->flags & ROW_REQUIRED)
		decode_error(d, node, "'" VIEW_FMT "' is empty", VIEW_ARG(row_key(row)));
	for (struct node_item *it = node->items; it; it = it->next, i++) {
		struct where where = {.up = d->where, .index = i};
		if (it->key)
			where.key = it->key->text;
		d->where = &where;
		struct element element = {
		    .node = element_node(d, row, it->value),
		    .key = it->key,
		    .index = i,
		    .base = (char *)member->rows + i * size,
		};
		if (element.node) {
			decode_map(d, row, element.node, element.base);
			row->finish(d, &element);
		}
		d->where = where.up;
	}
}

static void list_decode(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	if (node->kind == NODE_LIST)
		decode_elements(d, row, node, base);
	else
		wrong_shape(d, row, node);
}

static void named_decode(struct decoder *d, const struct row *row, struct node *node, void *base)
{
	if (node->kind == NODE_MAP)
		decode_elements(d, row, node, base);
	else
		wrong_shape(d, row, node);
}

/* ---- and back ---- */

static struct node *section_encode(struct encoder *e, const struct row *row, const void *base)
{
	return encode_map(e, row, base);
}

static struct node *switched_encode(struct encoder *e, const struct row *row, const void *base)
{
	if (!*(const bool *)member_in(row, base))
		return node_scalar(e->arena, NODE_WORD, VIEW("off"));
	return encode_map(e, row, base);
}

static struct node *list_encode(struct encoder *e, const struct row *row, const void *base)
{
	const struct rows_member *member = member_in(row, base);
	size_t size = row_element_size(row);
	struct node *list = node_list(e->arena);
	for (size_t i = 0; i < member->n; i++)
		node_add(e->arena, list, encode_map(e, row, (const char *)member->rows + i * size));
	return list;
}

static struct node *named_encode(struct encoder *e, const struct row *row, const void *base)
{
	const struct rows_member *member = member_in(row, base);
	size_t size = row_element_size(row);
	struct node *map = node_map(e->arena);
	for (size_t i = 0; i < member->n; i++) {
		const char *element = (const char *)member->rows + i * size;
		/* the name is the first member of what is named */
		struct view name = *(const struct view *)(const void *)element;
		node_put(e->arena, map, node_scalar(e->arena, NODE_TEXT, name),
			 encode_map(e, row, element));
	}
	return map->n ? map : NULL;
}

/* ---- JSON Schema ---- */

static void section_schema(struct json *j, const struct row *row)
{
	schema_keys(j, row);
}

static void switched_schema(struct json *j, const struct row *row)
{
	json_key(j, "oneOf");
	json_array_begin(j);
	json_object_begin(j);
	json_member_text(j, "const", "off");
	json_object_end(j);
	json_object_begin(j);
	schema_keys(j, row);
	json_object_end(j);
	json_array_end(j);
}

/* An element is a map, or what the key that it is short for takes. */
static void element_schema(struct json *j, const struct row *row)
{
	const struct row *brief = NULL;
	for (const struct row *r = row_first(row); r && row->words; r = row_next(r))
		if (view_eq(row_key(r), view_str(row->words)))
			brief = r;
	json_object_begin(j);
	if (brief) {
		json_key(j, "anyOf");
		json_array_begin(j);
		json_object_begin(j);
		brief->type->schema(j, brief);
		json_object_end(j);
		json_object_begin(j);
	}
	schema_keys(j, row);
	if (brief) {
		json_object_end(j);
		json_array_end(j);
	}
	json_object_end(j);
}

static void list_schema(struct json *j, const struct row *row)
{
	schema_type(j, "array");
	if (row->flags & ROW_REQUIRED)
		json_member_u64(j, "minItems", 1);
	json_key(j, "items");
	element_schema(j, row);
}

static void named_schema(struct json *j, const struct row *row)
{
	schema_type(j, "object");
	if (row->flags & ROW_REQUIRED)
		json_member_u64(j, "minProperties", 1);
	json_key(j, "propertyNames");
	json_object_begin(j);
	schema_pattern(j, NAME_PATTERN);
	json_object_end(j);
	json_key(j, "additionalProperties");
	element_schema(j, row);
}

/* Only the value that changes nothing. */
static void later_schema(struct json *j, const struct row *row)
{
	json_key(j, "enum");
	json_array_begin(j);
	json_text(j, row->words);
	if (strcmp(row->words, "0") == 0)
		json_u64(j, 0);
	json_array_end(j);
}

const struct conf_type conf_type_section = {
    .syntax = "a map",
    .decode = section_decode,
    .encode = section_encode,
    .schema = section_schema,
};
const struct conf_type conf_type_switched = {
    .syntax = "a map or off",
    .decode = switched_decode,
    .encode = switched_encode,
    .schema = switched_schema,
};
const struct conf_type conf_type_list = {
    .syntax = "a list",
    .decode = list_decode,
    .encode = list_encode,
    .schema = list_schema,
};
const struct conf_type conf_type_named = {
    .syntax = "a map from names to maps",
    .decode = named_decode,
    .encode = named_encode,
    .schema = named_schema,
};
const struct conf_type conf_type_later = {
    .syntax = "not supported yet",
    .schema = later_schema,
};
