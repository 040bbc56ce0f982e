/* SPDX-License-Identifier: MIT */
/* etcd: what is asked of the gateway, what keys and values make, and when all is looked at anew. */
#include "fixture.h"

/* base64 of p/a, p/b, p/c */
#define A "cC9h"
#define B "cC9i"
#define C "cC9j"
/* {address: 10.0.0.1:80}, the same of .2, and what is no member */
#define ONE "e2FkZHJlc3M6IDEwLjAuMC4xOjgwfQ=="
#define TWO "e2FkZHJlc3M6IDEwLjAuMC4yOjgwfQ=="
#define NONE "W30="
#define KV(key, value) "{\"key\":\"" key "\",\"value\":\"" value "\"}"
#define RANGE(revision, kvs) "{\"header\":{\"revision\":" revision "},\"kvs\":[" kvs "]}"
#define EVENTS(events) "{\"result\":{\"events\":[" events "]}}\n"
#define WATCH(next)                                                                               \
	"{\"create_request\":{\"key\":\"cC8=\",\"range_end\":\"cDA=\",\"start_revision\":\"" next \
	"\"}}"

static struct view endpoints[] = {VIEW("http://e1:2379/"), VIEW("http://e2:2379")};

static void etcd(void)
{
	w.pool.discover.etcd.endpoints = (struct conf_views){.rows = endpoints, .n = 2};
	if (!w.pool.discover.etcd.prefix.ptr)
		w.pool.discover.etcd.prefix = VIEW("p/");
	begin(CONF_SOURCE_etcd, "p/");
}

Test(etcd, a_range_then_a_watch_from_there, WORLD)
{
	etcd();
	cr_expect_str_eq(w.url, "http://e1:2379/v3/kv/range");
	cr_expect_str_eq(w.body, "{\"key\":\"cC8=\",\"range_end\":\"cDA=\",\"limit\":\"10000\"}");
	cr_expect_str_eq(w.headers, "Content-Type: application/json\r\n");
	cr_expect(view_eq(w.asked.method, VIEW("POST")) && w.asked.keep && w.asked.repeat);
	cr_expect(w.asked.timeout_us == 10000000 && w.asked.body_max == 32 << 20);
	answer_json(RANGE("\"41\"", KV(A, ONE) "," KV(B, TWO)));
	expect_members("10.0.0.1:80 w1 (p/a), 10.0.0.2:80 w1 (p/b)");
	cr_expect_str_eq(w.url, "http://e1:2379/v3/watch");
	cr_expect_str_eq(w.body, WATCH("42"));
	cr_expect(w.asked.silence_us == 60000000 && w.asked.piece &&
		  w.asked.timeout_us == 10000000);
	expect_no_timer();
}

Test(etcd, events_change_members, WORLD)
{
	etcd();
	answer_json(RANGE("1", KV(B, ONE)));
	piece("{\"result\":{\"created\":true}}\n");
	cr_expect_eq(source_of(0)->n_answers, 1, "nothing is said by it");
	piece("{\"result\":{\"events\":[{\"kv\":" KV(A, TWO) "}");
	cr_expect_eq(source_of(0)->n_members, 1, "a line is not whole yet");
	piece("]}}\n" EVENTS("{\"type\":\"DELETE\",\"kv\":{\"key\":\"" B "\"}}"));
	expect_members("gone 10.0.0.1:80 w1 (p/b), 10.0.0.2:80 w1 (p/a)");
	piece("\n" EVENTS("{\"kv\":" KV(C, ONE) "},{\"kv\":" KV(B, ONE) "}"));
	expect_members("10.0.0.1:80 w1 (p/b), 10.0.0.2:80 w1 (p/a)");
	piece(EVENTS("{\"type\":\"DELETE\",\"kv\":{\"key\":\"" B "\"}}"));
	expect_members("10.0.0.1:80 w1 (p/c), 10.0.0.2:80 w1 (p/a)");
	piece(EVENTS("{\"type\":\"DELETE\",\"kv\":{\"key\":\"" B "\"}},"
		     "{\"type\":\"DELETE\",\"kv\":{\"key\":\"" A "\"}}"));
	expect_members("10.0.0.1:80 w1 (p/c), gone 10.0.0.2:80 w1 (p/a)");
	piece(EVENTS("{\"kv\":" KV(C, TWO) "}"));
	expect_members("gone 10.0.0.1:80 w1 (p/c), 10.0.0.2:80 w1 (p/c)");
	cr_expect(w.open && w.n_asked == 2);
}

