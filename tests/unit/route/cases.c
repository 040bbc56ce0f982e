/* SPDX-License-Identifier: MIT */
/* Which route decides: tables of routes and requests, a sentence each. */
#include <criterion/criterion.h>

#include "fixture.h"

struct asked {
	const char *sentence;
	struct ask ask;
	const char *route; /* NULL: none */
};

static void assert_routes(const struct row *rows, size_t n_rows, const struct asked *asked,
			  size_t n)
{
	struct str error = STR_INIT;
	struct conf *conf = fixture_conf(rows, n_rows);
	struct route_table *table = route_table_new(conf, &error);
	cr_assert_not_null(table, "%s", error.ptr);
	struct route_scratch *scratch = route_scratch_new();
	for (size_t i = 0; i < n; i++) {
		struct request r;
		request_init(&r, &asked[i].ask);
		const struct conf_route *route = route_find(table, scratch, &r.req);
		const char *got = route ? route->name.ptr : "none";
		const char *want = asked[i].route ? asked[i].route : "none";
		cr_expect_str_eq(got, want, "%s: %s instead of %s", asked[i].sentence, got, want);
		cr_expect(naive_find(conf, &r.req) == route, "%s: naive differs",
			  asked[i].sentence);
	}
	route_scratch_free(scratch);
	route_table_free(table);
	str_fini(&error);
	arena_free(conf->arena);
}

#define ASSERT_ROUTES(rows, asked)                                   \
	assert_routes(rows, sizeof(rows) / sizeof((rows)[0]), asked, \
		      sizeof(asked) / sizeof((asked)[0]))

Test(route, hosts)
{
	static const struct row rows[] = {
	    {.name = "exact", .host = "a.example"},
	    {.name = "deep", .host = "*.b.a.example"},
	    {.name = "wild", .host = "*.a.example"},
	    {.name = "many", .host = "x.test Y.Test. z.test:8080 [::1]"},
	    {.name = "label", .host = "localhost"},
	};
	static const struct asked asked[] = {
	    {"a name", {.host = "a.example"}, "exact"},
	    {"case is ignored", {.host = "A.Example"}, "exact"},
	    {"a trailing dot is ignored", {.host = "a.example."}, "exact"},
	    {"a port is ignored", {.host = "a.example:8080"}, "exact"},
	    {"a wildcard matches one label", {.host = "www.a.example"}, "wild"},
	    {"a wildcard matches many labels", {.host = "x.y.z.a.example"}, "wild"},
	    {"the first of two wildcards wins", {.host = "x.b.a.example"}, "deep"},
	    {"a wildcard does not match its own name", {.host = "b.a.example"}, "wild"},
	    {"a wildcard ends at a dot", {.host = "wwwa.example"}, NULL},
	    {"a parent is not matched", {.host = "example"}, NULL},
	    {"no empty label in front", {.host = ".a.example"}, NULL},
	    {"one of several names", {.host = "y.test"}, "many"},
	    {"a name written with a port", {.host = "z.test"}, "many"},
	    {"an IPv6 address", {.host = "[::1]"}, "many"},
	    {"an IPv6 address with a port", {.host = "[::1]:80"}, "many"},
	    {"one label", {.host = "LOCALHOST"}, "label"},
	    {"no host at all", {.host = ""}, NULL},
	    {"a dot alone", {.host = "."}, NULL},
	};
	ASSERT_ROUTES(rows, asked);
}

