/* SPDX-License-Identifier: MIT */
/* Who may ask anything over status.bind: a password that a thread checks, or the token. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "admin/entry.h"
#include "fixture.h"

/* "secret" */
static const char users[] = "ann:$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n";

/* ann:secret, ann:wrong, bob:secret */
#define RIGHT "Authorization: Basic YW5uOnNlY3JldA==\r\n"
#define WRONG "Authorization: Basic YW5uOndyb25n\r\n"
#define STRANGER "Authorization: Basic Ym9iOnNlY3JldA==\r\n"
#define TOKEN "Authorization: Bearer t0ken\r\n"
#define GET(path, fields) "GET " path " HTTP/1.1\r\nHost: w\r\n" fields "\r\n"

static struct fixture f;
static struct session s;
static struct str out;
static unsigned n_ready;

static void on_ready(struct session *session)
{
	(void)session;
	n_ready++;
}

static void setup(void)
{
	char yaml[512];
	char path[] = "/tmp/weir-entry-XXXXXX";
	struct str why = STR_INIT;
	if (!passwords_library())
		cr_skip_test("built without libcrypt");
	FILE *file = fdopen(mkstemp(path), "w");
	cr_assert(file && fputs(users, file) >= 0 && fclose(file) == 0);
	snprintf(yaml, sizeof(yaml),
		 "status: {bind: '127.0.0.1:8404', auth: {basic: {file: %s, realm: the desk}}}\n"
		 "listeners: [{bind: '127.0.0.1:8080'}]\n"
		 "pools: {app: {backends: ['127.0.0.1:1']}}\n",
		 path);
	fixture_init(&f, yaml);
	str_text(&f.api.token, "t0ken");
	f.users = users_get(view_str(path), &why);
	remove(path);
	cr_assert(f.users && passwords_start(1, &why), "%s", why.ptr);
	session_init(&s, &f.api, false);
	s.ready = on_ready;
}

static void teardown(void)
{
	session_fini(&s);
	passwords_stop();
	loop_read_mail(&f.loop);
	passwords_fini();
	str_fini(&out);
	cr_assert(list_is_empty(&f.api.passwords));
	fixture_fini(&f);
}

TestSuite(admin_entry, .init = setup, .fini = teardown);

static void put(const char *text)
{
	session_put(&s, view_str(text));
	session_run(&s);
	session_take(&s, &out);
}

/* Until the password is known, and the answer is there. */
static void wait_for_answer(void)
{
	cr_assert_eq(s.state, SESSION_WAITING);
	cr_assert_eq(out.len, 0);
	while (s.state == SESSION_WAITING)
		ev_run(f.loop.ev, EVRUN_ONCE);
	cr_assert_eq(s.state, SESSION_KNOWN);
	session_run(&s);
	session_take(&s, &out);
}

/* The next answer has this status, and the field, unless it is NULL. */
static void answered(unsigned status, const char *field)
{
	struct reply r;
	cr_assert(reply_take(&out, false, &r), "no answer: %s", out.ptr);
	cr_assert_eq(r.status, status, "%u %s", r.status, r.body.ptr);
	cr_assert(!field || strstr(r.head.ptr, field), "%s", r.head.ptr);
	reply_fini(&r);
}

#define CHALLENGE "\r\nWWW-Authenticate: Basic realm=\"the desk\", charset=\"UTF-8\"\r\n"

Test(admin_entry, who_says_nothing_is_asked_but_probes_are_answered)
{
	put(GET("/v1/status", ""));
	answered(401, CHALLENGE);
	put(GET("/", "Accept: text/html\r\n"));
	answered(401, CHALLENGE);
	put(GET("/metrics", ""));
	answered(401, CHALLENGE);
	put(GET("/no/such/thing", ""));
	answered(401, CHALLENGE);
	put(GET("/livez", ""));
	answered(200, NULL);
	put(GET("/readyz?x", WRONG));
	answered(200, NULL);
	put(GET("/livez/", ""));
	answered(401, CHALLENGE);
	put(GET("/v1/status", "Authorization: Basic ====\r\n"));
	answered(401, CHALLENGE);
	put(GET("/v1/status", "Authorization: Bearer t0kem\r\n"));
	answered(401, CHALLENGE);
	put("GET /v1/status HTTP/1.1\r\nHost: evil.example\r\n\r\n");
	answered(403, NULL);
	cr_assert(list_is_empty(&f.api.passwords));
}

Test(admin_entry, a_password_is_checked_and_then_remembered)
{
	put(GET("/v1/status", RIGHT) GET("/livez", ""));
	cr_assert(!list_is_empty(&f.api.passwords));
	wait_for_answer();
	cr_assert_eq(n_ready, 1);
	cr_assert(list_is_empty(&f.api.passwords));
	answered(200, NULL);
	put("");
	answered(200, NULL); /* what was behind it */
	put(GET("/v1/pools", RIGHT));
	answered(200, NULL);
	cr_assert_eq(n_ready, 1);
}

