/* SPDX-License-Identifier: MIT */
/* POST /v1/marks: who is touched by one, and what is none. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "fixture.h"
#include "weir/base/defs.h"

static struct fixture f;

static void begin(void)
{
	fixture_init(&f, NULL);
}

static void end(void)
{
	fixture_fini(&f);
}

TestSuite(admin_marks, .init = begin, .fini = end);

#define LONGEST "0123456789012345678901234567890123456789012345678901234567890123"

Test(admin_marks, the_pools_that_it_touches)
{
	static const struct {
		const char *body, *pools, *of, *backend;
	} rows[] = {
	    {"{\"name\": \"v42\"}", "[\"app\",\"spare\"]", "null", "null"},
	    {"{\"name\": \"v42\", \"pool\": \"app\"}", "[\"app\"]", "app", "null"},
	    {"{\"name\": \"v42\", \"pool\": \"app\", \"backend\": \"b\"}", "[\"app\"]", "app", "b"},
	    {"{\"name\": \"" LONGEST "\"}", "[\"app\",\"spare\"]", "null", "null"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct reply r = ask(&f, "POST", "/v1/marks", rows[i].body);
		cr_assert_eq(r.status, 200, "%zu: %s", i, r.body.ptr);
		cr_expect_str_eq(json_at(&r.body, "pools"), rows[i].pools, "%zu", i);
		reply_fini(&r);
		r = ask(&f, "GET", "/v1/events", NULL);
		char path[40];
		snprintf(path, sizeof(path), "events.%ld.kind", json_size(&r.body, "events") - 1);
		cr_expect_str_eq(json_at(&r.body, path), "mark", "%s", r.body.ptr);
		snprintf(path, sizeof(path), "events.%ld.pool", json_size(&r.body, "events") - 1);
		cr_expect_str_eq(json_at(&r.body, path), rows[i].of);
		snprintf(path, sizeof(path), "events.%ld.backend",
			 json_size(&r.body, "events") - 1);
		cr_expect_str_eq(json_at(&r.body, path), rows[i].backend);
		reply_fini(&r);
	}
}

Test(admin_marks, what_is_none)
{
	static const struct {
		const char *body;
		unsigned status;
		const char *says;
	} rows[] = {
	    {"{}", 400, "name must be 1 to 64 characters without spaces"},
	    {"{\"name\": \"\"}", 400, "name must be 1 to 64 characters without spaces"},
	    {"{\"name\": \"" LONGEST "x\"}", 400, "name must be 1 to 64 characters without spaces"},
	    {"{\"name\": \"a b\"}", 400, "name must be 1 to 64 characters without spaces"},
	    {"{\"name\": \"a\\u007f\"}", 400, "name must be 1 to 64 characters without spaces"},
	    {"{\"name\": \"a\", \"backend\": \"b\"}", 400, "backend needs pool"},
	    {"{\"name\": \"a\", \"pool\": \"none\"}", 404, "there is no pool 'none'"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		expect(&f, "POST", "/v1/marks", rows[i].body, rows[i].status, "error",
		       rows[i].says);
	struct reply r = ask(&f, "POST", "/v1/marks",
			     "{\"name\": \"a\", \"pool\": \"app\", \"backend\": \"none\"}");
	cr_expect_eq(r.status, 404);
	reply_fini(&r);
	expect(&f, "GET", "/v1/events", NULL, 200, "events", "[]");
}
