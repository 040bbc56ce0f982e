/* SPDX-License-Identifier: MIT */
/* Laws of heads: what was parsed and written parses to the same again. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "weir/base/rng.h"
#include "weir/base/str.h"
#include "weir/http/h1.h"

static const struct h1_limits limits = {32768, 8192, 100};
static struct message msg, again;

static void random_text(struct rng *rng, struct str *out, const char *alphabet, uint32_t max)
{
	for (uint32_t n = 1 + rng_below(rng, max); n; n--)
		str_char(out, alphabet[rng_below(rng, (uint32_t)strlen(alphabet))]);
}

static void random_headers(struct rng *rng, struct str *out)
{
	for (uint32_t n = rng_below(rng, 12); n; n--) {
		if (rng_below(rng, 3) == 0)
			str_view(out, hdr_name(HDR_ACCEPT + rng_below(rng, HDR_N - HDR_ACCEPT)));
		else
			random_text(rng, out, "abcXYZ019-!#$%&'*+.^_`|~", 40);
		str_text(out, rng_below(rng, 2) ? ": " : ":\t ");
		random_text(rng, out, "abc 019:;,=\t\"\xc3\xa9", 90);
		str_text(out, "\r\n");
	}
}

static void random_request(struct rng *rng, struct str *out)
{
	static const char *const methods[] = {"GET", "POST", "PUT", "DELETE", "PATCH", "BREW"};
	str_printf(out, "%s /", methods[rng_below(rng, 6)]);
	random_text(rng, out, "abc/?&=%20;~", 60);
	str_text(out, " HTTP/1.1\r\n");
	random_headers(rng, out);
	str_text(out, "Host: example.com:8080\r\n");
	random_headers(rng, out);
	if (rng_below(rng, 2))
		str_text(out, "Content-Length: 77\r\n");
	str_text(out, "\r\n");
}

static void random_response(struct rng *rng, struct str *out)
{
	/* from 205 on: a 204 loses its framing when it is written */
	str_printf(out, "HTTP/1.1 %u Whatever\r\n", 205 + rng_below(rng, 395));
	random_headers(rng, out);
	if (rng_below(rng, 2))
		str_text(out, "Transfer-Encoding: chunked\r\n");
	str_text(out, "\r\n");
}

static enum h1_result parse(bool request, struct view in, struct message *into)
{
	enum reject why;
	enum h1_result result = request ? h1_parse_request(in, &limits, into, &why)
					: h1_parse_response(in, &limits, METHOD_GET, into, &why);
	cr_assert(result != H1_BAD, "%s", reject_sentence(why));
	return result;
}

static struct view write_head(bool request, const struct message *from, char *room, size_t size)
{
	struct h1_out out = h1_out_init(room, size);
	if (request)
		h1_put_request_line(&out, from->method_text, from->target);
	else
		h1_put_status_line(&out, from->status, from->reason);
	h1_put_headers(&out, from);
	h1_put(&out, VIEW("\r\n"));
	cr_assert_not(out.overflow);
	return view_of(out.ptr, out.len);
}

static uint32_t next_kept(const struct message *m, uint32_t i)
{
	while (i < m->n_headers && m->headers[i].drop)
		i++;
	return i;
}

static void check_same(const struct message *a, const struct message *b)
{
	cr_assert(view_eq(a->method_text, b->method_text) && view_eq(a->target, b->target));
	cr_assert(view_eq(a->authority, b->authority) && view_eq(a->path, b->path));
	cr_assert(a->status == b->status && view_eq(a->reason, b->reason));
	cr_assert(a->body == b->body && a->content_length == b->content_length);
	cr_assert_eq(a->keep_alive, b->keep_alive);
	uint32_t i = next_kept(a, 0), k = next_kept(b, 0);
	for (; i < a->n_headers && k < b->n_headers;
	     i = next_kept(a, i + 1), k = next_kept(b, k + 1)) {
		cr_assert(view_eq(a->headers[i].name, b->headers[k].name));
		cr_assert(view_eq(a->headers[i].value, b->headers[k].value));
		cr_assert_eq(a->headers[i].id, b->headers[k].id);
	}
	cr_assert(i == a->n_headers && k == b->n_headers);
}

/* As it came, and with the original lines forgotten. */
static void check_round_trip(bool request, struct view in)
{
	char room[32768], room_2[32768];
	cr_assert_eq(parse(request, in, &msg), H1_OK);
	cr_assert_eq(msg.head_len, in.len);
	struct view out = write_head(request, &msg, room, sizeof(room));
	cr_assert_eq(parse(request, out, &again), H1_OK);
	check_same(&msg, &again);
	cr_assert(view_eq(write_head(request, &again, room_2, sizeof(room_2)), out));
	for (uint32_t i = 0; i < msg.n_headers; i++)
		msg.headers[i].line_len = 0;
	out = write_head(request, &msg, room, sizeof(room));
	cr_assert_eq(parse(request, out, &again), H1_OK);
	check_same(&msg, &again);
}

Test(http_head, writing_and_parsing_again_changes_nothing)
{
	struct rng rng;
	rng_init(&rng, 42);
	for (unsigned round = 0; round < 5000; round++) {
		struct str in = STR_INIT;
		bool request = rng_below(&rng, 2);
		if (request)
			random_request(&rng, &in);
		else
			random_response(&rng, &in);
		check_round_trip(request, str_as_view(&in));
		str_fini(&in);
	}
}

