/* SPDX-License-Identifier: MIT */
#include "weir/base/json.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

static struct str quoted(struct view v)
{
	struct str s = STR_INIT;
	json_quote(&s, v);
	return s;
}

static void check_quoted(struct view v, const char *expected)
{
	struct str s = quoted(v);
	cr_assert_str_eq(s.ptr, expected);
	str_fini(&s);
}

Test(json, escapes_what_rfc_8259_asks_for)
{
	check_quoted(VIEW(""), "\"\"");
	check_quoted(VIEW_NONE, "\"\"");
	check_quoted(VIEW("plain / text"), "\"plain / text\"");
	check_quoted(VIEW("\"\\"), "\"\\\"\\\\\"");
	check_quoted(VIEW("\n\r\t\b\f"), "\"\\n\\r\\t\\u0008\\u000c\"");
	check_quoted(VIEW("a\0b\x1f\x7f"), "\"a\\u0000b\\u001f\\u007f\"");
}

/* Text is looked at eight bytes at a time: one byte of any kind anywhere in it. */
Test(json, escapes_a_byte_wherever_it_stands)
{
	for (unsigned byte = 0; byte < 256; byte++) {
		const char c = (char)byte;
		struct str alone = STR_INIT;
		json_quote(&alone, view_of(&c, 1));
		for (size_t len = 1; len < 20; len++)
			for (size_t at = 0; at < len; at++) {
				char text[20];
				struct str got = STR_INIT, want = STR_INIT;
				memset(text, 'x', len);
				text[at] = c;
				json_quote(&got, view_of(text, len));
				str_printf(&want, "\"%.*s%.*s%.*s\"", (int)at,
					   "xxxxxxxxxxxxxxxxxxx", (int)alone.len - 2, alone.ptr + 1,
					   (int)(len - at - 1), "xxxxxxxxxxxxxxxxxxx");
				cr_assert(view_eq(str_as_view(&got), str_as_view(&want)),
					  "byte %u at %zu of %zu", byte, at, len);
				str_fini(&got);
				str_fini(&want);
			}
		str_fini(&alone);
	}
}

Test(json, keeps_valid_utf8)
{
	static const char *const good[] = {
	    "\xc2\xa0",           "\xdf\xbf",          "\xe0\xa0\x80",     "\xed\x9f\xbf",
	    "\xee\x80\x80",       "\xef\xbf\xbf",      "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf",
	    "gr\xc3\xbc\xc3\x9f", "\xf0\x9f\x98\x80 x"};
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		char expected[32];
		snprintf(expected, sizeof(expected), "\"%s\"", good[i]);
		check_quoted(view_str(good[i]), expected);
	}
}

/* They would drive a terminal or a page: kept, but as escapes. */
Test(json, escapes_what_is_valid_but_hostile)
{
	check_quoted(VIEW("\xc2\x80"), "\"\\u0080\"");
	check_quoted(VIEW("a\xc2\x9b"
			  "b"),
		     "\"a\\u009bb\"");
	check_quoted(VIEW("\xe2\x80\xa8\xe2\x80\xae\xc3\xa9"), "\"\\u2028\\u202e\xc3\xa9\"");
}

Test(json, replaces_each_byte_of_bad_utf8)
{
	static const struct {
		const char *text;
		unsigned n_bad;
		const char *why;
	} bad[] = {
	    {"\x80", 1, "continuation alone"},
	    {"\xff", 1, "no such byte"},
	    {"\xc3", 1, "cut short"},
	    {"\xe2\x82", 2, "cut short after two of three"},
	    {"\xf0\x9f\x98", 3, "cut short after three of four"},
	    {"\xc0\xaf", 2, "overlong slash"},
	    {"\xc1\xbf", 2, "overlong"},
	    {"\xe0\x9f\xbf", 3, "overlong in three bytes"},
	    {"\xf0\x8f\xbf\xbf", 4, "overlong in four bytes"},
	    {"\xed\xa0\x80", 3, "surrogate"},
	    {"\xf4\x90\x80\x80", 4, "above U+10FFFF"},
	    {"\xf5\x80\x80\x80", 4, "no such lead"},
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct str s = STR_INIT, expected = STR_INIT;
		str_printf(&s, "<%s>", bad[i].text);
		struct str got = quoted(str_as_view(&s));
		str_text(&expected, "\"<");
		for (unsigned n = 0; n < bad[i].n_bad; n++)
			str_text(&expected, "\\ufffd");
		str_text(&expected, ">\"");
		cr_assert_str_eq(got.ptr, expected.ptr, "%s", bad[i].why);
		str_fini(&s);
		str_fini(&expected);
		str_fini(&got);
	}
}

Test(json, a_cut_sequence_does_not_read_past_the_end)
{
	check_quoted(view_head(VIEW("a\xc3\xbc"), 2), "\"a\\ufffd\"");
}

static void write_sample(struct json *j)
{
	json_object_begin(j);
	json_member_text(j, "a", "x");
	json_key(j, "list");
	json_array_begin(j);
	json_u64(j, 1);
	json_i64(j, -2);
	json_object_begin(j);
	json_object_end(j);
	json_array_begin(j);
	json_array_end(j);
	json_array_end(j);
	json_member_bool(j, "t", true);
	json_key(j, "f");
	json_bool(j, false);
	json_member_text(j, "n", NULL);
	json_key_view(j, VIEW("r\"w"));
	json_raw(j, VIEW("{\"z\":0}"));
	json_key(j, "s");
	json_textf(j, "%d\n", 7);
	json_object_end(j);
}

Test(json, places_commas)
{
	struct str s = STR_INIT;
	struct json j;
	json_init(&j, &s, false);
	write_sample(&j);
	cr_assert_str_eq(s.ptr,
			 "{\"a\":\"x\",\"list\":[1,-2,{},[]],\"t\":true,\"f\":false,\"n\":null,"
			 "\"r\\\"w\":{\"z\":0},\"s\":\"7\\n\"}");
	str_fini(&s);
}

Test(json, indents)
{
	struct str s = STR_INIT;
	struct json j;
	json_init(&j, &s, true);
	write_sample(&j);
	cr_assert_str_eq(s.ptr,
			 "{\n  \"a\": \"x\",\n  \"list\": [\n    1,\n    -2,\n    {},\n    []\n"
			 "  ],\n  \"t\": true,\n  \"f\": false,\n  \"n\": null,\n"
			 "  \"r\\\"w\": {\"z\":0},\n  \"s\": \"7\\n\"\n}\n");
	str_fini(&s);
}

Test(json, numbers)
{
	struct str s = STR_INIT;
	struct json j;
	json_init(&j, &s, false);
	json_array_begin(&j);
	json_u64(&j, UINT64_MAX);
	json_i64(&j, INT64_MIN);
	json_double(&j, 0.25);
	json_double(&j, 1.0 / 3);
	json_double(&j, NAN);
	json_double(&j, INFINITY);
	json_array_end(&j);
	cr_assert_str_eq(s.ptr,
			 "[18446744073709551615,-9223372036854775808,0.25,0.333333,null,null]");
	str_fini(&s);
}
