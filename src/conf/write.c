/* SPDX-License-Identifier: MIT */
/*
 * Tree -> text.  YAML is written so that every reader, of YAML 1.1 or 1.2,
 * takes a text for a text: in doubt it is quoted.
 */
#include "node.h"

#include "weir/base/json.h"
#include "weir/base/yaml.h"

/* ---- scalars ---- */

static void put_scalar(struct str *out, const struct node *node)
{
	if (node->style != NODE_TEXT)
		str_view(out, node->text);
	else
		yaml_put_text(out, node->text);
}

/* ---- YAML ---- */

static bool is_flat(const struct node *list)
{
	for (const struct node_item *it = list->items; it; it = it->next)
		if (it->value->kind != NODE_SCALAR)
			return false;
	return true;
}

static void put_flow_list(struct str *out, const struct node *list)
{
	str_char(out, '[');
	for (const struct node_item *it = list->items; it; it = it->next) {
		put_scalar(out, it->value);
		if (it->next)
			str_text(out, ", ");
	}
	str_char(out, ']');
}

static void indent(struct str *out, unsigned depth)
{
	for (unsigned i = 0; i < depth; i++)
		str_text(out, "  ");
}

static void put_block(struct str *out, const struct node *node, unsigned depth, bool open_line);

/* What stands behind "key:" or "-". */
static void put_value(struct str *out, const struct node *node, unsigned depth)
{
	if (node->kind == NODE_SCALAR) {
		str_char(out, ' ');
		put_scalar(out, node);
		str_char(out, '\n');
	} else if (node->kind == NODE_LIST && is_flat(node)) {
		str_char(out, ' ');
		put_flow_list(out, node);
		str_char(out, '\n');
	} else {
		str_char(out, '\n');
		put_block(out, node, depth, false);
	}
}

/* `open_line`: the first key goes behind the dash that is there already. */
static void put_block(struct str *out, const struct node *node, unsigned depth, bool open_line)
{
	for (const struct node_item *it = node->items; it; it = it->next) {
		if (open_line)
			str_char(out, ' ');
		else
			indent(out, depth);
		open_line = false;
		if (it->key) {
			put_scalar(out, it->key);
			str_char(out, ':');
			put_value(out, it->value, depth + 1);
		} else {
			str_char(out, '-');
			if (it->value->kind == NODE_MAP)
				put_block(out, it->value, depth + 1, true);
			else
				put_value(out, it->value, depth + 1);
		}
	}
}

void node_write_yaml(const struct node *node, struct str *out)
{
	put_block(out, node, 0, false);
}

/* ---- JSON ---- */

static void put_json(struct json *j, const struct node *node)
{
	if (node->kind == NODE_MAP) {
		json_object_begin(j);
		for (const struct node_item *it = node->items; it; it = it->next) {
			json_key_view(j, it->key->text);
			put_json(j, it->value);
		}
		json_object_end(j);
	} else if (node->kind == NODE_LIST) {
		json_array_begin(j);
		for (const struct node_item *it = node->items; it; it = it->next)
			put_json(j, it->value);
		json_array_end(j);
	} else if (node->style == NODE_NUMBER || node->style == NODE_TRUTH) {
		json_raw(j, node->text);
	} else {
		json_view(j, node->text);
	}
}

void node_write_json(const struct node *node, struct str *out)
{
	struct json j;
	json_init(&j, out, true);
	put_json(&j, node);
}
