/* SPDX-License-Identifier: MIT */
#include "route/normalise.h"

#include <criterion/criterion.h>
#include <string.h>

#include "weir/base/defs.h"

/* Hosts are looked at eight bytes at a time: any byte anywhere in one. */
Test(normalise, hosts_are_in_lower_case_whatever_stands_where)
{
	for (int byte = 0; byte < 256; byte++)
		for (size_t len = 1; len < 20; len++)
			for (size_t at = 0; at < len; at++) {
				char text[20], want[20], room[HOST_MAX];
				memset(text, 'x', len);
				text[at] = (char)byte;
				memcpy(want, text, len);
				want[at] = char_lower(want[at]);
				/* a colon before no digits is where a port was left out */
				size_t n = len - (at == len - 1 && (byte == '.' || byte == ':'));
				struct view got = host_normalise(view_of(text, len), room);
				cr_assert(view_eq(got, view_of(want, n)), "byte %d at %zu of %zu",
					  byte, at, len);
				if (got.len)
					cr_assert_eq(got.ptr == text, want[at] == text[at]);
			}
}

Test(normalise, ports_and_dots_are_no_part_of_a_host)
{
	static const struct {
		const char *host, *want;
	} rows[] = {
	    {"a.example", "a.example"},
	    {"A.Example:80", "a.example"},
	    {"a.example.:8080", "a.example"},
	    {"a.example:", "a.example"},
	    {"127.0.0.1", "127.0.0.1"},
	    {"127.0.0.1:1", "127.0.0.1"},
	    {"[::1]", "[::1]"},
	    {"[2001:DB8::1]:443", "[2001:db8::1]"},
	    {"::1", "::1"},
	    {"", ""},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char room[HOST_MAX];
		struct view got = host_normalise(view_str(rows[i].host), room);
		cr_assert(view_eq(got, view_str(rows[i].want)), "%s", rows[i].host);
	}
}

Test(normalise, a_host_that_is_too_long_is_none)
{
	char text[HOST_MAX + 1], room[HOST_MAX];
	memset(text, 'X', sizeof(text));
	cr_assert_eq(host_normalise(view_of(text, HOST_MAX), room).len, HOST_MAX);
	cr_assert_eq(host_normalise(view_of(text, HOST_MAX + 1), room).len, 0);
}

Test(normalise, a_query_has_one_form_and_others_another)
{
	static const struct {
		const char *query, *want;
	} rows[] = {
	    {"", ""},
	    {"a=b&c=d", "a=b&c=d"},
	    {"%61=%62+c%20d", "a=b c d"},
	    {"a=1%26b=2", "a=1%26b=2"},
	    {"a%3db=c%3dd&e%3Df", "a%3Db=c=d&e%3Df"},
	    {"a=%2526&b=%25", "a=%2526&b=%25"},
	    {"a=%2B%zz%", "a=+%zz%"},
	    {"a=%%32%36", "a=%%326"},
	    {"a=%2%36&b=%z%32", "a=%2%36&b=%z2"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char room[64];
		struct view got = query_normalise(view_str(rows[i].query), room);
		cr_assert(view_eq(got, view_str(rows[i].want)), "%s: " VIEW_FMT, rows[i].query,
			  VIEW_ARG(got));
	}
}

/* What is decoded never makes an escape of what was none: that would be decoding twice. */
Test(normalise, a_path_is_decoded_once)
{
	static const struct {
		const char *path, *want;
	} rows[] = {
	    {"/%61%2f%5c", "/a%2F%5C"}, {"/%%32%46x", "/%%32Fx"}, {"/%2%46x", "/%2%46x"},
	    {"/%%32Fx", "/%%32Fx"},     {"/%252F", "/%252F"},     {"/%25%32%46", "/%252F"},
	    {"/%%2e%2e/a", "/%../a"},   {"/%/%32%46", "/%/2F"},   {"/%z%32%46", "/%z2F"},
	    {"/%a%", "/%a%"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char room[64], again[64];
		struct view got = path_normalise(view_str(rows[i].path), room);
		cr_expect(view_eq(got, view_str(rows[i].want)), "%s: " VIEW_FMT, rows[i].path,
			  VIEW_ARG(got));
		cr_expect(view_eq(path_normalise(got, again), got), "%s: twice", rows[i].path);
	}
}