Test(route, file_order_decides_across_hosts)
{
	static const struct row rows[] = {
	    {.name = "any-admin", .path = "/admin"},
	    {.name = "wild-api", .host = "*.example", .path = "/api"},
	    {.name = "exact", .host = "www.example"},
	    {.name = "wild", .host = "*.example"},
	    {.name = "any", .host = "*"},
	};
	static const struct asked asked[] = {
	    {"a route without host comes first",
	     {.host = "www.example", .path = "/admin/x"},
	     "any-admin"},
	    {"a wildcard comes before an exact name",
	     {.host = "www.example", .path = "/api"},
	     "wild-api"},
	    {"an exact name comes before a wildcard",
	     {.host = "www.example", .path = "/x"},
	     "exact"},
	    {"only the wildcard", {.host = "x.example", .path = "/x"}, "wild"},
	    {"the star matches all", {.host = "elsewhere", .path = "/x"}, "any"},
	    {"the star matches no host too", {.host = "", .path = "/x"}, "any"},
	};
	ASSERT_ROUTES(rows, asked);
}

Test(route, prefixes_end_at_segments)
{
	static const struct row rows[] = {
	    {.name = "below", .path = "/dir/"},
	    {.name = "v1", .path = "/v1"},
	    {.name = "deep", .path = "/a/b/c"},
	    {.name = "shallow", .path = "/a"},
	    {.name = "root", .path = "/", .method = "POST"},
	};
	static const struct asked asked[] = {
	    {"the prefix itself", {.path = "/v1"}, "v1"},
	    {"with a slash", {.path = "/v1/"}, "v1"},
	    {"below it", {.path = "/v1/x"}, "v1"},
	    {"with a query", {.path = "/v1?x=/v2"}, "v1"},
	    {"not inside a segment", {.path = "/v1x"}, NULL},
	    {"paths have case", {.path = "/V1"}, NULL},
	    {"a trailing slash means below only", {.path = "/dir"}, NULL},
	    {"the directory itself", {.path = "/dir/"}, "below"},
	    {"below the directory", {.path = "/dir/x/y"}, "below"},
	    {"the longer prefix stands first", {.path = "/a/b/c/d"}, "deep"},
	    {"the longer prefix ends early", {.path = "/a/b"}, "shallow"},
	    {"the root matches all paths", {.path = "/other", .method = "POST"}, "root"},
	    {"the star of OPTIONS is no path", {.path = "*", .method = "POST"}, NULL},
	};
	ASSERT_ROUTES(rows, asked);
}

Test(route, a_short_prefix_before_a_long_one_wins)
{
	static const struct row rows[] = {
	    {.name = "short", .path = "/a"},    {.name = "long", .path = "/a/b"},
	    {.name = "exact", .exact = "/x/y"}, {.name = "prefix", .path = "/x"},
	    {.name = "slash", .exact = "/x/"},  {.name = "rest"},
	};
	static const struct asked asked[] = {
	    {"file order, not length", {.path = "/a/b/c"}, "short"},
	    {"the exact path", {.path = "/x/y"}, "exact"},
	    {"exact means nothing below", {.path = "/x/y/z"}, "prefix"},
	    {"nor a slash", {.path = "/x/y/"}, "prefix"},
	    {"the prefix stands before the exact slash", {.path = "/x/"}, "prefix"},
	    {"a route without conditions", {.path = "/"}, "rest"},
	    {"also for OPTIONS", {.path = "*", .method = "OPTIONS"}, "rest"},
	};
	ASSERT_ROUTES(rows, asked);
}

