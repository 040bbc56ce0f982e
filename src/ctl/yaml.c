/* SPDX-License-Identifier: MIT */
/* JSON as YAML, for people. */
#include "yaml.h"

#include <stdlib.h>
#include <string.h>

#include "weir/base/defs.h"
#include "weir/base/parse.h"

static void put_block(struct str *out, const json_t *value, unsigned depth);

static void put_indent(struct str *out, unsigned depth)
{
	str_printf(out, "%*s", (int)depth * 2, "");
}

/* Words that YAML 1.1 reads as something else than text. */
static bool is_reserved(const char *text)
{
	static const char *const words[] = {"true", "false", "yes", "no", "on",
					    "off",  "null",  "y",   "n",  "~"};
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (view_ieq(view_str(text), view_str(words[i])))
			return true;
	return false;
}

/* YAML 1.1 has 1_000, 12:30 (base 60) and 0x1f; an address has more dots. */
static bool looks_like_number(const char *text)
{
	double number;
	const char *dot = strchr(text, '.');
	if (parse_double(view_str(text), &number) || view_istarts(view_str(text), VIEW("0x")))
		return true;
	return text[strspn(text, "0123456789:_.")] == '\0' && !(dot && strchr(dot + 1, '.'));
}

/* Safe without quotes: starts like a word or path, no indicator inside, no number. */
static bool is_plain(const char *text)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	size_t len = strlen(text);
	if (len == 0 || is_reserved(text) || looks_like_number(text))
		return false;
	if (!strchr(letters, text[0]) && !char_is_digit(text[0]) && text[0] != '/')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!strchr(letters, text[i]) && !char_is_digit(text[i]) &&
		    !strchr("/._-+=%:@", text[i]))
			return false;
	return text[len - 1] != ':';
}

/* Numbers, words, and text in the quotes that JSON and YAML share. */
static void put_scalar(struct str *out, const json_t *value)
{
	if (json_is_string(value) && is_plain(json_string_value(value))) {
		str_text(out, json_string_value(value));
		return;
	}
	char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15) | JSON_COMPACT |
					   JSON_ENSURE_ASCII);
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
		json_t *name = json_string(key);
		if (!after_dash)
			put_indent(out, depth);
		after_dash = false;
		put_scalar(out, name);
		str_char(out, ':');
		put_member(out, value, depth);
		json_decref(name);
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
