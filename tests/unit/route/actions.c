/* SPDX-License-Identifier: MIT */
/* Rewrites, redirects and splits. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "fixture.h"
#include "weir/base/rng.h"

struct rewritten {
	const char *regex, *template, *path;
	const char *result; /* NULL: no rewrite */
};

static void assert_rewrite(const struct rewritten *c)
{
	struct row row = {.name = "r", .rewrite_regex = c->regex, .rewrite_path = c->template};
	struct str error = STR_INIT, out = STR_INIT;
	struct conf *conf = fixture_conf(&row, 1);
	struct route_table *table = route_table_new(conf, &error);
	cr_assert_not_null(table, "%s", error.ptr);
	struct route_scratch *scratch = route_scratch_new();
	str_text(&out, "GET ");
	bool done = route_rewrite_path(table, scratch, conf->routes, view_str(c->path), NULL,
				       &out) == REWRITE_DONE;
	cr_expect_eq(done, c->result != NULL, "%s: %s", c->path, out.ptr);
	cr_expect_str_eq(out.ptr + 4, c->result ? c->result : "");
	cr_expect_eq(strlen(out.ptr), out.len);
	route_scratch_free(scratch);
	route_table_free(table);
	str_fini(&out);
	arena_free(conf->arena);
}

Test(rewrite, cases)
{
	static const struct rewritten cases[] = {
	    {"^/v1/(.*)$", "/$1", "/v1/a/b", "/a/b"},
	    {"^/v1/(.*)$", "/$1", "/v1/a?x=1&y", "/a?x=1&y"},
	    {"^/v1/(.*)$", "/$1", "/v2/a", NULL},
	    /* what the regex leaves alone stays */
	    {"^/v1", "/v2", "/v1/x", "/v2/x"},
	    {"b+", "[$0]", "/abba", "/a[bb]a"},
	    {"$", "/end", "/x", "/x/end"},
	    {"^/(?<user>[^/]+)/(\\d+)$", "/u/${user}/$2$2/${2}", "/bob/7", "/u/bob/77/7"},
	    {"^/(a)|(b)$", "/x$2", "/a", "/x"},
	    {"^(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)$", "$1$9${10}0$$", "/234567890", "/900$"},
	    /* no regex: all of the path */
	    {NULL, "/fixed", "/any/thing?q=1", "/fixed?q=1"},
	    {NULL, "/f?x=1", "/any?q=1", "/f?x=1&q=1"},
	    {NULL, "/caf\xc3\xa9 x", "/", "/caf%C3%A9%20x"},
	    /* normalised first, but slashes are kept: a path may hold a URL */
	    {"^/img/(.*)$", "/$1", "/img/https://x/y", "/https:/x/y"},
	    /* matched and rewritten in one form */
	    {"^/rw/(.*)$", "/$1", "//rw/x", "/x"},
	    {"^/rw/(.*)$", "/$1", "/a/..//r%77/./x?a//b", "/x?a//b"},
	    {"^/v1/(.*)$", "/$1", "/x/../%761/%2fa", "/%2Fa"},
	    /* results that are no path */
	    {"^/(.*)$", "$1", "/x", NULL},
	    {"^/(.*)$", "/$1#x", "/x", NULL},
	    {"^/(.*)$", "/\r\nX: y", "/x", NULL},
	    {"^/(.*)$", "", "/x", NULL},
	    /* a limit counts as no match */
	    {"^/(a|aa|aaa)+$", "/x",
	     "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!",
	     NULL},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_rewrite(&cases[i]);
}

Test(rewrite, none_asked_for)
{
	assert_rewrite(&(struct rewritten){NULL, NULL, "/x", NULL});
}

Test(rewrite, more_groups_than_can_be_referred_to)
{
	char regex[256] = "^/", *p = regex + 2;
	for (int i = 0; i < 60; i++)
		p += sprintf(p, "(.)");
	assert_rewrite(&(struct rewritten){
	    regex, "/${31}$1", "/0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
	    "/u0YZ"});
}

Test(rewrite, what_does_not_fit_leaves_the_output_alone)
{
	struct row row = {.name = "r", .rewrite_regex = "^/(.*)$", .rewrite_path = "/$1/$1/$1"};
	char room[16];
	struct str error = STR_INIT, out = str_fixed(room, sizeof(room));
	struct conf *conf = fixture_conf(&row, 1);
	struct route_table *table = route_table_new(conf, &error);
	struct route_scratch *scratch = route_scratch_new();
	str_text(&out, "keep");
	cr_assert_eq(route_rewrite_path(table, scratch, conf->routes, VIEW("/12345"), NULL, &out),
		     REWRITE_FAILED);
	cr_assert_str_eq(out.ptr, "keep");
	cr_assert_eq(out.len, 4);
	cr_assert(!out.overflow);
	cr_assert_eq(route_rewrite_path(table, scratch, conf->routes, VIEW("/12"), NULL, &out),
		     REWRITE_DONE);
	cr_assert_str_eq(out.ptr, "keep/12/12/12");
	route_scratch_free(scratch);
	route_table_free(table);
	arena_free(conf->arena);
}

Test(redirect, cases)
{
	static const struct {
		const char *to, *path, *result;
	} cases[] = {
	    {"https://{host}{uri}", "/a/b?c=d", "https://a.example/a/b?c=d"},
	    {"{scheme}://new.example{path}?from={host}&{query}", "/a?b",
	     "http://new.example/a?from=a.example&b"},
	    {"https://{host}{path}", "/a?b", "https://a.example/a"},
	    {"/login", "/a", "/login"},
	    {"{uri}", "/a", "/a"},
	    /* no open redirects */
	    {"{uri}", "//evil.example/x", "/evil.example/x"},
	    {"{path}", "/\\evil.example", "/evil.example"},
	    {"{path}", "///evil.example", "/evil.example"},
	    {"https://x.example{uri}", "//a", "https://x.example//a"},
	    {"https://x.example{uri}", "*", "https://x.example/"},
	    /* no way out of the header field */
	    {"https://x.example{uri}", "/a\r\nb \"", "https://x.example/a%0D%0Ab%20%22"},
	    {"https://x.example{uri}", "/caf\xc3\xa9", "https://x.example/caf%C3%A9"},
	    /* what is no variable is text */
	    {"/{{other}/{", "/", "/{other}/{"},
	    {"/{}", "/", "/{}"},
	    {"", "/", ""},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct row row = {.name = "r", .redirect = cases[i].to};
		struct conf *conf = fixture_conf(&row, 1);
		struct str out = STR_INIT;
		str_text(&out, "Location: ");
		struct message msg = {.authority = VIEW("a.example:8080"),
				      .path = view_str(cases[i].path)};
		struct fixture_values values = fixture_values(&msg, NULL);
		route_redirect_to(conf->routes, &values.source, &out);
		cr_expect_str_eq(out.ptr + 10, cases[i].result, "%s of %s: %s", cases[i].to,
				 cases[i].path, out.ptr);
		str_fini(&out);
		arena_free(conf->arena);
	}
}

Test(split, shares)
{
	struct conf_split split[3] = {{7, 95}, {8, 0}, {9, 5}};
	struct conf_route route = {.action = CONF_ACTION_SPLIT, .split = split, .n_split = 3};
	uint32_t counts[10] = {0};
	struct rng rng;
	rng_init(&rng, 1);
	for (int i = 0; i < 100000; i++)
		counts[route_pool(&route, rng_next(&rng))]++;
	cr_assert_eq(counts[8], 0);
	cr_assert(counts[7] > 94500 && counts[7] < 95500, "%u", counts[7]);
	cr_assert_eq(counts[7] + counts[9], 100000);
	cr_assert_eq(route_pool(&route, 0), 7);
	cr_assert_eq(route_pool(&route, UINT64_MAX), 9);
}

Test(split, one_pool)
{
	struct conf_route route = {.action = CONF_ACTION_POOL, .pool = 3};
	cr_assert_eq(route_pool(&route, UINT64_MAX), 3);
}

/* What was not rewritten may lead where the route is to keep clients away from. */
Test(rewrite, a_regex_at_its_limit_fails)
{
	struct row row = {
	    .name = "r", .rewrite_regex = "^/((a|aa|aaa)+$|a*!)", .rewrite_path = "/x"};
	struct str error = STR_INIT, out = STR_INIT;
	struct conf *conf = fixture_conf(&row, 1);
	struct route_table *table = route_table_new(conf, &error);
	struct route_scratch *scratch = route_scratch_new();
	struct view path = VIEW("/aaaaaaaaaaaaaaaaaaaaaa!");
	cr_assert_eq(route_rewrite_path(table, scratch, conf->routes, path, NULL, &out),
		     REWRITE_FAILED);
	cr_assert_eq(route_gave_up(scratch), conf->routes);
	cr_assert_eq(route_rewrite_path(table, scratch, conf->routes, VIEW("/b"), NULL, &out),
		     REWRITE_NONE);
	cr_assert_null(route_gave_up(scratch));
	cr_assert_eq(out.len, 0);
	route_scratch_free(scratch);
	route_table_free(table);
	arena_free(conf->arena);
}