/* No spelling of a path slips past the route that guards it. */
Test(route, spellings)
{
	static const struct row rows[] = {
	    {.name = "admin", .path = "/admin"},
	    {.name = "slash", .exact = "/a%2fb"},
	    {.name = "tilde", .exact = "/%7euser/./x/../y"},
	    {.name = "rest"},
	};
	static const struct asked asked[] = {
	    {"as is", {.path = "/admin"}, "admin"},
	    {"up and down", {.path = "/a/../admin"}, "admin"},
	    {"encoded letter", {.path = "/%61dmin"}, "admin"},
	    {"encoded dots", {.path = "/x/%2e%2E/admin"}, "admin"},
	    {"half encoded dots", {.path = "/x/.%2e/admin/y"}, "admin"},
	    {"single dots", {.path = "/./admin/."}, "admin"},
	    {"above the root", {.path = "/../../admin"}, "admin"},
	    {"double slash in front", {.path = "//admin"}, "admin"},
	    {"many slashes", {.path = "///x///..///admin"}, "admin"},
	    {"leaves it again", {.path = "/admin/../public"}, "rest"},
	    {"only named in the query", {.path = "/x?/../admin"}, "rest"},
	    {"an encoded slash is no border", {.path = "/admin%2fx"}, "rest"},
	    {"an encoded slash makes no dots", {.path = "/x%2f..%2fadmin"}, "rest"},
	    {"decoded once only", {.path = "/%2561dmin"}, "rest"},
	    {"an encoded NUL stays", {.path = "/admin%00"}, "rest"},
	    {"hex digits in upper case", {.path = "/a%2Fb"}, "slash"},
	    {"hex digits in lower case", {.path = "/a%2fb"}, "slash"},
	    {"the slash itself is different", {.path = "/a/b"}, "rest"},
	    {"routes are normalised too", {.path = "/~user/y"}, "tilde"},
	    {"three dots are a name", {.path = "/.../admin"}, "rest"},
	    {"a percent sign alone", {.path = "/admin/%"}, "admin"},
	    {"no hex digits", {.path = "/%zz"}, "rest"},
	};
	ASSERT_ROUTES(rows, asked);
}

Test(route, conditions)
{
	static const struct row rows[] = {
	    {.name = "method", .path = "/m", .method = "GET HEAD"},
	    {.name = "header", .path = "/h", .header = "X-Env=canary Cookie=*"},
	    {.name = "query", .path = "/q", .query = "beta=1 user=*"},
	    {.name = "decoded", .path = "/d", .query = "na%20me=%41b"},
	    {.name = "client", .path = "/c", .client = "10.0.0.0/8 fd00::/8"},
	    {.name = "empty", .path = "/e", .query = "flag="},
	};
	static const struct asked asked[] = {
	    {"one of the methods", {.path = "/m", .method = "HEAD"}, "method"},
	    {"another method", {.path = "/m", .method = "POST"}, NULL},
	    {"methods have case", {.path = "/m", .method = "get"}, NULL},
	    {"all headers", {.path = "/h", .header = "x-env=canary cookie=a"}, "header"},
	    {"one is missing", {.path = "/h", .header = "x-env=canary"}, NULL},
	    {"another value", {.path = "/h", .header = "X-Env=Canary Cookie=a"}, NULL},
	    {"any of several fields",
	     {.path = "/h", .header = "X-Env=prod X-Env=canary Cookie=a"},
	     "header"},
	    {"all arguments", {.path = "/q?user=x&beta=1"}, "query"},
	    {"an empty value is present", {.path = "/q?user&beta=1"}, "query"},
	    {"another argument value", {.path = "/q?user=x&beta=11"}, NULL},
	    {"any of several arguments", {.path = "/q?beta=0&user=&beta=1"}, "query"},
	    {"an argument encoded", {.path = "/q?us%65r=x&beta=%31"}, "query"},
	    {"both sides decoded", {.path = "/d?na%20me=A%62"}, "decoded"},
	    {"an encoded ampersand does not split", {.path = "/q?user=x%26beta=1"}, NULL},
	    {"no query", {.path = "/q"}, NULL},
	    {"a client inside", {.path = "/c", .client = "10.9.8.7"}, "client"},
	    {"a client outside", {.path = "/c", .client = "11.9.8.7"}, NULL},
	    {"an IPv6 client", {.path = "/c", .client = "fd00::1"}, "client"},
	    {"a flag without value", {.path = "/e?flag"}, "empty"},
	    {"a flag with value", {.path = "/e?flag=1"}, NULL},
	    {"empty pairs are nothing", {.path = "/e?&&&"}, NULL},
	};
	ASSERT_ROUTES(rows, asked);
}

