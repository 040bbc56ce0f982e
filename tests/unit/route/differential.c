/* SPDX-License-Identifier: MIT */
/* Random routes and requests: the table agrees with the naive matcher. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "fixture.h"
#include "weir/base/rng.h"

#define PICK(rng, list) ((list)[rng_below(rng, ARRAY_LEN(list))])

/* Few words, so that routes and requests meet often. */
static void random_host(struct rng *rng, char out[64])
{
	static const char *const labels[] = {"a", "b", "A", "ab", "example"};
	static const char *const ends[] = {"", "", "", ".", ":80", ".:80"};
	out[0] = '\0';
	for (uint32_t i = 0, n = 1 + rng_below(rng, 4); i < n; i++) {
		if (i)
			strcat(out, ".");
		strcat(out, PICK(rng, labels));
	}
	strcat(out, PICK(rng, ends));
}

static void random_path(struct rng *rng, char out[128])
{
	static const char *const segments[] = {"a",  "b",    "ab",  "%61", "%2e",  "..",
					       ".",  "",     "%2F", "%2f", "a%20", "...",
					       "a.", "%2e.", "%",   "a",   "b"};
	out[0] = '\0';
	for (uint32_t i = 0, n = 1 + rng_below(rng, 5); i < n; i++) {
		strcat(out, "/");
		strcat(out, PICK(rng, segments));
	}
	if (rng_below(rng, 4) == 0)
		strcat(out, "/");
}

static const char *const queries[] = {"",      "?",      "?x=1",    "?x=2&y",
				      "?y=&x", "?%78=1", "?x=%31&", "?&z"};
static const char *const headers[] = {"", "X-A=1", "x-a=2", "X-A=2 X-A=1", "X-B=1"};
static const char *const clients[] = {"10.0.0.1", "10.1.0.1", "::1", "192.0.2.1"};
static const char *const methods[] = {"GET", "POST", "HEAD"};

static void random_row(struct rng *rng, struct row *row, struct arena *arena)
{
	static const char *const regexes[] = {"^/a", "b$", "/(a|b)/", "^/[^/]*$", "%2F", "\\*"};
	static const char *const conditions[] = {"X-A=1", "x-a=*", "X-A=2 X-B=*"};
	static const char *const arguments[] = {"x=1", "x=*", "y=", "x=* y=*"};
	static const char *const nets[] = {"10.0.0.0/16", "::/0", "10.0.0.0/8 ::1"};
	static const char *const forms[] = {"%s", "*.%s", "*", "x.y %s", "%s *.%s"};
	char text[128];
	*row = (struct row){.name = "r"};
	if (rng_below(rng, 4)) {
		random_host(rng, text);
		/* the compiler cannot see that no form takes more than two */
		const char *form = PICK(rng, forms);
		struct str host = STR_INIT;
		for (const char *p = form; *p; p++) {
			if (p[0] == '%' && p[1] == 's')
				str_text(&host, text), p++;
			else
				str_char(&host, *p);
		}
		row->host = arena_strdup(arena, host.ptr);
		str_fini(&host);
	}
	uint32_t kind = rng_below(rng, 10);
	random_path(rng, text);
	if (kind < 5)
		row->path = arena_strdup(arena, text);
	else if (kind < 7)
		row->exact = arena_strdup(arena, text);
	if (kind == 9) {
		row->path = arena_strdup(arena, text);
		random_path(rng, text);
		row->exact = arena_strdup(arena, text);
	}
	if (rng_below(rng, 8) == 0)
		row->regex = PICK(rng, regexes);
	if (rng_below(rng, 8) == 0)
		row->method = PICK(rng, methods);
	if (rng_below(rng, 8) == 0)
		row->header = PICK(rng, conditions);
	if (rng_below(rng, 8) == 0)
		row->query = PICK(rng, arguments);
	if (rng_below(rng, 8) == 0)
		row->client = PICK(rng, nets);
}

static void random_request(struct rng *rng, struct request *r, char host[64], char path[160])
{
	random_host(rng, host);
	random_path(rng, path);
	if (rng_below(rng, 50) == 0)
		strcpy(path, "*");
	strcat(path, PICK(rng, queries));
	request_init(r, &(struct ask){.host = rng_below(rng, 20) ? host : "",
				      .path = path,
				      .method = PICK(rng, methods),
				      .header = PICK(rng, headers),
				      .client = PICK(rng, clients)});
}

/* Returns how many requests met a route. */
static uint32_t compare(struct rng *rng, size_t n_rows, uint32_t n_requests)
{
	struct arena *arena = arena_new();
	struct row *rows = arena_array(arena, n_rows, sizeof(*rows));
	struct str error = STR_INIT;
	uint32_t n_found = 0;
	for (size_t i = 0; i < n_rows; i++)
		random_row(rng, &rows[i], arena);
	struct conf *conf = fixture_conf(rows, n_rows);
	struct route_table *table = route_table_new(conf, &error);
	cr_assert_not_null(table, "%s", error.ptr);
	struct route_scratch *scratch = route_scratch_new();
	for (uint32_t i = 0; i < n_requests; i++) {
		static struct request r;
		char host[64], path[160];
		random_request(rng, &r, host, path);
		const struct conf_route *got = route_find(table, scratch, &r.req);
		const struct conf_route *want = naive_find(conf, &r.req);
		cr_assert(got == want, "host '%s' path '%s': route %d instead of %d", host, path,
			  got ? (int)got->index : -1, want ? (int)want->index : -1);
		n_found += got != NULL;
	}
	route_scratch_free(scratch);
	route_table_free(table);
	arena_free(conf->arena);
	arena_free(arena);
	return n_found;
}

/* 120 000 requests on 4000 small tables, and some on large ones. */
Test(differential, small_tables, .timeout = 200)
{
	struct rng rng;
	rng_init(&rng, 1);
	uint32_t n_found = 0;
	for (int t = 0; t < 4000; t++)
		n_found += compare(&rng, 1 + rng_below(&rng, 12), 30);
	cr_assert(n_found > 30000 && n_found < 110000, "%u of 120000 meet a route", n_found);
}

Test(differential, large_tables, .timeout = 200)
{
	struct rng rng;
	rng_init(&rng, 2);
	for (int t = 0; t < 4; t++)
		cr_assert(compare(&rng, 1000, 500) > 400);
}
