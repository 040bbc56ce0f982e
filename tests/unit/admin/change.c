/* SPDX-License-Identifier: MIT */
/* Endpoints that change things, and who may use them. */
#include <criterion/criterion.h>

#include "fixture.h"

static struct fixture f;

static void setup(void)
{
	fixture_init(&f, NULL);
}

static void teardown(void)
{
	fixture_fini(&f);
}

TestSuite(admin_change, .init = setup, .fini = teardown);

#define A "/v1/pools/app/backends/a"
#define ADD "/v1/pools/app/backends"

Test(admin_change, state)
{
	expect(&f, "POST", A, "{\"state\": \"drain\"}", 200, "state", "draining");
	expect(&f, "POST", A, "{\"state\": \"maintenance\"}", 200, "state", "maintenance");
	expect(&f, "GET", "/v1/pools/app", NULL, 200, "backends.0.state", "maintenance");
	expect(&f, "POST", A, "{\"state\": \"up\"}", 200, "state", "up");
	expect(&f, "GET", "/v1/events", NULL, 200, "events.2.message", "up");
}

Test(admin_change, weight_shows_in_the_row_that_comes_back)
{
	expect(&f, "POST", A, "{\"weight\": 7}", 200, "weight", "7");
	expect(&f, "POST", A, "{\"weight\": 0, \"state\": \"drain\"}", 200, "weight", "0");
	expect(&f, "GET", "/v1/pools/app", NULL, 200, "backends.0.state", "draining");
	expect(&f, "POST", A, "{\"weight\": 65535}", 200, "weight", "65535");
	expect(&f, "POST", A, "{\"weight\": 666}", 409, "error", "not that one");
}

Test(admin_change, names_are_percent_encoded)
{
	expect(&f, "POST", "/v1/pools/a%70p/backends/unix%3A%2ftmp%2Fc", "{\"weight\": 3}", 200,
	       "name", "unix:/tmp/c");
}

Test(admin_change, add_and_remove)
{
	expect(&f, "POST", ADD, "{\"address\": \"[::1]:81\", \"name\": \"n\", \"weight\": 4}", 201,
	       "weight", "4");
	expect(&f, "GET", "/v1/pools/app", NULL, 200, "backends.3.address", "[::1]:81");
	expect(&f, "POST", ADD, "{\"address\": \"127.0.0.1:9\"}", 201, "name", "127.0.0.1:9");
	expect(&f, "POST", ADD, "{\"address\": \"127.0.0.1:9\", \"name\": \"n\"}", 409, "error",
	       "pool 'app' has a backend 'n' already");
	expect(&f, "DELETE", A, NULL, 200, "removed", "true");
	expect(&f, "DELETE", A, NULL, 404, "error", "there is no backend 'a' in pool 'app'");
}

Test(admin_change, removing_a_busy_backend_drains_it_first)
{
	atomic_store(&f.pools[0].backends[0]->in_flight, 1);
	expect(&f, "DELETE", A, NULL, 202, "state", "draining");
	atomic_store(&f.pools[0].backends[0]->in_flight, 0);
}

Test(admin_change, what_was_changed_at_run_time)
{
	expect(&f, "GET", "/v1/runtime", NULL, 200, "changes", "[]");
	expect(&f, "POST", A, "{\"weight\": 7}", 200, "weight", "7");
	expect(&f, "POST", ADD, "{\"address\": \"[::1]:81\", \"name\": \"n/x\", \"weight\": 4}",
	       201, "weight", "4");
	expect(&f, "GET", "/v1/runtime", NULL, 200, "changes.1.weight", "7");
	expect(&f, "GET", "/v1/runtime", NULL, 200, "changes.1.state", "null");
	expect(&f, "GET", "/v1/runtime", NULL, 200, "changes.0.added.address", "[::1]:81");
	expect(&f, "DELETE", "/v1/runtime/app/n%2fx", NULL, 200, "changes.0.added.weight", "4");
	expect(&f, "DELETE", "/v1/runtime/app/n%2fx", NULL, 404, "error",
	       "nothing was changed there");
	expect(&f, "DELETE", "/v1/runtime/spare", NULL, 200, "changes", "[]");
	expect(&f, "DELETE", "/v1/runtime", NULL, 200, "changes.0.backend", "a");
	expect(&f, "GET", "/v1/pools/app", NULL, 200, "backends.0.weight", "1");
	expect(&f, "GET", "/v1/runtime", NULL, 200, "changes", "[]");
}