Test(route, a_route_that_fails_gives_way_to_the_next)
{
	static const struct row rows[] = {
	    {.name = "post", .host = "a.example", .path = "/x", .method = "POST"},
	    {.name = "canary", .host = "a.example", .path = "/x", .header = "X-Env=canary"},
	    {.name = "wild", .host = "*.example", .path = "/x", .query = "wild=*"},
	    {.name = "same", .host = "a.example", .path = "/x"},
	};
	static const struct asked asked[] = {
	    {"first", {.host = "a.example", .path = "/x", .method = "POST"}, "post"},
	    {"second", {.host = "a.example", .path = "/x", .header = "X-Env=canary"}, "canary"},
	    {"another host between", {.host = "a.example", .path = "/x?wild"}, "wild"},
	    {"last", {.host = "a.example", .path = "/x"}, "same"},
	};
	ASSERT_ROUTES(rows, asked);
}

Test(route, regexes)
{
	static const struct row rows[] = {
	    {.name = "digits", .regex = "^/user/\\d+$"},
	    {.name = "api", .host = "a.example", .path = "/api", .regex = "\\.json$"},
	    {.name = "slow", .regex = "^/s/(a|aa|aaa)+$"},
	    {.name = "both", .path = "/both", .exact = "/both/x"},
	    {.name = "never", .path = "/one", .exact = "/two"},
	    {.name = "rest"},
	};
	const struct asked asked[] = {
	    {"matches", {.path = "/user/42"}, "digits"},
	    {"does not match", {.path = "/user/42x"}, "rest"},
	    {"the query is not looked at", {.path = "/user/42?x"}, "digits"},
	    {"on the normalised path", {.path = "/x/../us%65r/42"}, "digits"},
	    {"path and regex", {.host = "a.example", .path = "/api/x.json"}, "api"},
	    {"path without regex", {.host = "a.example", .path = "/api/x"}, "rest"},
	    {"regex without path", {.host = "a.example", .path = "/x.json"}, "rest"},
	    {"small enough to match", {.path = "/s/aaaa"}, "slow"},
	    {"prefix and exact agree", {.path = "/both/x"}, "both"},
	    {"prefix and exact disagree", {.path = "/two"}, "rest"},
	};
	ASSERT_ROUTES(rows, asked);
}

/*
 * The first alternative takes 400 000 steps and then gives way to the second, which
 * matches: with the limit it never comes to that.
 */
Test(route, a_regex_at_its_limit_decides_nothing)
{
	static const struct row rows[] = {
	    {.name = "put", .method = "PUT"},
	    {.name = "slow", .path = "/s", .regex = "^/s/((a|aa|aaa)+$|a*!)"},
	    {.name = "rest"},
	};
	const struct ask ask = {.path = "/s/aaaaaaaaaaaaaaaaaaaaaa!"}, fast = {.path = "/s/aaa!"};
	struct str error = STR_INIT;
	struct conf *conf = fixture_conf(rows, ARRAY_LEN(rows));
	struct route_table *table = route_table_new(conf, &error);
	struct route_scratch *scratch = route_scratch_new();
	struct request r;
	request_init(&r, &ask);
	cr_assert_null(route_find(table, scratch, &r.req), "the route behind it is not asked");
	cr_assert_str_eq(route_gave_up(scratch)->name.ptr, "slow");
	cr_assert_str_eq(naive_find(conf, &r.req)->name.ptr, "slow", "the case is too easy");
	request_init(&r, &fast);
	cr_assert_str_eq(route_find(table, scratch, &r.req)->name.ptr, "slow");
	cr_assert_null(route_gave_up(scratch));
	request_init(&r, &(struct ask){.path = ask.path, .method = "PUT"});
	cr_assert_str_eq(route_find(table, scratch, &r.req)->name.ptr, "put",
			 "one before it decides all the same");
	route_scratch_free(scratch);
	route_table_free(table);
	arena_free(conf->arena);
}

