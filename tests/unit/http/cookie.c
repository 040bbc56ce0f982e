/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "weir/base/defs.h"
#include "weir/http/cookie.h"

Test(http_cookie, pairs_are_found_one_by_one)
{
	static const struct {
		const char *field, *pairs; /* "name>value|..." */
	} rows[] = {
	    {"a=1", "a>1|"},
	    {"a=1; b=2", "a>1|b>2|"},
	    {"a=1;b=2;", "a>1|b>2|"},
	    {"  a = 1 ;; b=x=y", "a>1|b>x=y|"},
	    {"a=\"q s\"; b=\"", "a>q s|b>\"|"},
	    {"=1; nothing; c=", "c>|"},
	    {"", ""},
	    {";;;", ""},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct view rest = view_str(rows[i].field);
		struct cookie c;
		char got[128];
		size_t len = 0;
		while (cookie_next(&rest, &c))
			len += (size_t)snprintf(got + len, sizeof(got) - len,
						VIEW_FMT ">" VIEW_FMT "|", VIEW_ARG(c.name),
						VIEW_ARG(c.value));
		got[len] = '\0';
		cr_expect_str_eq(got, rows[i].pairs, "%s gives %s", rows[i].field, got);
	}
}

Test(http_cookie, one_name_is_taken_out_and_the_rest_stays_as_it_was)
{
	static const struct {
		const char *field, *without_w;
	} rows[] = {
	    {"w=1", ""},
	    {"w=1; a=2", "a=2"},
	    {"a=2; w=1", "a=2"},
	    {"a=2; w=1; b=3", "a=2; b=3"},
	    {"a=2;w=1;b=3", "a=2;b=3"},
	    {"w=1; w=2; w=3", ""},
	    {"ww=1; W=2; xw=3", "ww=1; W=2; xw=3"},
	    {"a; w=1; =b", "a; =b"},
	    {"w =1;a=2", "a=2"},
	    {"", ""},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct view field = view_str(rows[i].field);
		char *out = malloc(field.len + 1); /* ASan guards the bound */
		size_t len = cookie_without(field, VIEW("w"), out);
		cr_assert(len <= field.len);
		out[len] = '\0';
		cr_expect_str_eq(out, rows[i].without_w, "%s gives %s", rows[i].field, out);
		free(out);
	}
}

Test(http_cookie, set_cookie_begins_with_its_pair)
{
	struct cookie c;
	cr_assert(cookie_set(view_str("JSESSIONID=abc.1; Path=/; HttpOnly"), &c));
	cr_expect(view_eq(c.name, VIEW("JSESSIONID")));
	cr_expect(view_eq(c.value, VIEW("abc.1")));
	cr_expect_not(cookie_set(view_str("; a=1"), &c));
	cr_expect_not(cookie_set(view_str("Path"), &c));
}