/* Each prefix asks for more, and the quick test never misses the end. */
Test(http_head, a_head_is_complete_with_its_last_byte)
{
	struct rng rng;
	rng_init(&rng, 43);
	for (unsigned round = 0; round < 100; round++) {
		struct str in = STR_INIT;
		random_request(&rng, &in);
		size_t seen = 0;
		for (size_t n = 1; n <= in.len; n++) {
			char *exact = malloc(n);
			memcpy(exact, in.ptr, n);
			struct view head = view_of(exact, n);
			bool complete = n == in.len;
			cr_assert_eq(parse(true, head, &msg), complete ? H1_OK : H1_MORE);
			cr_assert_eq(h1_head_may_be_complete(head, seen, &limits), complete);
			if (rng_below(&rng, 3))
				seen = n;
			free(exact);
		}
		str_fini(&in);
	}
}

static bool may_be_complete(struct view in)
{
	return h1_head_may_be_complete(in, 0, &limits);
}

Test(http_head, what_can_be_refused_at_once_is_worth_a_look)
{
	static char long_line[9000];
	memset(long_line, 'a', sizeof(long_line));
	cr_assert(may_be_complete(VIEW("GET /\n")));
	cr_assert(may_be_complete(VIEW("GET /\rx")));
	cr_assert(may_be_complete(VIEW("GET /\x01")));
	cr_assert(may_be_complete(view_of(long_line, sizeof(long_line))));
	cr_assert(h1_head_may_be_complete(VIEW("GET / HT"), 0, &(struct h1_limits){8, 8, 1}));
	cr_assert_not(may_be_complete(view_of(long_line, 8192)));
	cr_assert_not(may_be_complete(VIEW("GET / HTTP/1.1\r")));
	cr_assert_not(may_be_complete(VIEW("GET / HTTP/1.1\r\n")));
	cr_assert_not(may_be_complete(VIEW("GET / HTTP/1.1\r\nA:\tb\r\n\r")));
	cr_assert_not(may_be_complete(VIEW_NONE));
}

Test(http_head, a_reused_message_forgets_the_one_before)
{
	cr_assert_eq(parse(true,
			   VIEW("POST http://a/b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
				"Expect: 100-continue\r\nX_Y: z\r\nConnection: upgrade\r\n"
				"Upgrade: x\r\n\r\n"),
			   &msg),
		     H1_OK);
	cr_assert(msg.upgrade && msg.expect_continue && msg.n_underscore == 1);
	cr_assert_eq(parse(true, VIEW("GET / HTTP/1.0\r\n\r\n"), &msg), H1_OK);
	cr_assert(view_is_empty(msg.scheme) && view_is_empty(msg.authority));
	cr_assert(msg.body == BODY_NONE && msg.content_length == 0 && msg.n_headers == 0);
	cr_assert_not(msg.upgrade || msg.expect_continue || msg.n_underscore || msg.keep_alive);
	cr_assert_eq(msg.method, METHOD_GET);
}

Test(http_head, nothing_is_the_beginning_of_a_head)
{
	cr_assert_eq(parse(true, VIEW_NONE, &msg), H1_MORE);
	cr_assert_eq(parse(false, VIEW_NONE, &msg), H1_MORE);
}

static enum reject trailers(struct view raw, const struct h1_limits *lim)
{
	enum reject why;
	enum h1_result result = h1_parse_trailers(raw, lim, &msg, &why);
	cr_assert_eq(result == H1_BAD, why != REJECT_NONE);
	return why;
}

/* A caller may have them from elsewhere than h1_body_read. */
Test(http_head, trailers_are_judged_by_themselves)
{
	static const struct h1_limits small = {20, 10, 2};
	cr_assert_eq(trailers(VIEW_NONE, &small), REJECT_NONE);
	cr_assert_eq(msg.n_headers, 0);
	cr_assert_eq(trailers(VIEW("A: b\r\nC: d\r\n"), &small), REJECT_NONE);
	cr_assert_eq(msg.n_headers, 2);
	cr_assert_eq(trailers(VIEW("A: b\r\nC: d\r\nE: f\r\n"), &small), REJECT_TOO_MANY_HEADERS);
	cr_assert_eq(trailers(VIEW("A: 345678901\r\n"), &small), REJECT_TRAILER_TOO_LARGE);
	cr_assert_eq(trailers(VIEW("A: b\r\nC: d\r\nE: fghi\r\n"), &small),
		     REJECT_TRAILER_TOO_LARGE);
	cr_assert_eq(trailers(VIEW("A: b"), &small), REJECT_BAD_TRAILER);
	cr_assert_eq(trailers(VIEW("A: b\r"), &small), REJECT_BAD_TRAILER);
	cr_assert_eq(trailers(VIEW("A b\r\n"), &small), REJECT_BAD_TRAILER);
	cr_assert_eq(trailers(VIEW("\r\n"), &small), REJECT_BAD_TRAILER);
	cr_assert_eq(trailers(VIEW("A: b\nC: d\r\n"), &small), REJECT_BAD_TRAILER);
}
