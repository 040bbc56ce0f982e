/* SPDX-License-Identifier: MIT */
/* How long the server of the API waits: one deadline a test, since the wheel cannot be turned back.
 */
#include "served.h"

TestSuite(admin_deadlines, .init = setup, .fini = teardown);

Test(admin_deadlines, the_first_request_has_to_come_within_10_s)
{
	start("");
	int fd = dial_unix();
	pass(9);
	cr_assert(!has_ended(fd));
	pass(11);
	cr_assert(has_ended(fd));
	close(fd);
}

Test(admin_deadlines, a_head_has_to_be_complete_within_10_s)
{
	struct str in = STR_INIT;
	start("");
	int fd = dial_unix();
	cr_assert_eq(get_once(fd, GET("/livez")), 200);
	say(fd, "GET / HTTP");
	pass(9);
	say(fd, "/1.1");
	pass(11);
	cr_assert_eq(status_of_next(fd, &in), 408);
	cr_assert(has_ended(fd));
	close(fd);
	str_fini(&in);
}

Test(admin_deadlines, a_body_has_to_be_complete_within_30_s)
{
	struct str in = STR_INIT;
	start("");
	int fd = dial_unix();
	say(fd, "POST /v1/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n");
	pass(29);
	say(fd, "{");
	pass(31);
	cr_assert_eq(status_of_next(fd, &in), 408);
	close(fd);
	str_fini(&in);
}

Test(admin_deadlines, an_idle_connection_ends_after_30_s)
{
	start("");
	int fd = dial_unix();
	cr_assert_eq(get_once(fd, GET("/livez")), 200);
	pass(29);
	cr_assert(!has_ended(fd));
	pass(31);
	cr_assert(has_ended(fd));
	close(fd);
}

Test(admin_deadlines, the_last_answer_can_be_read)
{
	struct str in = STR_INIT, text = STR_INIT;
	start("");
	int fd = dial_unix();
	str_text(&text, "POST /v1/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
	for (int i = 0; i < 30000; i++)
		str_char(&text, 'x');
	say(fd, text.ptr);
	cr_assert_eq(status_of_next(fd, &in), 413);
	say(fd, "more of the body");
	pass(3);
	cr_assert(has_ended(fd));
	close(fd);
	str_fini(&in);
	str_fini(&text);
}
