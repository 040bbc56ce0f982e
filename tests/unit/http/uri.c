/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>

#include "weir/base/defs.h"
#include "weir/http/message.h"

struct good {
	const char *authority;
	const char *host;
	unsigned port;
};

Test(http_uri, authorities_that_are_fine)
{
	static const struct good rows[] = {
	    {"a", "a", 0},
	    {"example.com:80", "example.com", 80},
	    {"example.com:", "example.com", 0},
	    {"[::1]:", "[::1]", 0},
	    {"example.com:00080", "example.com", 80},
	    {"a:65535", "a", 65535},
	    {"127.0.0.1", "127.0.0.1", 0},
	    {"[::1]", "[::1]", 0},
	    {"[2001:DB8::1]:8443", "[2001:DB8::1]", 8443},
	    {"[::ffff:1.2.3.4]:1", "[::ffff:1.2.3.4]", 1},
	    {"my_host.", "my_host.", 0},
	    {"a-b~c!d$e&f'g(h)i*j+k;l=m", "a-b~c!d$e&f'g(h)i*j+k;l=m", 0},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct view host;
		uint16_t port;
		cr_assert(authority_split(view_str(rows[i].authority), &host, &port), "%s",
			  rows[i].authority);
		cr_assert(view_eq(host, view_str(rows[i].host)), "%s", rows[i].authority);
		cr_assert_eq(port, rows[i].port);
	}
}

Test(http_uri, authorities_that_are_not)
{
	static const char *const rows[] = {
	    "",       ":",     ":80",    "a:0",    "a:65536",  "a:123456", "a:8x",   "a:-1",
	    "a:+1",   "a:8 0", "a b",    " a",     "a ",       "u@a",      "a/b",    "a?b",
	    "a#b",    "a\\b",  "a,b",    "%61",    "a\xc3",    "a\x7f",    "::1",    "[::1",
	    "[]",     "[:]",   "[a]",    "[::1]a", "[::1%lo]", "[::1]80",  "[v1.a]", "[1.2.3.4]",
	    "[:::1]", "a:b:c", "[::1]]", "a[::1]", "<a>",      "a\tb",
	};
	struct view host;
	uint16_t port;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		cr_assert_not(authority_split(view_str(rows[i]), &host, &port), "\"%s\"", rows[i]);
	cr_assert_not(authority_split(VIEW("[::1\0]"), &host, &port));
	cr_assert_not(authority_split(VIEW("a\0b"), &host, &port));
}

/* Hosts are looked at sixteen and eight bytes at a time: any byte anywhere in one. */
Test(http_uri, a_host_has_no_other_byte_wherever_it_stands)
{
	static const char marks[] = "-._~!$&'()*+;=";
	for (int byte = 0; byte < 256; byte++) {
		const char c = (char)byte;
		bool good = char_is_digit(c) || (char_lower(c) >= 'a' && char_lower(c) <= 'z') ||
			    (c && strchr(marks, c));
		for (size_t len = 1; len < 40; len++)
			for (size_t at = 0; at < len; at++) {
				char text[40];
				struct view host;
				uint16_t port;
				memset(text, 'x', len);
				text[at] = c;
				/* what may be a port */
				bool is_good = good || (c == ':' && at > 0 && at == len - 1);
				cr_assert_eq(authority_split(view_of(text, len), &host, &port),
					     is_good, "byte %d at %zu of %zu", byte, at, len);
				if (good)
					cr_assert_eq(host.len, len);
			}
	}
}

Test(http_uri, path_and_query)
{
	struct view path, query;
	target_split(VIEW("/a/b?c=d?e"), &path, &query);
	cr_assert(view_eq(path, VIEW("/a/b")));
	cr_assert(view_eq(query, VIEW("c=d?e")));
	target_split(VIEW("/a"), &path, &query);
	cr_assert(view_eq(path, VIEW("/a")));
	cr_assert(view_is_empty(query));
	target_split(VIEW("/?"), &path, &query);
	cr_assert(view_eq(path, VIEW("/")));
	cr_assert(view_is_empty(query));
	target_split(VIEW_NONE, &path, &query);
	cr_assert(view_is_empty(path) && view_is_empty(query));
}

Test(http_uri, the_same_authority_in_other_words)
{
	static const struct {
		const char *a, *b;
		bool same;
	} rows[] = {
	    {"a.example", "A.EXAMPLE", true},
	    {"a", "a.", true},
	    {"a:80", "a", true},
	    {"a:", "a:080", true},
	    {"a:443", "a", false},
	    {"[::1]:80", "[::1]", true},
	    {"a", "b", false},
	    {"a..", "a.", false},
	    {"a", "", false},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		cr_assert_eq(
		    authority_is_same(view_str(rows[i].a), view_str(rows[i].b), VIEW("http")),
		    rows[i].same, "%s %s", rows[i].a, rows[i].b);
	cr_assert(view_eq(authority_plain(VIEW("[::1]:")), VIEW("[::1]")));
	cr_assert(view_eq(authority_plain(VIEW("a:1")), VIEW("a:1")));
}
