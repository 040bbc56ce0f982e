/* SPDX-License-Identifier: MIT */
/* What an operator changes while weir runs, what outlives a reload, and how it is taken back. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "process.h"

TestSuite(runtime, .init = process_begin, .fini = process_end, .timeout = 300);

#define ROUTE "routes: [{match: {path: /other}, pool: other}, {pool: app}]\n"
#define OTHER(rows) "  other: {backends: [" rows "]}\n"
#define BACKENDS "/v1/pools/app/backends"
#define ONE BACKENDS "/one"
#define TWO BACKENDS "/two"

/* "one up 1, two draining 3": what the pool has. */
static const char *pool_has(const char *pool)
{
	static char text[1000];
	char path[100];
	size_t i, len = 0;
	json_t *row;
	snprintf(path, sizeof(path), "/v1/pools/%s", pool);
	json_t *root = ask(path);
	text[0] = '\0';
	json_array_foreach(json_object_get(root, "backends"), i, row)
	{
		len +=
		    (size_t)snprintf(text + len, sizeof(text) - len, "%s%s %s %lld", i ? ", " : "",
				     json_string_value(json_object_get(row, "name")),
				     json_string_value(json_object_get(row, "state")),
				     json_integer_value(json_object_get(row, "weight")));
	}
	json_decref(root);
	return text;
}

/* Who has something in flight is waited for, until the next second. */
static void expect_pool(const char *pool, const char *want)
{
	for (unsigned ms = 0; strcmp(pool_has(pool), want) != 0; ms += 20) {
		cr_assert_lt(ms, PATIENCE, "%s: %s, not %s", pool, pool_has(pool), want);
		usleep(20000);
	}
}

static void expect_changes(size_t n)
{
	json_t *root = ask("/v1/runtime");
	size_t is = json_array_size(json_object_get(root, "changes"));
	char *text = json_dumps(root, 0);
	cr_expect_eq(is, n, "%s", text);
	free(text);
	json_decref(root);
}

static void reload(void)
{
	change("POST", "/v1/reload", "", 200, NULL);
}

Test(runtime, weights_and_states_stay_over_a_reload_until_they_are_taken_back)
{
	write_conf(OTHER("'127.0.0.1:9'") ROUTE);
	start_weir();
	expect_pool("app", "one up 1");
	change("POST", ONE, "{\"weight\": 7}", 200, NULL);
	change("POST", ONE, "{\"state\": \"drain\"}", 200, NULL);
	change("POST", "/v1/pools/other/backends/127.0.0.1:9", "{\"state\": \"maintenance\"}", 200,
	       NULL);
	expect_pool("app", "one draining 7");
	expect_pool("other", "127.0.0.1:9 maintenance 1");
	expect_changes(2);
	reload();
	expect_pool("app", "one draining 7");
	change("POST", ONE, "{\"state\": \"up\"}", 200, NULL);
	expect_pool("app", "one up 7");
	is_served("/a");
	change("DELETE", "/v1/runtime/app/two", "", 404,
	       "nothing was changed at run time about 'app/two'");
	change("DELETE", "/v1/runtime/none", "", 404, "there is no pool 'none'");
	change("DELETE", "/v1/runtime/app", "", 200, NULL);
	expect_pool("app", "one up 1");
	expect_pool("other", "127.0.0.1:9 maintenance 1");
	expect_changes(1);
	change("DELETE", "/v1/runtime/app", "", 200, NULL);
	change("DELETE", "/v1/runtime/other/127.0.0.1:9", "", 200, NULL);
	expect_pool("other", "127.0.0.1:9 up 1");
	expect_changes(0);
	stop_weir();
}

Test(runtime, who_is_added_is_there_until_removed_and_comes_back_when_added_anew)
{
	write_conf(OTHER("'127.0.0.1:9'") ROUTE);
	start_weir();
	change("POST", BACKENDS, "{\"name\": \"two\", \"address\": \"127.0.0.1:7\", \"weight\": 3}",
	       201, NULL);
	expect_pool("app", "one up 1, two up 3");
	change("POST", BACKENDS, "{\"name\": \"two\", \"address\": \"127.0.0.1:8\"}", 409,
	       "has a backend 'two' already");
	change("POST", "/v1/pools/none/backends", "{\"name\": \"a\", \"address\": \"127.0.0.1:8\"}",
	       404, "there is no pool 'none'");
	cr_expect_eq(count_events("add"), 1);
	reload();
	expect_pool("app", "one up 1, two up 3");
	change("DELETE", TWO, "", 200, NULL);
	expect_pool("app", "one up 1");
	expect_changes(0);
	wait_for_event("remove", 1);
	change("DELETE", TWO, "", 404, "there is no backend 'two' in pool 'app'");
	change("DELETE", ONE, "", 200, NULL);
	expect_pool("app", "");
	expect_changes(1);
	reload();
	expect_pool("app", "");
	change("DELETE", "/v1/runtime", "", 200, NULL);
	expect_pool("app", "one up 1");
	is_served("/a");
	expect_changes(0);
	stop_weir();
}

Test(runtime, what_the_file_says_by_now_needs_no_change)
{
	write_conf(OTHER("{name: a, address: '127.0.0.1:9'}") ROUTE);
	start_weir();
	change("POST", "/v1/pools/other/backends",
	       "{\"name\": \"b\", \"address\": \"127.0.0.1:8\"}", 201, NULL);
	change("DELETE", "/v1/pools/other/backends/a", "", 200, NULL);
	expect_pool("other", "b up 1");
	expect_changes(2);
	write_conf(OTHER("{name: b, address: '127.0.0.1:8'}") ROUTE);
	reload();
	expect_pool("other", "b up 1");
	expect_changes(0);
	stop_weir();
}
