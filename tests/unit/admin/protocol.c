/* SPDX-License-Identifier: MIT */
/* The HTTP/1.1 side of the API: framing, limits, order of answers. */
#include <criterion/criterion.h>

#include "fixture.h"

static struct fixture f;
static struct session s;
static struct str out;

static void setup(void)
{
	fixture_init(&f, NULL);
	session_init(&s, &f.api, true);
}

static void teardown(void)
{
	session_fini(&s);
	str_fini(&out);
	fixture_fini(&f);
}

TestSuite(admin_protocol, .init = setup, .fini = teardown);

/* Runs the session until it wants bytes, collecting what it sends. */
static void run(void)
{
	bool more;
	do {
		more = session_run(&s);
		session_take(&s, &out);
	} while (more);
}

static void feed(const char *text, size_t step)
{
	for (size_t len = strlen(text); len;) {
		size_t n = step && step < len ? step : len;
		session_put(&s, view_of(text, n));
		text += n;
		len -= n;
		run();
	}
}

static unsigned next_status(void)
{
	struct reply r;
	if (!reply_take(&out, false, &r))
		return 0;
	unsigned status = r.status;
	reply_fini(&r);
	return status;
}

#define LIVE "GET /livez HTTP/1.1\r\nHost: w\r\n\r\n"

Test(admin_protocol, pipelined_requests_are_answered_in_order)
{
	feed(LIVE "GET /v1/nothing HTTP/1.1\r\nHost: w\r\n\r\n"
		  "POST /v1/explain HTTP/1.1\r\nHost: w\r\nContent-Length: 12\r\n\r\n"
		  "{\"url\": \"/\"}" LIVE,
	     0);
	cr_assert_eq(next_status(), 200);
	cr_assert_eq(next_status(), 404);
	cr_assert_eq(next_status(), 200);
	cr_assert_eq(next_status(), 200);
	cr_assert_eq(out.len, 0);
	cr_assert_eq(s.state, SESSION_HEAD);
}

Test(admin_protocol, one_answer_a_run)
{
	session_put(&s, VIEW(LIVE LIVE));
	cr_assert(session_run(&s));
	cr_assert_eq(s.n_requests, 1);
	session_run(&s);
	cr_assert_eq(s.n_requests, 1, "the first answer is not sent yet");
	session_sent(&s, session_out(&s).len);
	cr_assert(!session_run(&s));
	cr_assert_eq(s.n_requests, 2);
	session_sent(&s, session_out(&s).len);
}

Test(admin_protocol, bytes_may_come_one_by_one)
{
	feed("POST /v1/pools/app/backends/a HTTP/1.1\r\nHost: w\r\n"
	     "Transfer-Encoding: chunked\r\n\r\n"
	     "8;x=y\r\n{\"weight\r\n6\r\n\": 12}\r\n0\r\nX-Trailer: 1\r\n\r\n" LIVE,
	     1);
	cr_assert_eq(next_status(), 200);
	cr_assert_eq(next_status(), 200);
	expect(&f, "GET", "/v1/pools/app", NULL, 200, "backends.0.weight", "12");
}

Test(admin_protocol, a_body_after_100_continue)
{
	feed("POST /v1/pools/app/backends/a HTTP/1.1\r\nHost: w\r\nContent-Length: 12\r\n"
	     "Expect: 100-continue\r\n\r\n",
	     0);
	cr_assert_str_eq(out.ptr, "HTTP/1.1 100 Continue\r\n\r\n");
	str_reset(&out);
	feed("{\"weight\":5}", 0);
	cr_assert_eq(next_status(), 200);
}

