/* SPDX-License-Identifier: MIT */
/* The vector scans against the plain tables, at each alignment and length. */
#include "http/chars.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "weir/base/rng.h"

static const char *plain(const char *p, const char *end, enum char_class class)
{
	while (p < end && char_is(*p, class))
		p++;
	return p;
}

static void check_scans(const char *base, const char *p, const char *end)
{
	cr_assert_eq(scan_name(base, p, end), plain(p, end, CHAR_NAME));
	cr_assert_eq(scan_value(base, p, end), plain(p, end, CHAR_VALUE));
	cr_assert_eq(scan_target(base, p, end), plain(p, end, CHAR_TARGET));
	cr_assert_eq(scan_token(base, p, end), plain(p, end, CHAR_TOKEN));
}

Test(http_chars, each_byte_stops_where_the_table_says)
{
	for (size_t len = 0; len <= 70; len++) {
		char *bytes = calloc(1, len ? len : 1); /* exact, for the sanitizer */
		for (unsigned c = 0; c < 256 && len; c++) {
			memset(bytes, 'a', len);
			bytes[(c * 7) % len] = (char)c;
			for (size_t from = 0; from <= len; from++)
				check_scans(bytes, bytes + from, bytes + len);
		}
		check_scans(bytes, bytes, bytes + len);
		free(bytes);
	}
}

Test(http_chars, block_masks_agree_with_the_table)
{
	struct rng rng;
	rng_init(&rng, 7);
	for (unsigned round = 0; round < 20000; round++) {
		size_t len = rng_below(&rng, 150), from = len ? rng_below(&rng, (uint32_t)len) : 0;
		char *bytes = malloc(len ? len : 1);
		for (size_t i = 0; i < len; i++)
			bytes[i] = (char)(rng_below(&rng, 4) ? 'x' : rng_next(&rng));
		struct block block = block_of(bytes, bytes + from, bytes + len);
		for (size_t i = 0; i < BLOCK; i++) {
			bool in = from + i < len;
			char c = in ? bytes[from + i] : 'x';
			bool ends = !char_is(c, CHAR_VALUE) || c == '\t';
			cr_assert_eq(block.ends >> i & 1, ends);
			cr_assert_eq(block.specials >> i & 1, ends || c == ':');
		}
		free(bytes);
	}
}

Test(http_chars, classes_are_those_of_the_rfc)
{
	for (unsigned c = 0; c < 256; c++) {
		bool alnum =
		    (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
		bool tchar = alnum || (c && strchr("!#$%&'*+-.^_`|~", (int)c));
		bool value = c == '\t' || (c >= ' ' && c != 0x7f);
		bool target = c > ' ' && c < 0x7f && c != '#';
		bool host = alnum || (c && strchr("-._~!$&'()*+;=", (int)c));
		cr_assert_eq(char_is((char)c, CHAR_NAME), alnum || c == '-', "%u", c);
		cr_assert_eq(char_is((char)c, CHAR_TOKEN), tchar, "%u", c);
		cr_assert_eq(char_is((char)c, CHAR_VALUE), value, "%u", c);
		cr_assert_eq(char_is((char)c, CHAR_TARGET), target, "%u", c);
		cr_assert_eq(char_is((char)c, CHAR_HOST), host, "%u", c);
	}
}