static void refused(const char *method, const char *path, const char *body, unsigned status)
{
	struct reply r = ask(&f, method, path, body);
	cr_assert_eq(r.status, status, "%s %s: %u %s", path, body, r.status, r.body.ptr);
	cr_assert_str_neq(json_at(&r.body, "error"), "<none>", "%s", r.body.ptr);
	cr_assert_str_neq(json_at(&r.body, "error"), "<bad>", "%s", r.body.ptr);
	reply_fini(&r);
}

Test(admin_change, bad_changes_change_nothing)
{
	static const char *const bodies[] = {
	    "",
	    "{",
	    "[]",
	    "\"up\"",
	    "5",
	    "{}",
	    "{\"state\": \"sideways\"}",
	    "{\"state\": \"draining\"}",
	    "{\"state\": 1}",
	    "{\"state\": null}",
	    "{\"weight\": -1}",
	    "{\"weight\": 65536}",
	    "{\"weight\": \"1\"}",
	    "{\"weight\": 1.5}",
	    "{\"weight\": 1e2}",
	    "{\"weight\": 99999999999999999999}",
	    "{\"weight\": 9, \"weight\": 9}",
	    "{\"weight\": 9, \"state\": \"sideways\"}",
	    "{\"state\": \"drain\", \"weight\": -1}",
	    "{\"weight\": 9, \"colour\": \"red\"}",
	    "{\"weight\": 9} x",
	    "{\"state\": \"drain\\u0000\"}",
	    "{\"state\": \"\xff\"}",
	    "{\"\xc3\x28\": 1}",
	};
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
		refused("POST", A, bodies[i], 400);
	refused("POST", A, NULL, 400);
	refused("POST", "/v1/pools/app/backends/nope", "{\"weight\": 9}", 404);
	refused("POST", "/v1/pools/nope/backends/a", "{\"weight\": 9}", 404);
	expect(&f, "GET", "/v1/pools/app", NULL, 200, "backends.0.weight", "1");
	expect(&f, "GET", "/v1/pools/app", NULL, 200, "backends.0.state", "up");
}

Test(admin_change, bad_backends_are_not_added)
{
	static const char *const bodies[] = {
	    "{}",
	    "{\"address\": \"nowhere\"}",
	    "{\"address\": \"127.0.0.1\"}",
	    "{\"address\": \"127.0.0.1:99999\"}",
	    "{\"address\": 5}",
	    "{\"address\": \"127.0.0.1:80\", \"weight\": -3}",
	    "{\"address\": \"127.0.0.1:80\", \"name\": \"\"}",
	    "{\"address\": \"127.0.0.1:80\", \"name\": 7}",
	    "{\"address\": \"127.0.0.1:80\", \"name\": \" x\"}",
	    "{\"address\": \"127.0.0.1:80\", \"name\": \"a\\nb\"}",
	    "{\"address\": \"127.0.0.1:80\", \"colour\": 1}",
	};
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
		refused("POST", ADD, bodies[i], 400);
	refused("POST", "/v1/pools/nope/backends", "{\"address\": \"127.0.0.1:80\"}", 404);
	struct reply r = ask(&f, "GET", "/v1/pools/app", NULL);
	cr_assert_eq(json_size(&r.body, "backends"), 3);
	reply_fini(&r);
}

Test(admin_change, a_deep_body_is_refused)
{
	struct str body = STR_INIT;
	for (int i = 0; i < 60000; i++)
		str_char(&body, '[');
	refused("POST", A, body.ptr, 400);
	str_fini(&body);
}

Test(admin_change, reload)
{
	expect(&f, "POST", "/v1/reload", NULL, 200, "generation", "2");
	f.diagnostics = "weir.yaml:2:1: warning: \"x\"\n";
	expect(&f, "POST", "/v1/reload", NULL, 200, "diagnostics", f.diagnostics);
	f.reload_result = ERR_SYNTAX;
	expect(&f, "POST", "/v1/reload", NULL, 422, "diagnostics", f.diagnostics);
	expect(&f, "POST", "/v1/reload", NULL, 422, "error", "the configuration was refused");
	expect(&f, "GET", "/v1/status", NULL, 200, "last_reload.ok", "false");
}

