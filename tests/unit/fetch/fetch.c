/* SPDX-License-Identifier: MIT */
/* The client against a peer that the test plays byte by byte, on one loop. */
#include <stdlib.h>

#include "peer.h"

TestSuite(fetch, .init = world_init, .fini = world_fini);

Test(fetch, a_question_and_its_answer)
{
	struct fetch_request req = standard;
	req.headers = VIEW("Accept: x/y\r\n");
	begin(req);
	const char *text = hear(true);
	char host[64];
	snprintf(host, sizeof(host), "\r\nHost: 127.0.0.1:%u\r\n", w.port);
	cr_expect_eq(strncmp(text, "GET /a?b=c HTTP/1.1\r\n", 21), 0, "%s", text);
	cr_expect(strstr(text, host));
	cr_expect(strstr(text, "\r\nAccept: x/y\r\n"));
	cr_expect(strstr(text, "\r\nConnection: close\r\n"));
	say("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nETag: \"7\"\r\nContent-Le");
	say("ngth: 5\r\n\r\nhel");
	cr_expect_eq(w.n_done, 0);
	say("lo");
	until(&w.n_done, 1);
	cr_expect_eq(w.end, FETCH_OK);
	cr_expect_eq(w.status, 200);
	cr_expect_str_eq(w.body, "hello");
	cr_expect_str_eq(w.etag, "\"7\"");
}

Test(fetch, a_body_is_sent)
{
	struct fetch_request req = standard;
	req.method = VIEW("POST");
	req.body = VIEW("{\"a\": 1}");
	begin(req);
	const char *text = hear(true);
	cr_expect(strstr(text, "\r\nContent-Length: 8\r\n"));
	cr_expect(strstr(text, "\r\n\r\n{\"a\": 1}"));
	say("HTTP/1.0 503 No\r\n\r\nlater");
	socket_close(w.peer);
	w.peer = -1;
	until(&w.n_done, 1);
	cr_expect_eq(w.status, 503);
	cr_expect_str_eq(w.body, "later");
}

Test(fetch, chunks_come_as_they_are_sent)
{
	struct fetch_request req = standard;
	req.piece = on_piece;
	req.head = on_head;
	begin(req);
	hear(true);
	say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
	until(&w.n_heads, 1);
	say("3\r\none\r\n");
	until(&w.n_pieces, 1);
	cr_expect_str_eq(w.body, "one");
	say("3\r\ntw");
	say("o\r\n0\r\n\r\n");
	until(&w.n_done, 1);
	cr_expect_str_eq(w.body, "onetwo");
	cr_expect_eq(w.end, FETCH_OK);
}

Test(fetch, a_stream_that_is_cut_says_so)
{
	struct fetch_request req = standard;
	req.piece = on_piece;
	begin(req);
	hear(true);
	say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
	until(&w.n_pieces, 1);
	socket_close(w.peer);
	w.peer = -1;
	until(&w.n_done, 1);
	cr_expect_eq(w.end, FETCH_FAILED);
	cr_expect_str_eq(w.why, "the answer was cut off");
}

Test(fetch, cancelled_in_its_own_callback)
{
	struct fetch_request req = standard;
	req.piece = on_piece;
	w.cancel_in_piece = begin(req);
	hear(true);
	say("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none");
	until(&w.n_pieces, 1);
	for (int i = 0; i < 5; i++)
		turn();
	cr_expect_eq(w.n_done, 0);
	cr_expect(list_is_empty(&w.f.running) && list_is_empty(&w.f.over));
}

Test(fetch, cancelled_before_it_began)
{
	fetch_cancel(begin(standard));
	for (int i = 0; i < 5; i++)
		turn();
	cr_expect_eq(w.n_done, 0);
}

Test(fetch, a_connection_is_kept_and_used_again)
{
	struct fetch_request req = standard;
	req.keep = true;
	for (int i = 0; i < 3; i++) {
		begin(req);
		cr_expect(!strstr(hear(i == 0), "Connection: close"));
		say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
		until(&w.n_done, (unsigned)i + 1);
		cr_expect_eq(w.f.n_kept, 1);
	}
	/* it was closed meanwhile: a GET goes out once more, on a new one */
	begin(req);
	hear(false);
	shutdown(w.peer, SHUT_RDWR);
	hear(true);
	say("HTTP/1.1 204 No Content\r\n\r\n");
	until(&w.n_done, 4);
	cr_expect_eq(w.status, 204);
	/* but no POST that does not say it may */
	req.method = VIEW("POST");
	begin(req);
	hear(false);
	shutdown(w.peer, SHUT_RDWR);
	until(&w.n_done, 5);
	cr_expect_eq(w.end, FETCH_FAILED);
	cr_expect_eq(w.f.n_kept, 0);
}

