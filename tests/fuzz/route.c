/* SPDX-License-Identifier: MIT */
/*
 * Any host and request target against a fixed table: the look-up agrees with
 * the naive matcher, rewrites give a path or nothing, redirects stay one line.
 * Input: host, newline, target.
 */
#include "../unit/route/fixture.c"
#include "../unit/route/naive.c"

static const struct row rows[] = {
    {.name = "a", .host = "a.example", .path = "/admin", .rewrite_path = "/x"},
    {.name = "b",
     .host = "*.a.example",
     .path = "/v1/",
     .rewrite_regex = "^/v1/(.*)$",
     .rewrite_path = "/$1"},
    {.name = "c", .host = "*.example B.example. [::1]:80", .exact = "/a%2fb/"},
    {.name = "d", .exact = "/x/~y", .query = "q=1 a%20b=*"},
    {.name = "e", .regex = "^/r/[a-z]+$", .rewrite_regex = "r/(.)", .rewrite_path = "$1$1"},
    {.name = "f", .path = "/admin", .rewrite_regex = "/", .rewrite_path = "//"},
    {.name = "g", .path = "/", .query = "z="},
    {.name = "h", .host = "*", .path = "/a/b/c", .redirect = "{uri}"},
    {.name = "i", .path = "/p", .regex = "%2F", .redirect = "https://{host}{path}?{query}"},
    {.name = "j",
     .rewrite_regex = "(?<n>[^/]*)$",
     .rewrite_path = "${n}$0",
     .redirect = "{path}{uri}"},
};

static void try_actions(const struct route_table *table, struct route_scratch *scratch,
			const struct conf_route *route, const struct route_request *req)
{
	struct str out = STR_INIT;
	struct message msg = {.authority = req->host, .path = req->path};
	struct fixture_values values = fixture_values(&msg, scratch);
	if (route_rewrite_path(table, scratch, route, req->path, &values.source, &out) ==
	    REWRITE_DONE) {
		check(out.len && out.ptr[0] == '/');
		for (size_t i = 0; i < out.len; i++)
			check((unsigned char)out.ptr[i] > ' ' && out.ptr[i] != 0x7f);
	} else {
		check(out.len == 0);
	}
	str_reset(&out);
	if (route->redirect.to.text.ptr) {
		route_redirect_to(route, &values.source, &out);
		for (size_t i = 0; i < out.len; i++)
			check((unsigned char)out.ptr[i] > ' ' && out.ptr[i] < 0x7f);
		check(out.len < 2 || route->redirect.to.text.ptr[0] != '{' ||
		      (out.ptr[1] != '/' && out.ptr[1] != '\\'));
	}
	str_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct conf *conf;
	static struct route_table *table;
	static struct route_scratch *scratch;
	static struct request r;
	if (!conf) {
		struct str error = STR_INIT;
		conf = fixture_conf(rows, ARRAY_LEN(rows));
		table = route_table_new(conf, &error);
		scratch = route_scratch_new();
		check(table && scratch);
	}
	struct view input = view_of((const char *)data, size);
	ptrdiff_t line = view_chr(input, '\n');
	request_init(&r, &(struct ask){0});
	r.req.host = view_head(input, line < 0 ? 0 : (size_t)line);
	r.req.path = view_skip(input, line < 0 ? 0 : (size_t)line + 1);
	const struct conf_route *route = route_find(table, scratch, &r.req);
	check(route == naive_find(conf, &r.req));
	for (size_t i = 0; i < conf->n_routes; i++)
		try_actions(table, scratch, &conf->routes[i], &r.req);
	return 0;
}
