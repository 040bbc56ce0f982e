/* SPDX-License-Identifier: MIT */
/* Text as YAML, in quotes where it would be read as something else. */
#include "weir/base/yaml.h"

#include <string.h>

#include "weir/base/defs.h"
#include "weir/base/text.h"

bool yaml_is_printable(uint32_t code)
{
	if (code < 0x20)
		return code == '\t';
	if (code < 0xa0)
		return code < 0x7f;
	return code != 0x2028 && code != 0x2029 && code != 0xfeff && code != 0xfffe &&
	       code != 0xffff;
}

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
		size_t len = utf8_len(v.ptr, v.len);
		uint32_t code = len ? utf8_code_point(v.ptr, len) : 0xfffd;
		if (code == '"' || code == '\\')
			str_printf(out, "\\%c", (char)code);
		else if (code == '\n')
			str_text(out, "\\n");
		else if (code == '\t')
			str_text(out, "\\t");
		else if (yaml_is_printable(code) && text_harmless_len(v.ptr, v.len))
			str_put(out, v.ptr, len);
		else
			str_printf(out, code > 0xffff ? "\\U%08X" : "\\u%04X", code);
		v = view_skip(v, len ? len : 1);
	}
	str_char(out, '"');
}

void yaml_put_text(struct str *out, struct view text)
{
	if (is_plain(text))
		str_view(out, text);
	else
		put_quoted(out, text);
}