Test(admin_change, drain)
{
	expect(&f, "POST", "/v1/drain", NULL, 200, "draining", "true");
	cr_assert(f.draining);
}

/* ---- who may ---- */

#define JSON "Content-Type: application/json\r\n"

Test(admin_change, over_tcp_only_with_the_token)
{
	static const struct {
		const char *token, *more;
		unsigned status;
	} rows[] = {
	    {"", JSON, 403},
	    {"", "Authorization: Bearer \r\n" JSON, 403},
	    {"s3cret", JSON, 401},
	    {"s3cret", "Authorization: Bearer\r\n" JSON, 401},
	    {"s3cret", "Authorization: Bearer s3cre\r\n" JSON, 401},
	    {"s3cret", "Authorization: Bearer s3crets\r\n" JSON, 401},
	    {"s3cret", "Authorization: Bearer S3CRET\r\n" JSON, 401},
	    {"s3cret", "Authorization: Basic s3cret\r\n" JSON, 401},
	    {"s3cret", "Authorization: s3cret\r\n" JSON, 401},
	    {"s3cret", "Authorization: Bearer s3cret\r\n" JSON, 200},
	    {"s3cret", "authorization: bearer  s3cret\r\n" JSON, 200},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		str_reset(&f.api.token);
		str_text(&f.api.token, rows[i].token);
		struct reply r = ask_tcp(&f, "POST", A, rows[i].more, "{\"weight\": 9}");
		cr_assert_eq(r.status, rows[i].status, "%zu: %u", i, r.status);
		cr_assert_eq(strstr(r.head.ptr, "WWW-Authenticate: Bearer") != NULL,
			     rows[i].status == 401);
		reply_fini(&r);
		struct str weight = STR_INIT;
		str_printf(&weight, "%d", rows[i].status == 200 ? 9 : 1);
		expect(&f, "GET", "/v1/pools/app", NULL, 200, "backends.0.weight", weight.ptr);
		str_fini(&weight);
	}
}

Test(admin_change, over_tcp_every_change_needs_it)
{
#define API(method, path, handler, access, sentence)                               \
	if (strcmp(#access, "CHANGE") == 0) {                                      \
		struct reply r = ask_tcp(&f, #method, path, "", NULL);             \
		cr_assert_eq(r.status, 403, "%s %s: %u", #method, path, r.status); \
		reply_fini(&r);                                                    \
	}
#include "weir/tbl/api.def"
#undef API
	struct reply r = ask_tcp(&f, "GET", "/v1/pools", "", NULL);
	cr_assert_eq(r.status, 200);
	reply_fini(&r);
	r = ask_tcp(&f, "POST", "/v1/explain", JSON, "{\"url\": \"http://a.test/\"}");
	cr_assert_eq(r.status, 200);
	reply_fini(&r);
}

Test(admin_change, bodies_of_browsers_are_refused)
{
	static const struct {
		const char *more;
		bool tcp;
		unsigned status;
	} rows[] = {
	    {"Content-Type: text/plain\r\n", true, 415},
	    {"Content-Type: application/x-www-form-urlencoded\r\n", true, 415},
	    {"Content-Type: application/jsonx\r\n", true, 415},
	    {"", true, 415},
	    {JSON, true, 200},
	    {"Content-Type: Application/JSON; charset=utf-8\r\n", true, 200},
	};
	str_text(&f.api.token, "t");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char more[200] = "Authorization: Bearer t\r\n";
		strcat(more, rows[i].more);
		struct reply r = ask_tcp(&f, "POST", A, more, "{\"weight\": 9}");
		cr_assert_eq(r.status, rows[i].status, "%zu: %u", i, r.status);
		reply_fini(&r);
	}
	/* on the unix socket it is an operator's curl -d */
	struct reply r = ask_typed(&f, "POST", A, rows[1].more, "{\"weight\": 9}");
	cr_assert_eq(r.status, 200);
	reply_fini(&r);
	r = ask_tcp(&f, "POST", "/v1/reload", "Authorization: Bearer t\r\n", NULL);
	cr_assert_eq(r.status, 200);
	reply_fini(&r);
}
