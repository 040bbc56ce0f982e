/* SPDX-License-Identifier: MIT */
/*
 * libyaml names only a byte offset for bad characters, and takes U+0085, U+2028
 * and U+2029 for line ends as YAML 1.1 did.  Looking at the bytes before gives
 * every mistake its line and column, and leaves LF and CR as the only ends.
 */
#include "text.h"

#include "weir/base/text.h"
#include "weir/base/yaml.h"

unsigned text_char(struct view v, uint32_t *code)
{
	size_t len = utf8_len(v.ptr, v.len);
	if (len)
		*code = utf8_code_point(v.ptr, len);
	return (unsigned)len;
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
		if (!yaml_is_printable(code) && code != '\n' && code != '\r') {
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
