/* SPDX-License-Identifier: MIT */
/* JSON as YAML, for people. */
#include "yaml.h"

#include <stdlib.h>

#include "weir/base/yaml.h"

static void put_block(struct str *out, const json_t *value, unsigned depth);

static void put_indent(struct str *out, unsigned depth)
{
	str_printf(out, "%*s", (int)depth * 2, "");
}

static void put_text(struct str *out, const char *text)
{
	yaml_put_text(out, view_str(text));
}

/* Numbers and words are the same in JSON. */
static void put_scalar(struct str *out, const json_t *value)
{
	if (json_is_string(value)) {
		put_text(out, json_string_value(value));
		return;
	}
	char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15) | JSON_COMPACT);
	str_text(out, text ? text : "~");
	free(text);
}

static bool has_members(const json_t *value)
{
	return json_object_size(value) || json_array_size(value);
}

/* What stands behind "key:". */
static void put_member(struct str *out, const json_t *value, unsigned depth)
{
	if (has_members(value)) {
		str_char(out, '\n');
		put_block(out, value, depth + 1);
	} else {
		str_char(out, ' ');
		put_scalar(out, value);
		str_char(out, '\n');
	}
}

/* A map inside a list starts on the line of its dash. */
static void put_map(struct str *out, const json_t *map, unsigned depth, bool after_dash)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)map, key, value)
	{
		if (!after_dash)
			put_indent(out, depth);
		after_dash = false;
		put_text(out, key);
		str_char(out, ':');
		put_member(out, value, depth);
	}
}

static void put_list(struct str *out, const json_t *list, unsigned depth)
{
	size_t i;
	json_t *item;
	json_array_foreach(list, i, item)
	{
		put_indent(out, depth);
		str_text(out, "- ");
		if (json_object_size(item)) {
			put_map(out, item, depth + 1, true);
		} else if (json_array_size(item)) {
			str_char(out, '\n');
			put_list(out, item, depth + 1);
		} else {
			put_scalar(out, item);
			str_char(out, '\n');
		}
	}
}

static void put_block(struct str *out, const json_t *value, unsigned depth)
{
	if (json_is_object(value))
		put_map(out, value, depth, false);
	else
		put_list(out, value, depth);
}

void put_yaml(struct str *out, const json_t *value)
{
	if (has_members(value)) {
		put_block(out, value, 0);
		return;
	}
	put_scalar(out, value);
	str_char(out, '\n');
}
