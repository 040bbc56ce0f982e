/* SPDX-License-Identifier: MIT */
/* What an authority is asked, byte by byte, and what is made of its answers (RFC 8555 6). */
#include "acme/ca.h"

#include <jansson.h>
#include <string.h>

#include "../fetch/peer.h"
#include "acme/jose.h"
#include "weir/base/base64.h"

static struct ca ca;
static struct {
	unsigned n, status;
	bool ok, has_json;
	uint64_t retry_after_s;
	char error[64], why[300], location[64], body[64];
} got;

static void on_answer(void *arg, const struct ca_answer *a)
{
	cr_assert_eq(arg, &ca);
	got.n++;
	got.ok = a->ok;
	got.status = a->status;
	got.has_json = a->root != NULL;
	got.retry_after_s = a->retry_after_s;
	snprintf(got.error, sizeof(got.error), "%s", a->error);
	snprintf(got.why, sizeof(got.why), "%s", a->why);
	snprintf(got.location, sizeof(got.location), VIEW_FMT, VIEW_ARG(a->location));
	snprintf(got.body, sizeof(got.body), VIEW_FMT, VIEW_ARG(a->body));
}

static void begin_ca(void)
{
	world_init();
	memset(&got, 0, sizeof(got));
	ca_init(&ca, &w.f);
	ca.key = jose_key_new();
	ca.done = on_answer;
	ca.arg = &ca;
	str_printf(&ca.nonce_url, "http://127.0.0.1:%u/nonce", w.port);
}

static void end_ca(void)
{
	EVP_PKEY_free(ca.key);
	ca_fini(&ca);
	world_fini();
}

TestSuite(ca, .init = begin_ca, .fini = end_ca);

static void post(void)
{
	ca_post(&ca, view_str(w.url), VIEW("{}"));
}

static void is_over(unsigned n)
{
	until(&got.n, n);
	cr_expect_eq(got.n, n);
}

/* The next request is one for a nonce, which is given. */
static void give_nonce(bool connects, const char *nonce)
{
	char text[200];
	cr_assert(strncmp(hear(connects), "GET /nonce ", 11) == 0);
	snprintf(text, sizeof(text), "HTTP/1.1 204 No Content\r\nReplay-Nonce: %s\r\n\r\n", nonce);
	say(text);
}

/* Of the request under way, as soon as all of it is there: one object of JSON. */
static json_t *read_json(const char *text)
{
	char body[4096];
	size_t len = (size_t)snprintf(body, sizeof(body), "%s", strstr(text, "\r\n\r\n") + 4);
	for (unsigned i = 0; i < 2000; i++) {
		json_t *root = json_loadb(body, len, 0, NULL);
		if (root)
			return root;
		turn();
		ssize_t n = recv(w.peer, body + len, sizeof(body) - len, MSG_DONTWAIT);
		len += n > 0 ? (size_t)n : 0;
		usleep(1000);
	}
	cr_assert(false, "no body: %s", text);
	return NULL;
}

/* The next request is signed, with this nonce. */
static void is_posted(const char *nonce)
{
	char header[1024];
	const char *text = hear(false);
	cr_assert(strncmp(text, "POST /a?b=c ", 12) == 0, "%s", text);
	json_t *root = read_json(text);
	ptrdiff_t n =
	    base64_read(view_str(ca_text(root, "protected")), BASE64_URL, header, sizeof(header));
	cr_assert_gt(n, 0);
	json_t *inner = json_loadb(header, (size_t)n, 0, NULL);
	cr_expect_str_eq(ca_text(inner, "nonce"), nonce);
	cr_expect_str_eq(ca_text(inner, "url"), w.url);
	json_decref(inner);
	json_decref(root);
}

static void say_all(const char *status, const char *headers, const char *body)
{
	char text[500];
	snprintf(text, sizeof(text), "HTTP/1.1 %s\r\n%sContent-Length: %zu\r\n\r\n%s", status,
		 headers, strlen(body), body);
	say(text);
}