/* A field that is not forwarded (named by Connection) does not steer either. */
Test(route, dropped_headers_do_not_count)
{
	static const struct row row = {.name = "h", .header = "X-A=1"};
	struct str error = STR_INIT;
	struct conf *conf = fixture_conf(&row, 1);
	struct route_table *table = route_table_new(conf, &error);
	struct route_scratch *scratch = route_scratch_new();
	struct request r;
	request_init(&r, &(struct ask){.header = "X-A=1"});
	cr_assert_not_null(route_find(table, scratch, &r.req));
	r.msg.headers[0].drop = true;
	cr_assert_null(route_find(table, scratch, &r.req));
	r.req.msg = NULL;
	cr_assert_null(route_find(table, scratch, &r.req));
	route_scratch_free(scratch);
	route_table_free(table);
	arena_free(conf->arena);
}

/* Longer than the scratch begins with, and in need of work. */
Test(route, very_long_paths)
{
	static const struct row rows[] = {{.name = "x", .exact = "/x"}, {.name = "rest"}};
	static char path[100000];
	for (size_t i = 0; i + 5 < sizeof(path); i += 5)
		memcpy(path + i, "/a/..", 5);
	memcpy(path + sizeof(path) - 5, "/x\0", 3);
	const struct asked asked[] = {{"a long way to x", {.path = path}, "x"}};
	ASSERT_ROUTES(rows, asked);
}

Test(route, hosts_past_any_dns_name_match_no_host)
{
	static const struct row rows[] = {{.name = "wild", .host = "*.example"}, {.name = "rest"}};
	static char host[300];
	memset(host, 'a', sizeof(host) - 1);
	memcpy(host + sizeof(host) - 9, ".example", 8);
	const struct asked asked[] = {
	    {"300 bytes", {.host = host}, "rest"},
	    {"255 bytes", {.host = host + 44}, "wild"},
	    {"256 bytes", {.host = host + 43}, "rest"},
	};
	ASSERT_ROUTES(rows, asked);
}

Test(route, no_routes_match_nothing)
{
	static const struct row rows[] = {{.name = "a", .host = "a.example"}};
	static const struct asked asked[] = {{"nothing", {.host = "b.example"}, NULL}};
	ASSERT_ROUTES(rows, asked);
}

Test(route, a_bad_regex_is_named)
{
	static const struct {
		struct row row;
		const char *text;
	} bad[] = {
	    {{.name = "api", .regex = "^/(x"},
	     "route 'api': match.path_regex '^/(x' at offset 4: missing closing parenthesis"},
	    {{.name = "r", .rewrite_regex = "[", .rewrite_path = "/"},
	     "route 'r': rewrite.path_regex '[' at offset 1: "},
	    {{.name = "r", .rewrite_regex = "^/(x)", .rewrite_path = "/$2"},
	     "route 'r': rewrite.path '/$2' at offset 1: not a group"},
	    {{.name = "r", .rewrite_regex = "^/(?<a>x)", .rewrite_path = "/${b}"},
	     "route 'r': rewrite.path '/${b}' at offset 1: "},
	    {{.name = "r", .rewrite_regex = "^/(x)", .rewrite_path = "/x$"},
	     "route 'r': rewrite.path '/x$' at offset 2: "},
	    {{.name = "r", .rewrite_regex = "^/(x)", .rewrite_path = "/${1"},
	     "route 'r': rewrite.path '/${1' at offset 1: "},
	    {{.name = "r", .rewrite_path = "/$1"}, "route 'r': rewrite.path '/$1' at offset 1: "},
	    {{.name = "r", .rewrite_regex = "^/(x)", .rewrite_path = "/${99999999999}"},
	     "route 'r': rewrite.path '/${99999999999}' at offset 1: "},
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct row rows[2] = {{.name = "fine"}, bad[i].row};
		struct str error = STR_INIT;
		struct conf *conf = fixture_conf(rows, 2);
		cr_assert_null(route_table_new(conf, &error));
		cr_assert(view_starts(str_as_view(&error), view_str(bad[i].text)), "%s", error.ptr);
		str_fini(&error);
		arena_free(conf->arena);
	}
}