Test(admin_protocol, http_1_0)
{
	feed("GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 0);
	cr_assert(strstr(out.ptr, "Connection: keep-alive\r\n") != NULL);
	cr_assert_eq(next_status(), 200);
	feed("GET /livez HTTP/1.0\r\n\r\n", 0);
	cr_assert(strstr(out.ptr, "Connection: close\r\n") != NULL);
	cr_assert_eq(s.state, SESSION_CLOSING);
}

Test(admin_protocol, close_when_asked)
{
	feed("GET /livez HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n" LIVE, 0);
	cr_assert_eq(next_status(), 200);
	cr_assert_eq(out.len, 0, "nothing is answered after close");
	cr_assert_eq(s.state, SESSION_CLOSING);
}

Test(admin_protocol, nonsense_is_refused_and_ends_the_connection)
{
	static const struct {
		const char *text;
		unsigned status;
	} rows[] = {
	    {"GET\r\n\r\n", 400},
	    {"GET /livez\r\n\r\n", 400},
	    {"GET /livez HTTP/1.1\r\n\r\n", 400},
	    {"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
	    {"GET /livez HTTP/1.1\nHost: a\n\n", 400},
	    {"GET /livez HTTP/2.0\r\nHost: a\r\n\r\n", 505},
	    {"GET /livez HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 400},
	    {"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405},
	    {"POST /v1/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n", 413},
	    {"POST /v1/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n", 413},
	    {"POST /v1/reload HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400},
	    {"POST /v1/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
	     "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	     400},
	    {"POST /v1/reload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
	     400},
	    {"POST /v1/reload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		session_fini(&s);
		session_init(&s, &f.api, true);
		feed(rows[i].text, 0);
		unsigned status = next_status();
		cr_assert_eq(status, rows[i].status, "%s: %u", rows[i].text, status);
		cr_assert_eq(s.state, SESSION_CLOSING, "%s", rows[i].text);
		feed(LIVE, 0);
		cr_assert_eq(out.len, 0);
	}
	cr_assert_eq(f.generation, 1, "nothing was reloaded");
}

static void feed_n(const char *text, size_t n)
{
	for (size_t i = 0; i < n && s.state != SESSION_CLOSING; i++)
		feed(text, 0);
}

Test(admin_protocol, heads_are_bounded)
{
	feed_n("xxxxxxxxxxxxxxxx", 10000);
	cr_assert(next_status() >= 400);
	cr_assert(s.in.cap < 64 * 1024);
	session_fini(&s);
	session_init(&s, &f.api, true);
	feed("GET / HTTP/1.1\r\nHost: a\r\n", 0);
	feed_n("A: b\r\n", 100);
	feed("\r\n", 0);
	cr_assert_eq(next_status(), 431);
	session_fini(&s);
	session_init(&s, &f.api, true);
	feed("GET / HTTP/1.1\r\nHost: a\r\n", 0);
	feed_n(
	    "A: "
	    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	    "\r\n",
	    1000);
	cr_assert_eq(next_status(), 431);
}

Test(admin_protocol, chunked_bodies_are_bounded)
{
	feed("POST /v1/reload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 0);
	feed_n("10\r\n0123456789abcdef\r\n", 10000);
	cr_assert_eq(next_status(), 413);
	cr_assert(s.content.cap <= 128 * 1024);
}

Test(admin_protocol, a_body_of_64_kib_is_taken)
{
	struct str text = STR_INIT;
	str_text(&text, "POST /v1/pools/app/backends/a HTTP/1.1\r\nHost: a\r\n"
			"Content-Length: 65536\r\n\r\n{\"weight\": 5");
	for (int i = 0; i < 65536 - 13; i++)
		str_char(&text, ' ');
	str_char(&text, '}');
	feed(text.ptr, 16384);
	cr_assert_eq(next_status(), 200);
	str_fini(&text);
}

Test(admin_protocol, too_slow)
{
	feed("GET / HT", 0);
	session_time_out(&s);
	run();
	cr_assert_eq(next_status(), 408);
	cr_assert_eq(s.state, SESSION_CLOSING);
}

Test(admin_protocol, unread_answers_are_bounded_over_tcp)
{
	f.api.backlog = (size_t)65 << 20;
	struct reply r = ask_tcp(&f, "GET", "/v1/pools", "", NULL);
	cr_assert_eq(r.status, 503);
	reply_fini(&r);
	r = ask(&f, "GET", "/v1/pools", NULL);
	cr_assert_eq(r.status, 200, "the unix socket goes on");
	reply_fini(&r);
	f.api.backlog = 0;
}

/* ---- large answers are kept for a moment ---- */

static struct str large_yaml(void)
{
	struct str yaml = STR_INIT;
	str_text(&yaml, "listeners: [{bind: '127.0.0.1:1'}]\npools:\n  app:\n    backends:\n");
	for (int i = 0; i < 100; i++)
		str_printf(&yaml, "      - 10.0.0.%d:80\n", i);
	return yaml;
}

static const struct text *text_of(const char *request)
{
	session_put(&s, view_str(request));
	session_run(&s);
	const struct text *text = s.rest;
	session_take(&s, &out);
	cr_assert_eq(next_status(), 200);
	return text;
}

#define POOLS(fields) "GET /v1/pools HTTP/1.1\r\nHost: a\r\n" fields "\r\n"

Test(admin_protocol, the_same_large_answer_is_made_once_in_a_moment)
{
	struct str yaml = large_yaml();
	teardown();
	fixture_init(&f, yaml.ptr);
	session_init(&s, &f.api, true);
	const struct text *first = text_of(POOLS(""));
	cr_assert(first);
	cr_assert_eq(f.api.cache.n, 1);
	cr_assert_eq(text_of(POOLS("")), first);
	cr_assert_eq(f.api.backlog, 0);
	/* not for who asks otherwise: for another type, under another name, with a token */
	text_of(POOLS("Accept: text/html\r\n"));
	cr_assert_eq(f.api.cache.n, 2);
	text_of("GET /v1/pools HTTP/1.1\r\nHost: b\r\n\r\n");
	cr_assert_eq(f.api.cache.n, 3);
	s.trusted = false;
	text_of("GET /v1/pools HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
	cr_assert_eq(f.api.cache.n, 4);
	text_of("GET /v1/pools HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer x\r\n\r\n");
	cr_assert_eq(f.api.cache.n, 4);
	/* nor when it is too old */
	s.trusted = true;
	f.api.cache.rows[0].made_us -= CACHE_FRESH_US;
	uint64_t old_us = f.api.cache.rows[0].made_us;
	text_of(POOLS(""));
	cr_assert_gt(f.api.cache.rows[0].made_us, old_us);
	cr_assert_eq(f.api.cache.n, 4);
	str_fini(&yaml);
}

Test(admin_protocol, who_changes_something_sees_it)
{
	struct str yaml = large_yaml();
	teardown();
	fixture_init(&f, yaml.ptr);
	session_init(&s, &f.api, true);
	text_of(POOLS(""));
	feed("POST /v1/pools/app/backends/10.0.0.1:80 HTTP/1.1\r\nHost: a\r\n"
	     "Content-Length: 14\r\n\r\n{\"weight\": 50}",
	     0);
	cr_assert_eq(f.api.cache.n, 0);
	str_fini(&yaml);
}

Test(admin_protocol, small_answers_are_always_new)
{
	cr_assert(!text_of("GET /v1/pools HTTP/1.1\r\nHost: a\r\n\r\n"));
	cr_assert_eq(f.api.cache.n, 0);
}
