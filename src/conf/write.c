/* SPDX-License-Identifier: MIT */
/*
 * Tree -> text.  YAML is written so that every reader, of YAML 1.1 or 1.2,
 * takes a text for a text: in doubt it is quoted.
 */
#include "node.h"
#include "text.h"
#include "weir/base/json.h"

/* ---- scalars ---- */

/* Numbers, dates, sexagesimals and the like in any version of YAML. */
static bool looks_like_number(struct view v)
{
	unsigned dots = 0;
	for (size_t i = 0; i < v.len; i++) {
		if (!memchr("0123456789.:_+-eExXoOabcdfABCDF", v.ptr[i], 31))
			return false;
		dots += v.ptr[i] == '.';
	}
	return (char_is_digit(v.ptr[0]) || memchr("+-.", v.ptr[0], 3)) && dots < 3;
}

static bool looks_like_word(struct view v)
{
	static const char *const words[] = {"true", "false", "null", "yes", "no",
					    "on",   "off",   "y",    "n"};
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (view_ieq(v, view_str(words[i])))
			return true;
	return false;
}

static bool is_plain(struct view v)
{
	if (!v.len || v.ptr[v.len - 1] == ':')
		return false;
	for (size_t i = 0; i < v.len; i++) {
		char c = char_lower(v.ptr[i]);
		bool letter = (c >= 'a' && c <= 'z') || char_is_digit(c);
		if (!letter && (c == '\0' || !strchr(i ? "_/.-+$=~%:" : "_/$.", c)))
			return false;
	}
	return !looks_like_number(v) && !looks_like_word(v);
}

static void put_quoted(struct str *out, struct view v)
{
	str_char(out, '"');
	while (v.len) {
		uint32_t code = 0xfffd;
		unsigned len = text_char(v, &code);
		if (code == '"' || code == '\\')
			str_printf(out, "\\%c", (char)code);
		else if (code == '\n')
			str_text(out, "\\n");
		else if (code == '\t')
			str_text(out, "\\t");
		else if (len && text_is_printable(code))
			str_put(out, v.ptr, len);
		else
			str_printf(out, code > 0xffff ? "\\U%08X" : "\\u%04X", code);
		v = view_skip(v, len ? len : 1);
	}
	str_char(out, '"');
}

static void put_scalar(struct str *out, const struct node *node)
{
	if (node->style != NODE_TEXT || is_plain(node->text))
		str_view(out, node->text);
	else
		put_quoted(out, node->text);
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
