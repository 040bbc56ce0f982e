/* SPDX-License-Identifier: MIT */
/* The API while another process takes over, and at the end of this one. */
#include "served.h"

TestSuite(admin_handover, .init = setup, .fini = teardown);

/* As a hand-over does: who comes while it is paused finds nobody. */
static void take_over(int fd, const char *meanwhile)
{
	struct addr addr = unix_at("a.sock");
	admin_pause(admin, true);
	if (meanwhile)
		say(fd, meanwhile);
	turn();
	admin_leave(admin);
	turn();
	unlink(addr.un.sun_path);
}

/* What a client said before, and what while it was paused; what it gets. */
static const struct {
	const char *before, *meanwhile;
	unsigned status; /* of the next answer; 0: the end */
} at_the_end[] = {
    {"", NULL, 0},
    {GET("/livez"), NULL, 0},
    {GET("/livez"), GET("/v1/status"), 0}, /* it asks again by itself */
    {GET("/livez"), "HEAD /livez", 0},
    {GET("/livez"), "POST /v1/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 503},
    {"", GET("/v1/status"), 503},
    {"GET /v1/st", NULL, 503},
    {"GET /v1/st", "atus HTTP/1.1\r\nHost: a\r\n\r\n", 503},
    {"POST /v1/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{", NULL, 503},
    {"POST /v1/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{", "}", 503},
    {"prompt\n", NULL, 0},
    {"show i", NULL, 0},
};

Test(admin_handover, who_asks_while_another_process_takes_over_is_told)
{
	for (size_t i = 0; i < ARRAY_LEN(at_the_end); i++) {
		struct str in = STR_INIT;
		start("");
		int fd = dial_unix();
		say(fd, at_the_end[i].before);
		if (strcmp(at_the_end[i].before, GET("/livez")) == 0)
			cr_assert_eq(status_of_next(fd, &in), 200);
		hear(fd, &in, SIZE_MAX); /* a prompt */
		take_over(fd, at_the_end[i].meanwhile);
		cr_expect_eq(status_of_next(fd, &in), at_the_end[i].status, "case %zu", i);
		cr_expect(has_ended(fd), "case %zu", i);
		close(fd);
		str_fini(&in);
		admin_free(admin);
		conf_free(conf);
	}
	admin = NULL;
	conf = NULL;
}

Test(admin_handover, an_answer_under_way_at_the_end_is_the_last)
{
	struct str in = STR_INIT;
	struct reply r;
	start("");
	f.defer = true;
	int fd = dial_unix();
	say(fd, GET("/v1/connections") GET("/livez"));
	take_over(fd, NULL);
	cr_assert(!reply_take(&in, false, &r));
	fixture_release(&f);
	while (!reply_take(&in, false, &r))
		cr_assert(hear(fd, &in, SIZE_MAX));
	cr_assert_eq(r.status, 200);
	cr_assert(r.closes);
	cr_assert(has_ended(fd));
	cr_assert_eq(in.len, 0);
	reply_fini(&r);
	close(fd);
	str_fini(&in);
}

/* It came to its end while nobody was read: the client was promised more. */
Test(admin_handover, an_answer_that_came_during_a_hand_over_is_the_last)
{
	struct str in = STR_INIT;
	start("");
	f.defer = true;
	int fd = dial_unix();
	say(fd, GET("/v1/connections"));
	admin_pause(admin, true);
	fixture_release(&f);
	cr_assert_eq(status_of_next(fd, &in), 200);
	take_over(fd, NULL);
	cr_assert(has_ended(fd));
	close(fd);
	str_fini(&in);
}

Test(admin_handover, a_large_answer_at_the_end_is_whole)
{
	struct str yaml = STR_INIT, in = STR_INIT;
	struct reply r;
	str_text(&yaml, "listeners: [{bind: '127.0.0.1:1'}]\npools:\n  app:\n    backends:\n");
	for (int i = 0; i < 1000; i++)
		str_printf(&yaml, "      - 10.0.%d.%d:80\n", i / 250, i % 250);
	fixture_fini(&f);
	fixture_init(&f, yaml.ptr);
	start("");
	int fd = dial_unix();
	say(fd, GET("/v1/pools"));
	take_over(fd, NULL);
	while (!reply_take(&in, false, &r))
		cr_assert(hear(fd, &in, SIZE_MAX));
	cr_assert_eq(json_size(&r.body, "pools.0.backends"), 1000);
	cr_assert(has_ended(fd));
	reply_fini(&r);
	close(fd);
	str_fini(&in);
	str_fini(&yaml);
}

Test(admin_handover, a_stream_ends_with_the_process)
{
	struct str in = STR_INIT;
	start("");
	int fd = dial_unix();
	say(fd, GET("/v1/stream"));
	cr_assert(hear(fd, &in, SIZE_MAX));
	take_over(fd, NULL);
	cr_assert(has_ended(fd));
	close(fd);
	str_fini(&in);
}

Test(admin_handover, a_hand_over_that_fails_is_nobodys_fault)
{
	struct str in = STR_INIT;
	start("");
	int idle = dial_unix(), half = dial_unix(), asks = dial_unix();
	say(half, "GET /livez HT");
	admin_pause(admin, true);
	say(half, "TP/1.1\r\nHost: a\r\n\r\n");
	say(asks, GET("/livez"));
	int late = dial_unix();
	for (int i = 0; i < 3; i++)
		pass(31);
	admin_pause(admin, false);
	cr_assert_eq(status_of_next(half, &in), 200);
	cr_assert_eq(status_of_next(asks, &in), 200);
	cr_assert_eq(get_once(idle, GET("/livez")), 200);
	cr_assert_eq(get_once(late, GET("/livez")), 200);
	close(idle);
	close(half);
	close(asks);
	close(late);
	str_fini(&in);
}
