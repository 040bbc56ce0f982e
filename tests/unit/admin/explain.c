/* SPDX-License-Identifier: MIT */
/* POST /v1/explain: routes as the workers would find them, backends with a reason. */
#include <criterion/criterion.h>

#include "fixture.h"
#include "weir/health/health.h"

static struct fixture f;

static void setup(void)
{
	fixture_init(&f, NULL);
}

static void teardown(void)
{
	fixture_fini(&f);
}

TestSuite(admin_explain, .init = setup, .fini = teardown);

#define E "/v1/explain"
#define API_URL "{\"url\": \"http://api.test/v1/x?q=1\"}"

Test(admin_explain, routes)
{
	static const struct {
		const char *body, *route, *action;
	} rows[] = {
	    {API_URL, "api", "pool"},
	    {"{\"url\": \"http://API.TEST:8080/v1\"}", "api", "pool"},
	    {"{\"url\": \"http://api.test/v2\"}", "any", "pool"},
	    {"{\"url\": \"http://other.example/\"}", "null", "refuse"},
	    {"{\"url\": \"http://other.example/\", \"client\": \"10.1.2.3\"}", "inside", "pool"},
	    {"{\"url\": \"/\", \"headers\": {\"Host\": \"x.test\"}}", "any", "pool"},
	    {"{\"url\": \"/\", \"headers\": [[\"host\", \"x.test\"]]}", "any", "pool"},
	    {"{\"url\": \"/\"}", "null", "refuse"},
	    {"{\"url\": \"/\", \"headers\": {\"X-Env\": \"canary\"}}", "head", "pool"},
	    {"{\"url\": \"http://q.example/both#frag\"}", "both", "split"},
	    {"{\"url\": \"http://q.example/old/1?a\"}", "old", "redirect"},
	    {"{\"url\": \"http://q.example/fixed\"}", "fixed", "respond"},
	    {"{\"url\": \"https://q.test?x\", \"method\": \"BREW\"}", "any", "pool"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		expect(&f, "POST", E, rows[i].body, 200, "route", rows[i].route);
		expect(&f, "POST", E, rows[i].body, 200, "action", rows[i].action);
	}
}

Test(admin_explain, what_becomes_of_it)
{
	expect(&f, "POST", E, API_URL, 200, "pool", "app");
	expect(&f, "POST", E, API_URL, 200, "rewrite_path", "/x?q=1");
	expect(&f, "POST", E, API_URL, 200, "rewrite_host", "in.test");
	const char *moved = "{\"url\": \"http://q.example/old/1?a\"}";
	expect(&f, "POST", E, moved, 200, "redirect", "https://new.test/old/1?a");
	expect(&f, "POST", E, moved, 200, "status", "301");
	const char *fixed = "{\"url\": \"http://q.example/fixed\"}";
	expect(&f, "POST", E, fixed, 200, "respond", "tea");
	expect(&f, "POST", E, fixed, 200, "status", "418");
	const char *both = "{\"url\": \"http://q.example/both\"}";
	expect(&f, "POST", E, both, 200, "split",
	       "[{\"pool\":\"app\",\"share\":95},{\"pool\":\"spare\",\"share\":5}]");
	expect(&f, "POST", E, both, 200, "backends.3.pool", "spare");
}

Test(admin_explain, the_listener_at_the_port)
{
	expect(&f, "POST", E, "{\"url\": \"https://a.test/\"}", 200, "listener", "tls");
	expect(&f, "POST", E, "{\"url\": \"http://a.test:8080/\"}", 200, "listener", "web");
	expect(&f, "POST", E, "{\"url\": \"http://a.test:1/\"}", 200, "listener", "web");
}

Test(admin_explain, candidates)
{
	struct pool *app = &f.pools[0];
	expect(&f, "POST", E, API_URL, 200, "backends.0.candidate", "true");
	expect(&f, "POST", E, API_URL, 200, "backends.0.limit", "2");
	expect(&f, "POST", E, API_URL, 200, "backends.2.candidate", "false");
	expect(&f, "POST", E, API_URL, 200, "backends.2.why",
	       "it stands by: the priorities before its own carry everything");
	atomic_store(&app->backends[0]->in_flight, 2);
	expect(&f, "POST", E, API_URL, 200, "backends.0.why", "it is at its limit of 2 in flight");
	expect(&f, "POST", E, API_URL, 200, "backends.0.candidate", "false");
	atomic_store(&app->backends[0]->in_flight, 0);
	atomic_store(&app->backends[0]->state, BACKEND_down);
	strcpy(app->backends[0]->reason, "refused");
	expect(&f, "POST", E, API_URL, 200, "backends.0.why", "it is down: refused");
	expect(&f, "POST", E, API_URL, 200, "backends.1.candidate", "true");
	app->weights[1] = 0;
	expect(&f, "POST", E, API_URL, 200, "backends.1.why", "its weight is 0");
	expect(&f, "POST", E, API_URL, 200, "backends.2.candidate", "true");
}

Test(admin_explain, who_is_out_and_gets_something_all_the_same)
{
	struct pool *app = &f.pools[0];
	atomic_store(&app->backends[0]->state, BACKEND_ejected);
	strcpy(app->backends[0]->reason, "5 errors");
	expect(&f, "POST", E, API_URL, 200, "backends.0.why", "it is ejected: 5 errors");
	atomic_store(&app->backends[0]->odd.try_us, 1);
	expect(&f, "POST", E, API_URL, 200, "backends.0.candidate", "false");
	expect(&f, "POST", E, API_URL, 200, "backends.0.why",
	       "it is ejected: 5 errors; one request a second tries it");
	app->backends[0]->ejected_for = EJECTION_trial;
	strcpy(app->backends[0]->reason, "failed again when one request tried it");
	expect(&f, "POST", E, API_URL, 200, "backends.0.why",
	       "it is ejected: failed again when one request tried it; one request a second "
	       "tries it");
	app->backends[0]->ejected_for = EJECTION_odd; /* its reason says so */
	strcpy(app->backends[0]->reason, "left alone, tried once a second");
	expect(&f, "POST", E, API_URL, 200, "backends.0.why",
	       "it is ejected: left alone, tried once a second");
	app->backends[0]->ejected_for = EJECTION_consecutive_errors;
	strcpy(app->backends[0]->reason, "5 errors");
	/* the only one that may be well */
	atomic_store(&app->backends[0]->resort, true);
	atomic_store(&app->backends[1]->state, BACKEND_down);
	atomic_store(&app->backends[2]->state, BACKEND_down);
	expect(&f, "POST", E, API_URL, 200, "backends.0.candidate", "true");
	expect(&f, "POST", E, API_URL, 200, "backends.0.why",
	       "it is ejected: 5 errors; used, for there are too few others");
	/* one that is not checked yet serves only where nobody is known to be well */
	atomic_store(&app->backends[0]->state, BACKEND_up);
	atomic_store(&app->backends[1]->state, BACKEND_unknown);
	expect(&f, "POST", E, API_URL, 200, "backends.1.candidate", "false");
	expect(&f, "POST", E, API_URL, 200, "backends.1.why", "it is not checked yet");
}

Test(admin_explain, nonsense_is_refused)
{
	static const char *const bodies[] = {
	    "{}",
	    "[]",
	    "{\"method\": \"GET\"}",
	    "{\"url\": 5}",
	    "{\"url\": \"\"}",
	    "{\"url\": \"ftp://a/\"}",
	    "{\"url\": \"http://[\", \"client\": \"127.0.0.1\"}",
	    "{\"url\": \"http://a b/\"}",
	    "{\"url\": \"/a b\"}",
	    "{\"url\": \"/a\\r\\nX: y\"}",
	    "{\"url\": \"http://a@b/\"}",
	    "{\"url\": \"/\", \"client\": \"x\"}",
	    "{\"url\": \"/\", \"client\": 1}",
	    "{\"url\": \"/\", \"method\": \"\"}",
	    "{\"url\": \"/\", \"method\": \"G T\"}",
	    "{\"url\": \"/\", \"method\": null}",
	    "{\"url\": \"/\", \"headers\": 1}",
	    "{\"url\": \"/\", \"headers\": \"Host: a\"}",
	    "{\"url\": \"/\", \"headers\": {\"A\": 1}}",
	    "{\"url\": \"/\", \"headers\": [1]}",
	    "{\"url\": \"/\", \"headers\": [[\"A\"]]}",
	    "{\"url\": \"/\", \"headers\": {\"A\": \"x\\r\\nB: y\"}}",
	    "{\"url\": \"/\", \"headers\": {\"A b\": \"x\"}}",
	    "{\"url\": \"http://a/\", \"headers\": [[\"Host\", \"b\"], [\"Host\", \"c\"]]}",
	    "{\"url\": \"/\", \"headers\": {\"Content-Length\": \"x\"}}",
	    "{\"url\": \"/\", \"more\": 1}",
	};
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		struct reply r = ask(&f, "POST", E, bodies[i]);
		cr_assert_eq(r.status, 400, "%s: %u %s", bodies[i], r.status, r.body.ptr);
		cr_assert_str_neq(json_at(&r.body, "error"), "<none>");
		reply_fini(&r);
	}
}
