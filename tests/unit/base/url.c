/* SPDX-License-Identifier: MIT */
/* URLs of services: what is taken apart, and what is refused. */
#include <criterion/criterion.h>

#include "weir/base/url.h"

static void expect(const char *text, bool tls, const char *host, unsigned port, const char *path)
{
	struct url url;
	cr_assert(url_split(view_str(text), &url), "%s", text);
	cr_expect_eq(url.tls, tls, "%s", text);
	cr_expect(view_eq(url.host, view_str(host)), "%s", text);
	cr_expect_eq(url.port, port, "%s", text);
	cr_expect(view_eq(url.path, view_str(path)), "%s", text);
}

Test(url, parts)
{
	expect("http://a", false, "a", 80, "/");
	expect("https://a.example/b?c=/d", true, "a.example", 443, "/b?c=/d");
	expect("http://127.0.0.1:4318/v1", false, "127.0.0.1", 4318, "/v1");
	expect("http://[::1]:2379", false, "::1", 2379, "/");
}

Test(url, refused)
{
	static const char *const bad[] = {
	    "",
	    "ftp://a",
	    "http://",
	    "http:///a",
	    "http://u@a/",
	    "http://a:0/",
	    "http://a:65536/",
	    "http://a/#b",
	    "http://a/ b",
	    "http://[::1/",
	    "http://[a]/",
	    "a:80",
	    "http://a..b/",
	    "http://a?b",
	};
	struct url url;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect(!url_split(view_str(bad[i]), &url), "%s", bad[i]);
}

Test(url, a_line_end_never_gets_into_a_request)
{
	struct url url;
	cr_expect(!url_split(view_of("http://a/\r\nX: y", 15), &url));
	cr_expect(!url_split(view_of("http://a/\0b", 11), &url));
}