Test(admin_entry, a_wrong_one_and_a_stranger_wait_for_the_same)
{
	put(GET("/v1/status", WRONG));
	wait_for_answer();
	answered(401, CHALLENGE);
	put(GET("/v1/status", STRANGER));
	wait_for_answer();
	answered(401, CHALLENGE);
	put(GET("/v1/status", WRONG));
	wait_for_answer();
	answered(401, CHALLENGE);
}

Test(admin_entry, the_token_is_enough_and_a_password_changes_nothing)
{
	put(GET("/v1/status", TOKEN));
	answered(200, NULL);
	put("POST /v1/drain HTTP/1.1\r\nHost: w\r\nContent-Length: 0\r\n" RIGHT "\r\n");
	wait_for_answer();
	answered(401, "WWW-Authenticate: Bearer");
	cr_assert(!f.draining);
	put("POST /v1/drain HTTP/1.1\r\nHost: w\r\nContent-Length: 0\r\n" TOKEN "\r\n");
	answered(200, NULL);
	cr_assert(f.draining);
}

Test(admin_entry, a_body_waits_with_its_head)
{
	put("POST /v1/explain HTTP/1.1\r\nHost: w\r\nContent-Type: application/json\r\n"
	    "Content-Length: 12\r\n" RIGHT "\r\n{\"url\": ");
	put("\"/\"}");
	wait_for_answer();
	answered(200, NULL);
	put(GET("/livez", ""));
	answered(200, NULL);
}

Test(admin_entry, no_more_than_some_wait)
{
	struct entry_wait others[PASSWORDS_ASKING] = {0};
	for (unsigned i = 0; i < PASSWORDS_ASKING; i++) {
		others[i].peer.ip[0] = (uint8_t)(i / 4 + 1);
		list_push_back(&f.api.passwords, &others[i].link);
	}
	put(GET("/v1/status", RIGHT));
	answered(503, "\r\nRetry-After: 1\r\n");
	put(GET("/v1/status", TOKEN));
	answered(200, NULL);
	list_init(&f.api.passwords);
}

Test(admin_entry, nor_more_than_a_quarter_of_one_client)
{
	struct entry_wait others[PASSWORDS_ASKING / 4] = {0};
	for (unsigned i = 0; i < PASSWORDS_ASKING / 4; i++)
		list_push_back(&f.api.passwords, &others[i].link);
	put(GET("/v1/status", RIGHT));
	answered(503, "\r\nRetry-After: 1\r\n");
	others[0].peer.ip[0] = 1;
	put(GET("/v1/status", RIGHT));
	wait_for_answer();
	answered(200, NULL);
	list_init(&f.api.passwords);
}

Test(admin_entry, in_a_place_of_probes_nobody_waits)
{
	s.only_probes = true;
	put(GET("/metrics", RIGHT));
	answered(503, "\r\nRetry-After: 1\r\n");
	cr_assert_eq(s.state, SESSION_CLOSING);
}

Test(admin_entry, who_leaves_meanwhile_is_forgotten)
{
	put(GET("/v1/status", RIGHT));
	cr_assert(!list_is_empty(&f.api.passwords));
	session_fini(&s);
	cr_assert(list_is_empty(&f.api.passwords));
	session_init(&s, &f.api, false);
	put(GET("/v1/status", STRANGER)); /* behind the other one */
	wait_for_answer();
	answered(401, CHALLENGE);
	cr_assert_eq(n_ready, 0);
}

Test(admin_entry, who_waits_while_another_process_takes_over_is_told)
{
	put(GET("/v1/status", RIGHT));
	cr_assert(session_leave(&s));
	cr_assert(list_is_empty(&f.api.passwords));
	session_take(&s, &out);
	answered(503, "\r\nRetry-After: 1\r\n");
	cr_assert_eq(s.state, SESSION_CLOSING);
	cr_assert(!session_leave(&s), "once");
}

Test(admin_entry, nor_does_it_hang_whose_password_is_known_by_then)
{
	put("HEAD /v1/status HTTP/1.1\r\nHost: w\r\n" RIGHT "\r\n");
	while (s.state == SESSION_WAITING)
		ev_run(f.loop.ev, EVRUN_ONCE);
	cr_assert_eq(s.state, SESSION_KNOWN);
	cr_assert(session_leave(&s));
	session_take(&s, &out);
	cr_assert(view_starts(str_as_view(&out), VIEW("HTTP/1.1 503 ")));
	cr_assert(view_ends(str_as_view(&out), VIEW("\r\n\r\n")), "HEAD has no body");
}

Test(admin_entry, the_unix_socket_asks_nobody)
{
	struct reply r = ask(&f, "GET", "/v1/status", NULL);
	cr_assert_eq(r.status, 200);
	reply_fini(&r);
}
