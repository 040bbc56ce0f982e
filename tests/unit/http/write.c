/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdio.h>

#include "weir/base/rng.h"
#include "weir/http/h1.h"

static const struct h1_limits limits = {32768, 8192, 100};
static struct message msg;

static void expect(const struct h1_out *out, struct view text)
{
	cr_assert_not(out->overflow);
	cr_assert(view_eq(view_of(out->ptr, out->len), text), "%.*s", (int)out->len, out->ptr);
}

Test(http_write, lines)
{
	char room[256];
	struct h1_out out = h1_out_init(room, sizeof(room));
	h1_put_request_line(&out, VIEW("GET"), VIEW("/a?b"));
	h1_put_header(&out, VIEW("A"), VIEW("b c"));
	h1_put_header(&out, VIEW("Empty"), VIEW_NONE);
	h1_put_header_u64(&out, VIEW("N"), UINT64_MAX);
	h1_put_header_u64(&out, VIEW("Z"), 0);
	h1_put(&out, VIEW("\r\n"));
	expect(&out, VIEW("GET /a?b HTTP/1.1\r\nA: b c\r\nEmpty: \r\nN: 18446744073709551615\r\n"
			  "Z: 0\r\n\r\n"));
}

Test(http_write, status_lines)
{
	char room[256];
	struct h1_out out = h1_out_init(room, sizeof(room));
	h1_put_status_line(&out, 200, VIEW_NONE);
	h1_put_status_line(&out, 404, VIEW("Gone fishing"));
	h1_put_status_line(&out, 299, VIEW_NONE);
	expect(&out, VIEW("HTTP/1.1 200 OK\r\nHTTP/1.1 404 Gone fishing\r\nHTTP/1.1 299 \r\n"));
}

static void parse(struct view head)
{
	enum reject why;
	cr_assert_eq(h1_parse_request(head, &limits, &msg, &why), H1_OK, "%s",
		     reject_sentence(why));
}

Test(http_write, headers_are_written_as_they_came_but_for_odd_space)
{
	char room[256];
	struct h1_out out = h1_out_init(room, sizeof(room));
	parse(VIEW("GET / HTTP/1.1\r\nHost:a\r\nA:  b \r\nC: d\r\nE: f\r\nG: h\r\n\r\n"));
	msg.headers[2].drop = true;
	msg.headers[3].value = VIEW("changed");
	msg.headers[3].line_len = 0;
	h1_put_headers(&out, &msg);
	expect(&out, VIEW("Host:a\r\nA: b\r\nE: changed\r\nG: h\r\n"));
}

Test(http_write, all_dropped_is_nothing)
{
	char room[8];
	struct h1_out out = h1_out_init(room, sizeof(room));
	parse(VIEW("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
	msg.headers[0].drop = true;
	h1_put_headers(&out, &msg);
	expect(&out, VIEW_NONE);
}

/* Lines as they came, fields of ours, and lines again: all of them or none. */
Test(http_write, headers_that_do_not_fit_are_left_out_together)
{
	const struct view want = VIEW("Host: a\r\nC: d\r\nE: changed\r\nG: h\r\nI: j\r\nK: l\r\n");
	char room[64];
	parse(VIEW("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nC: d\r\nE: f\r\nG: h\r\nI: j\r\n\r\n"));
	msg.headers[1].drop = true;
	msg.headers[3].value = VIEW("changed");
	msg.headers[3].line_len = 0;
	msg.headers[msg.n_headers++] = header_of_line(HDR_OTHER, VIEW("K: l\r\n"), 1);
	for (size_t cap = 1; cap < sizeof(room); cap++) {
		memset(room, '#', sizeof(room));
		struct h1_out out = h1_out_init(room, cap);
		h1_put(&out, VIEW("+"));
		h1_put_headers(&out, &msg);
		bool fits = cap > want.len;
		cr_assert_eq(out.overflow, !fits);
		cr_assert_eq(out.len, fits ? 1 + want.len : 1);
		cr_assert_eq(room[0], '+');
		if (fits)
			cr_assert(view_eq(view_of(room + 1, want.len), want));
		for (size_t i = cap; i < sizeof(room); i++)
			cr_assert_eq(room[i], '#');
		size_t len = out.len;
		h1_put_headers(&out, &msg); /* after that nothing more, even where there is room */
		cr_assert(out.overflow);
		cr_assert_eq(out.len, len);
	}
}

/* Room for n bytes gives the first calls that fit, whole, and then none. */
Test(http_write, what_does_not_fit_is_left_out_whole)
{
	char room[64];
	for (size_t cap = 0; cap < sizeof(room); cap++) {
		memset(room, '#', sizeof(room));
		struct h1_out out = h1_out_init(room, cap);
		h1_put_header(&out, VIEW("A"), VIEW("0123456789"));
		h1_put_header(&out, VIEW("B"), VIEW("0123456789"));
		h1_put(&out, VIEW("\r\n"));
		size_t want = cap >= 32 ? 32 : cap >= 30 ? 30 : cap >= 15 ? 15 : 0;
		cr_assert_eq(out.len, want, "room for %zu", cap);
		cr_assert_eq(out.overflow, cap < 32);
		for (size_t i = out.len; i < sizeof(room); i++)
			cr_assert_eq(room[i], '#');
	}
}

Test(http_write, start_lines_are_written_whole_or_not_at_all)
{
	char room[64];
	for (size_t cap = 0; cap < sizeof(room); cap++) {
		struct h1_out request = h1_out_init(room, cap);
		h1_put_request_line(&request, VIEW("GET"), VIEW("/"));
		cr_assert_eq(request.len, cap >= 16 ? 16 : 0);
		cr_assert_eq(request.overflow, cap < 16);
		struct h1_out response = h1_out_init(room, cap);
		h1_put_status_line(&response, 200, VIEW_NONE);
		cr_assert_eq(response.len, cap >= 17 ? 17 : 0);
		cr_assert_eq(response.overflow, cap < 17);
	}
}

Test(http_write, nothing_follows_an_overflow)
{
	char room[16];
	struct h1_out out = h1_out_init(room, sizeof(room));
	h1_put(&out, VIEW("0123456789abcdefg"));
	h1_put(&out, VIEW("x"));
	cr_assert(out.overflow);
	cr_assert_eq(out.len, 0);
}

static void check_chunk_head(uint64_t size)
{
	char got[H1_CHUNK_HEAD_MAX], want[32];
	size_t n = h1_chunk_head(got, size);
	snprintf(want, sizeof(want), "%jx\r\n", (uintmax_t)size);
	cr_assert(view_eq(view_of(got, n), view_str(want)), "%s", want);
}

Test(http_write, chunk_heads)
{
	struct rng rng;
	rng_init(&rng, 3);
	check_chunk_head(0);
	check_chunk_head(UINT64_MAX);
	for (unsigned bit = 0; bit < 64; bit++) {
		check_chunk_head(UINT64_C(1) << bit);
		check_chunk_head((UINT64_C(1) << bit) - 1);
		check_chunk_head(rng_next(&rng) >> bit);
	}
}