Test(fetch, a_line_is_kept_for_one_alone)
{
	struct fetch_line mine = {NULL};
	struct fetch_request req = standard;
	req.keep = true;
	req.line = &mine;
	req.send_proxy = 1;
	for (int i = 0; i < 2; i++) {
		begin(req);
		const char *heard = hear(i == 0);
		cr_expect_eq(strncmp(heard, "PROXY UNKNOWN\r\nGET ", 19) == 0, i == 0, "%s", heard);
		say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
		until(&w.n_done, (unsigned)i + 1);
		cr_expect(mine.conn && w.f.n_kept == 0);
	}
	fetch_line_drop(&mine);
	cr_expect_null(mine.conn);
	begin(req);
	hear(true);
	say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	until(&w.n_done, 3);
	/* the peer closes it */
	shutdown(w.peer, SHUT_RDWR);
	for (int i = 0; i < 1000 && mine.conn; i++) {
		turn();
		usleep(1000);
	}
	cr_expect_null(mine.conn);
}

Test(fetch, what_nobody_asked_closes_a_kept_connection)
{
	struct fetch_request req = standard;
	req.keep = true;
	begin(req);
	hear(true);
	say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	until(&w.n_done, 1);
	say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	for (int i = 0; i < 1000 && w.f.n_kept; i++) {
		turn();
		usleep(1000);
	}
	cr_expect_eq(w.f.n_kept, 0);
}

Test(fetch, another_is_begun_where_one_ends)
{
	w.begin_in_done = true;
	begin(standard);
	hear(true);
	say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1");
	until(&w.n_done, 1);
	hear(true);
	say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2");
	until(&w.n_done, 2);
	cr_expect_str_eq(w.body, "2");
}

Test(fetch, more_than_may_be_is_refused)
{
	struct fetch_request req = standard;
	req.body_max = 4;
	begin(req);
	hear(true);
	say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
	until(&w.n_done, 1);
	cr_expect_eq(w.end, FETCH_TOO_LONG);
	begin(req);
	hear(true);
	say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n");
	until(&w.n_done, 2);
	cr_expect_eq(w.end, FETCH_TOO_LONG);
	char *head = malloc(FETCH_HEAD_MAX + 100);
	memset(head, 'x', FETCH_HEAD_MAX + 99);
	memcpy(head, "HTTP/1.1 200 OK\r\nA: ", 20);
	head[FETCH_HEAD_MAX + 99] = '\0';
	begin(req);
	hear(true);
	say(head);
	until(&w.n_done, 3);
	cr_expect_eq(w.end, FETCH_TOO_LONG);
	cr_expect_str_eq(w.why, "the head of the answer is too long");
	free(head);
}

Test(fetch, what_is_no_http)
{
	begin(standard);
	hear(true);
	say("SSH-2.0-OpenSSH\r\n\r\n");
	until(&w.n_done, 1);
	cr_expect_eq(w.end, FETCH_FAILED);
	cr_expect_eq(w.status, 0);
	begin(standard);
	hear(true);
	say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
	until(&w.n_done, 2);
	cr_expect_eq(w.end, FETCH_FAILED);
}

Test(fetch, deadlines)
{
	struct fetch_request req = standard;
	req.timeout_us = 20000;
	begin(req);
	hear(true);
	until(&w.n_done, 1);
	cr_expect_eq(w.end, FETCH_TIMEOUT);
	/* a stream has as long as it says something */
	req.timeout_us = 5000000;
	req.piece = on_piece;
	req.silence_us = 20000;
	begin(req);
	hear(true);
	say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
	until(&w.n_done, 2);
	cr_expect_eq(w.end, FETCH_SILENCE);
	cr_expect_str_eq(w.why, "nothing was heard for 20 ms");
}
