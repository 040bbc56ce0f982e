/* SPDX-License-Identifier: MIT */
#include "weir/base/text.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static size_t encode(unsigned c, char out[4])
{
	if (c < 0x80)
		return out[0] = (char)c, 1;
	if (c < 0x800)
		return out[0] = (char)(0xc0 | c >> 6), out[1] = (char)(0x80 | (c & 0x3f)), 2;
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* Unicode 15: Cc, the separators of lines and paragraphs, Bidi_Control, and what is deprecated. */
static bool drives_terminals(unsigned c)
{
	return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x061c || c == 0x200e || c == 0x200f ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x206f);
}

Test(text, every_code_point_is_judged)
{
	char bytes[4];
	for (unsigned c = 0; c < 0x110000; c++) {
		size_t len = encode(c, bytes);
		bool surrogate = c >= 0xd800 && c < 0xe000;
		cr_assert_eq(utf8_len(bytes, len), surrogate ? 0 : len, "U+%04X", c);
		cr_assert_eq(text_harmless_len(bytes, len),
			     surrogate || drives_terminals(c) ? 0 : len, "U+%04X", c);
		cr_assert_eq(utf8_len(bytes, len - 1), 0, "U+%04X cut short", c);
	}
}

Test(text, cleaning_keeps_what_is_allowed)
{
	char text[] = "a\tb\nc\x80\xc2\x85\xe2\x80\xa9\xf0\x9f\x98\x80\xe2\x82";
	size_t len = text_clean(text, sizeof(text) - 1, "\t");
	text[len] = '\0';
	cr_assert_str_eq(text, "a\tb?c???\xf0\x9f\x98\x80??");
}
