/* SPDX-License-Identifier: MIT */
/*
 * libyaml names only a byte offset for bad characters, and takes U+0085, U+2028
 * and U+2029 for line ends as YAML 1.1 did.  Looking at the bytes before gives
 * every mistake its line and column, and leaves LF and CR as the only ends.
 */
#include "text.h"

unsigned text_char(struct view v, uint32_t *code)
{
	static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
	unsigned char c = (unsigned char)v.ptr[0];
	unsigned len = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
	if (len == 0 || len > v.len)
		return 0;
	uint32_t n = len == 1 ? c : c & (0xff >> (len + 1));
	for (unsigned i = 1; i < len; i++) {
		if (((unsigned char)v.ptr[i] & 0xc0) != 0x80)
			return 0;
		n = n << 6 | ((unsigned char)v.ptr[i] & 0x3f);
	}
	if (n < lowest[len] || n > 0x10ffff || (n >= 0xd800 && n <= 0xdfff))
		return 0;
	*code = n;
	return len;
}

bool text_is_printable(uint32_t code)
{
	if (code < 0x20)
		return code == '\t';
	if (code < 0xa0)
		return code < 0x7f;
	return code != 0x2028 && code != 0x2029 && code != 0xfeff && code != 0xfffe &&
	       code != 0xffff;
}

bool text_check(struct report *r, struct view text, const char *option)
{
	struct spot at = {.line = 1, .column = 1, .width = 1};
	const struct spot argument = {.option = option}, *spot = option ? &argument : &at;
	while (text.len) {
		uint32_t code = 0;
		unsigned len = text_char(text, &code);
		bool ends_line = code == '\n' || (code == '\r' && !view_starts(text, VIEW("\r\n")));
		if (!len) {
			report_at(r, CONF_ERROR, spot, NULL, "byte 0x%02x is not UTF-8",
				  (unsigned char)text.ptr[0]);
			return false;
		}
		if (!text_is_printable(code) && code != '\n' && code != '\r') {
			report_at(
			    r, CONF_ERROR, &at, NULL,
			    "character U+%04X is not allowed; write it as an escape in double "
			    "quotes",
			    code);
			return false;
		}
		at.line += ends_line;
		at.column = ends_line ? 1 : at.column + 1;
		text = view_skip(text, len);
	}
	return true;
}

void text_make_safe(char *s)
{
	struct view rest = view_str(s);
	while (rest.len) {
		uint32_t code = 0;
		unsigned len = text_char(rest, &code);
		size_t at = (size_t)(rest.ptr - s);
		if (code == '\t')
			s[at] = ' ';
		else if (!len || !text_is_printable(code))
			memset(s + at, '?', len ? len : 1);
		rest = view_skip(rest, len ? len : 1);
	}
}
