/* SPDX-License-Identifier: MIT */
#include "weir/route/strict.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "weir/base/defs.h"

static struct message msg;

static void parse(const char *target, const char *lines)
{
	static const struct h1_limits limits = {4096, 4096, HEADERS_MAX};
	static char head[4096];
	enum reject why;
	int n = snprintf(head, sizeof(head), "GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n", target, lines);
	cr_assert_eq(h1_parse_request(view_of(head, (size_t)n), &limits, &msg, &why), H1_OK, "%s",
		     target);
}

Test(route_strict, paths)
{
	static const struct {
		const char *target;
		enum reject keep, refuse;
	} rows[] = {
	    {"/", REJECT_NONE, REJECT_NONE},
	    {"/a%20b%25/%7E?%00%2f%5c\\", REJECT_NONE, REJECT_NONE},
	    {"/a%00", REJECT_NUL_IN_PATH, REJECT_NUL_IN_PATH},
	    {"/%00.php?x", REJECT_NUL_IN_PATH, REJECT_NUL_IN_PATH},
	    {"http://a/x%00", REJECT_NUL_IN_PATH, REJECT_NUL_IN_PATH},
	    {"/a%2fb", REJECT_NONE, REJECT_ENCODED_SLASH},
	    {"/a%2Fb", REJECT_NONE, REJECT_ENCODED_SLASH},
	    {"/a%5cb", REJECT_NONE, REJECT_ENCODED_SLASH},
	    {"/a%5C", REJECT_NONE, REJECT_ENCODED_SLASH},
	    {"/a\\b", REJECT_NONE, REJECT_ENCODED_SLASH},
	    {"/a%2fb%00", REJECT_NUL_IN_PATH, REJECT_ENCODED_SLASH},
	    {"/a%252f%2500", REJECT_NONE, REJECT_NONE},
	    {"/%", REJECT_NONE, REJECT_NONE},
	    {"/%2", REJECT_NONE, REJECT_NONE},
	    {"/%0g%2g", REJECT_NONE, REJECT_NONE},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct conf_listener conf = {.encoded_slash = CONF_SLASH_KEEP};
		parse(rows[i].target, "");
		cr_expect_eq(strict_request(&conf, &msg), rows[i].keep, "%s", rows[i].target);
		conf.encoded_slash = CONF_SLASH_REFUSE;
		cr_expect_eq(strict_request(&conf, &msg), rows[i].refuse, "%s", rows[i].target);
	}
}

#define LINES                                                                     \
	"X_Own: 1\r\nX-Good: 2\r\nContent_Length: 5\r\nX_Forwarded-Prefix: /\r\n" \
	"x_client_cert_subject: x\r\nX_REQUEST_ID: x\r\n_: 1\r\nTransfer_Encoding: chunked\r\n"

static const char *passed(enum conf_underscores how)
{
	static char text[256];
	struct str s = str_fixed(text, sizeof(text));
	parse("/", LINES);
	cr_assert_eq(strict_fields(how, &msg), REJECT_NONE);
	for (uint32_t i = 0; i < msg.n_headers; i++)
		if (!msg.headers[i].drop)
			str_printf(&s, VIEW_FMT " ", VIEW_ARG(msg.headers[i].name));
	return text;
}

Test(route_strict, names_with_underscores)
{
	cr_assert_str_eq(passed(CONF_UNDERSCORES_DROP), "Host X-Good ");
	cr_assert_eq(msg.n_underscore, 7);
	cr_assert_str_eq(passed(CONF_UNDERSCORES_PASS), "Host X_Own X-Good _ ");
	cr_assert_eq(msg.n_underscore, 5);
	parse("/", LINES);
	cr_assert_eq(strict_fields(CONF_UNDERSCORES_REFUSE, &msg), REJECT_UNDERSCORE);
	parse("/", "X-Good: a_b\r\n");
	cr_assert_eq(strict_fields(CONF_UNDERSCORES_REFUSE, &msg), REJECT_NONE);
}