Test(etcd, many_keys_are_kept_in_order, WORLD)
{
	struct str text = STR_INIT;
	etcd();
	str_text(&text, "{\"header\":{\"revision\":1},\"kvs\":[");
	/* keys are base64 of three letters each: "xA0" to "xD9", descending; the value is of two */
	for (int i = 39; i >= 0; i--) {
		static const char *const firsts[] = {"eEEw", "eEEx", "eEEy", "eEEz", "eEE0",
						     "eEE1", "eEE2", "eEE3", "eEE4", "eEE5"};
		str_printf(&text, "%s{\"key\":\"%.2s%c%c\",\"value\":\"" ONE "\"}",
			   i < 39 ? "," : "", firsts[i % 10], "EIMQ"[i / 10], firsts[i % 10][3]);
	}
	str_text(&text, "]}");
	answer_json(text.ptr);
	expect_error("");
	cr_expect(strncmp(members(), "10.0.0.1:80 w1 (x", 17) == 0, "%s", members());
	char first[64];
	snprintf(first, sizeof(first), "%s", members());
	/* the first key by order is the one that counts */
	answer_failed(FETCH_FAILED, 200, "cut");
	fire();
	answer_json(text.ptr);
	cr_expect_str_eq(members(), first);
	cr_expect_eq(source_of(0)->n_changes, 1);
	str_fini(&text);
}

Test(etcd, a_value_that_is_no_member_changes_nothing_and_is_said, WORLD)
{
	etcd();
	answer_json(RANGE("1", KV(A, ONE) "," KV(B, TWO)));
	piece(EVENTS("{\"kv\":" KV(A, NONE) "}"));
	expect_members("10.0.0.1:80 w1 (p/a), 10.0.0.2:80 w1 (p/b)");
	cr_expect(strncmp(source_of(0)->error, "p/a: ", 5) == 0, "%s", source_of(0)->error);
	piece(EVENTS("{\"kv\":" KV(A, TWO) "}"));
	expect_error("");
	/* nor in a whole look; what is not named any more goes */
	piece("{}\n");
	fire();
	answer_json(RANGE("5", KV(B, NONE)));
	expect_members("gone 10.0.0.1:80 w1 (p/a), 10.0.0.2:80 w1 (p/b)");
	cr_expect(strncmp(source_of(0)->error, "p/b: ", 5) == 0);
	/* neither key nor value are base64 */
	piece(EVENTS("{\"kv\":" KV("%%", ONE) "},{\"kv\":" KV(C, "%%") "}"));
	expect_members("gone 10.0.0.1:80 w1 (p/a), 10.0.0.2:80 w1 (p/b)");
}

Test(etcd, a_watch_that_ends_is_followed_by_a_whole_look, WORLD)
{
	static const char *const ends[] = {
	    "{\"result\":{\"canceled\":true,\"compact_revision\":9}}\n", "no json\n",
	    "{\"error\":{}}\n"};
	etcd();
	answer_json(RANGE("7", KV(A, ONE)));
	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		piece(ends[i]);
		cr_expect(!w.open);
		expect_due(1000);
		fire();
		cr_expect_str_eq(w.url, "http://e1:2379/v3/kv/range");
		answer_json(RANGE("8", KV(A, ONE)));
		cr_expect_str_eq(w.body, WATCH("9"));
	}
	answer_failed(FETCH_FAILED, 200, "cut");
	expect_due(1000);
	expect_error("");
	fire();
	cr_expect_str_eq(w.url, "http://e1:2379/v3/kv/range");
	cr_expect_eq(source_of(0)->n_failures, 0);
	cr_expect_eq(w.n_changed, 1);
}

Test(etcd, a_line_without_end_is_too_long, WORLD)
{
	char *much = malloc((1 << 20) + 1);
	memset(much, ' ', 1 << 20);
	much[1 << 20] = '\0';
	etcd();
	answer_json(RANGE("7", KV(A, ONE)));
	for (int i = 0; i < 4; i++)
		piece(much);
	cr_expect(w.open, "4 MiB may be");
	piece("x");
	cr_expect(!w.open);
	expect_error("a line of the watch is too long");
	expect_due(500);
	/* the next watch begins with nothing of it */
	fire();
	answer_json(RANGE("7", KV(A, ONE)));
	piece(EVENTS("{\"kv\":" KV(B, TWO) "}"));
	expect_members("10.0.0.1:80 w1 (p/a), 10.0.0.2:80 w1 (p/b)");
	free(much);
}