static void refuse_nonce(const char *fresh)
{
	char header[64];
	snprintf(header, sizeof(header), "Replay-Nonce: %s\r\n", fresh);
	say_all("400 Bad Request", header, "{\"type\":\"urn:ietf:params:acme:error:badNonce\"}");
}

Test(ca, the_nonce_of_an_answer_is_that_of_the_next_request)
{
	post();
	give_nonce(true, "one");
	is_posted("one");
	say_all("200 OK", "Replay-Nonce: two\r\n", "{}");
	is_over(1);
	cr_expect(got.ok && got.has_json && got.status == 200);
	post();
	is_posted("two");
	say_all("200 OK", "", "{}");
	is_over(2);
	post(); /* it gave none */
	give_nonce(false, "three");
	is_posted("three");
	say_all("200 OK", "", "{}");
	is_over(3);
}

Test(ca, a_nonce_that_is_refused_is_replaced_by_the_one_that_comes_with_it)
{
	post();
	give_nonce(true, "one");
	is_posted("one");
	refuse_nonce("two");
	is_posted("two");
	say_all("200 OK", "", "{}");
	is_over(1);
	cr_expect(got.ok);
}

/* An authority that never takes one is not asked for ever. */
Test(ca, nonces_that_are_refused_time_and_again_are_an_error)
{
	enum { TRIES = 10 };
	post();
	give_nonce(true, "one");
	for (unsigned i = 0; i < TRIES; i++) {
		cr_assert_eq(got.n, 0);
		is_posted("one");
		refuse_nonce("one");
	}
	is_over(1);
	cr_expect_not(got.ok);
	cr_expect_str_eq(got.error, "badNonce");
}

Test(ca, an_authority_without_nonces_is_an_error)
{
	post();
	hear(true);
	say_all("200 OK", "", "");
	is_over(1);
	cr_expect_not(got.ok);
	cr_expect_str_eq(got.why, "the authority gives no nonce");
}

Test(ca, what_is_read_needs_no_nonce)
{
	ca_get(&ca, view_str(w.url));
	cr_assert(strncmp(hear(true), "GET /a?b=c ", 11) == 0);
	say_all("200 OK", "Retry-After: 7\r\nLocation: /there\r\n", "[]");
	is_over(1);
	cr_expect(got.ok && got.has_json);
	cr_expect_eq(got.retry_after_s, 7);
	cr_expect_str_eq(got.location, "/there");
	cr_expect_str_eq(got.body, "[]");
}

Test(ca, a_problem_is_told_in_its_words)
{
	ca_get(&ca, view_str(w.url));
	hear(true);
	say_all(
	    "429 Too Many Requests", "",
	    "{\"type\":\"urn:ietf:params:acme:error:rateLimited\",\"detail\":\"slow\\ndown now\"}");
	is_over(1);
	cr_expect(!got.ok && got.status == 429);
	cr_expect_str_eq(got.error, "rateLimited");
	cr_expect_str_eq(got.why, "slow down now (rateLimited)");
}

Test(ca, an_error_that_is_no_problem_is_told_with_its_status)
{
	ca_get(&ca, view_str(w.url));
	hear(true);
	say_all("502 Bad Gateway", "", "no luck");
	is_over(1);
	cr_expect(!got.ok && got.status == 502 && !got.has_json);
	cr_expect_str_empty(got.error);
	cr_expect_str_eq(got.why, "status 502: no luck");
}

Test(ca, no_answer_has_no_status)
{
	ca_get(&ca, view_str(w.url));
	hear(true);
	socket_close(w.peer);
	w.peer = -1;
	is_over(1);
	cr_expect(!got.ok && got.status == 0);
	cr_expect(*got.why);
}

Test(ca, who_stops_hears_nothing)
{
	post();
	give_nonce(true, "one");
	is_posted("one");
	ca_stop(&ca);
	cr_expect_eq(ca.state, CA_IDLE);
	for (unsigned i = 0; i < 20; i++)
		turn();
	cr_expect_eq(got.n, 0);
}
