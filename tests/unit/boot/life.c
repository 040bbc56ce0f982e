/* SPDX-License-Identifier: MIT */
/* What outlives a process, and what a reload. */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "process.h"

static long long requests_in_history(void)
{
	long long n = 0;
	size_t i;
	json_t *root = ask("/v1/history?since=-1h&step=1m&pool=app&backend=one"), *row;
	json_array_foreach(json_object_get(root, "rows"), i, row)
	{
		n += json_integer_value(json_object_get(row, "requests"));
	}
	json_decref(root);
	return n;
}

static void wait_for_history(long long want)
{
	for (unsigned ms = 0; requests_in_history() != want; ms += 20) {
		cr_assert_lt(ms, PATIENCE, "%lld of %lld", requests_in_history(), want);
		usleep(20000);
	}
}

TestSuite(life, .init = process_begin, .fini = process_end, .timeout = 300);

#define ROUTE "routes: [{pool: app}]\n"

Test(life, what_was_served_is_known_to_the_next_process)
{
	write_conf(ROUTE);
	start_weir();
	for (unsigned i = 0; i < 3; i++)
		is_served("/a");
	wait_for_history(3);
	stop_weir();
	start_weir();
	cr_expect_eq(requests_in_history(), 3);
	is_served("/b");
	wait_for_history(4);
	stop_weir();
}

Test(life, a_reload_is_taken_or_leaves_all_as_it_was)
{
	write_conf(ROUTE);
	start_weir();
	write_conf("routes: [{pool: none}]\n");
	kill(weir, SIGHUP);
	wait_for_event("reload_failed", 1);
	is_served("/a");
	write_conf("routes: [{match: {path: /old}, respond: {status: 410}}, {pool: app}]\n");
	kill(weir, SIGHUP);
	wait_for_event("reload", 1);
	int client = connect_to("web");
	put(client, "GET /old HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
	const char *text = take(client);
	cr_expect(strncmp(text, "HTTP/1.1 410 ", 13) == 0, "%s", text);
	is_served("/a");
	cr_expect_eq(count_events("reload_failed"), 1);
	stop_weir();
}