Test(etcd, a_failure_goes_to_the_next_endpoint, WORLD)
{
	etcd();
	answer_failed(FETCH_FAILED, 0, "refused");
	expect_error("range: refused");
	fire();
	cr_expect_str_eq(w.url, "http://e2:2379/v3/kv/range");
	answer_with(503, NULL, "later");
	expect_error("range: status 503: later");
	fire();
	cr_expect_str_eq(w.url, "http://e1:2379/v3/kv/range");
	answer_json("{\"header\":{}}");
	expect_error("range: status 200: {\"header\":{}}");
	fire();
	answer_json(RANGE("7", KV(A, ONE)));
	cr_expect_str_eq(w.url, "http://e2:2379/v3/watch");
	answer_with(404, NULL, "no watch");
	expect_error("watch: status 404: no watch");
	fire();
	cr_expect_str_eq(w.url, "http://e1:2379/v3/kv/range");
	expect_members("10.0.0.1:80 w1 (p/a)");
}

Test(etcd, a_user_has_a_token, WORLD)
{
	write_file("password", "p\"w\n");
	w.pool.discover.etcd.username = VIEW("me");
	w.pool.discover.etcd.password_file = view_str(w.file);
	etcd();
	cr_expect_str_eq(w.url, "http://e1:2379/v3/auth/authenticate");
	cr_expect_str_eq(w.body, "{\"name\":\"me\",\"password\":\"p\\\"w\"}");
	cr_expect_eq(w.asked.body_max, 65536);
	answer_json("{\"token\":\"t.1\"}");
	cr_expect_str_eq(w.url, "http://e1:2379/v3/kv/range");
	cr_expect_str_eq(w.headers, "Content-Type: application/json\r\nAuthorization: t.1\r\n");
	answer_json(RANGE("7", ""));
	cr_expect_str_eq(w.headers, "Content-Type: application/json\r\nAuthorization: t.1\r\n");
	/* it lasts until something fails */
	answer_failed(FETCH_FAILED, 200, "cut");
	fire();
	cr_expect_str_eq(w.url, "http://e1:2379/v3/kv/range");
	answer_with(401, NULL, "expired");
	fire();
	cr_expect_str_eq(w.url, "http://e2:2379/v3/auth/authenticate");
	cr_expect_str_eq(w.headers, "Content-Type: application/json\r\n");
	answer_json("{\"token\":\"no line\\r\\n\"}");
	expect_error("authenticate: status 200: {\"token\":\"no line\\r\\n\"}");
	fire();
	answer_with(400, NULL, "wrong");
	expect_error("authenticate: status 400: wrong");
	unlink(w.file);
	fire();
	cr_expect(!w.open && strstr(source_of(0)->error, "/password: cannot be read: "));
}

Test(etcd, only_a_whole_answer_of_status_200_counts, WORLD)
{
	w.pool.discover.etcd.username = VIEW("me");
	etcd();
	answer_cut("{\"token\":\"t\"}");
	expect_error("authenticate: cut");
	fire();
	answer_with(500, NULL, "{\"token\":\"t\"}");
	cr_expect(!w.open);
	fire();
	answer_json("{\"token\":\"t\"}");
	answer_cut(RANGE("7", KV(A, ONE)));
	expect_error("range: cut");
	fire();
	answer_json("{\"token\":\"t\"}");
	answer_with(500, NULL, RANGE("7", KV(A, ONE)));
	cr_expect(!w.open);
	cr_expect_eq(source_of(0)->n_answers, 0);
}

Test(etcd, a_user_may_have_no_password, WORLD)
{
	w.pool.discover.etcd.username = VIEW("me");
	etcd();
	cr_expect_str_eq(w.body, "{\"name\":\"me\",\"password\":\"\"}");
}

Test(etcd, the_end_of_a_range_is_the_next_prefix, WORLD)
{
	w.pool.discover.etcd.prefix = VIEW("a\xff\xff");
	etcd();
	cr_expect_str_eq(w.body, "{\"key\":\"Yf//\",\"range_end\":\"Yg==\",\"limit\":\"10000\"}");
}

Test(etcd, without_its_certificates_nothing_is_asked, WORLD)
{
	static struct view tls[] = {VIEW("http://e1"), VIEW("https://e2")};
	w.pool.discover.etcd =
	    (__typeof__(w.pool.discover.etcd)){.endpoints = {.rows = tls, .n = 2},
					       .prefix = VIEW("p/"),
					       .ca = VIEW("/nowhere/ca.pem")};
	begin(CONF_SOURCE_etcd, "p/");
	cr_expect(!w.open);
	cr_expect(strstr(source_of(0)->error, "/nowhere/ca.pem"));
	w.pool.discover.etcd.ca = VIEW_NONE;
	fire();
	cr_expect(w.open && w.asked.tls);
}
