/* SPDX-License-Identifier: MIT */
/* Bodies: what the spec cases cannot show, and the laws of the chunked coding. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "weir/base/rng.h"
#include "weir/base/str.h"
#include "weir/http/h1.h"

static const struct h1_limits limits = {32768, 8192, 100};

static struct h1_body body_of(enum body_kind kind, uint64_t length)
{
	static struct message msg;
	struct h1_body body;
	msg.body = kind;
	msg.content_length = length;
	h1_body_init(&body, &msg, &limits, 0);
	return body;
}

Test(http_body, counted_is_not_copied)
{
	char in[] = "helloGET /";
	struct h1_piece piece;
	enum reject why;
	struct h1_body body = body_of(BODY_LENGTH, 5);
	cr_assert_not(h1_body_may_end(&body));
	cr_assert_eq(h1_body_read(&body, in, 10, &piece, &why), H1_OK);
	cr_assert_eq(piece.data.ptr, in);
	cr_assert_eq(piece.data.len, 5);
	cr_assert_eq(piece.consumed, 5);
	cr_assert_eq(body.total, 5);
	cr_assert(h1_body_may_end(&body));
}

Test(http_body, the_payload_of_chunks_lies_at_the_start)
{
	char in[] = "4\r\nhell\r\n1\r\no\r\n0\r\n\r\nGET /";
	struct h1_piece piece;
	enum reject why;
	struct h1_body body = body_of(BODY_CHUNKED, 0);
	cr_assert_eq(h1_body_read(&body, in, sizeof(in) - 1, &piece, &why), H1_OK);
	cr_assert_eq(piece.data.ptr, in);
	cr_assert(view_eq(piece.data, VIEW("hello")));
	cr_assert(view_eq(view_of(in + piece.consumed, 5), VIEW("GET /")));
}

Test(http_body, endless_ends_with_the_connection)
{
	char in[] = "abc";
	struct h1_piece piece;
	enum reject why;
	struct h1_body body = body_of(BODY_CLOSE, 0);
	cr_assert_eq(h1_body_read(&body, in, 3, &piece, &why), H1_MORE);
	cr_assert_eq(piece.data.len, 3);
	cr_assert_eq(piece.consumed, 3);
	cr_assert(h1_body_may_end(&body));
}

Test(http_body, chunked_may_not_end_before_its_blank_line)
{
	char in[] = "1\r\nx\r\n0\r\n\r\n";
	for (size_t n = 0; n < sizeof(in) - 1; n++) {
		char copy[sizeof(in)];
		struct h1_piece piece;
		enum reject why;
		struct h1_body body = body_of(BODY_CHUNKED, 0);
		memcpy(copy, in, sizeof(in));
		cr_assert_eq(h1_body_read(&body, copy, n, &piece, &why), H1_MORE);
		cr_assert_not(h1_body_may_end(&body), "after %zu bytes", n);
	}
}

Test(http_body, no_body_takes_nothing)
{
	char in[] = "GET /";
	struct h1_piece piece;
	enum reject why;
	struct h1_body none = body_of(BODY_NONE, 0), empty = body_of(BODY_LENGTH, 0);
	cr_assert_eq(h1_body_read(&none, in, 5, &piece, &why), H1_OK);
	cr_assert_eq(piece.consumed, 0);
	cr_assert_eq(h1_body_read(&empty, in, 5, &piece, &why), H1_OK);
	cr_assert_eq(piece.consumed, 0);
}

/* ---- laws ---- */

/* Random payload in random chunks, now and then with extensions and trailers. */
static void encode(struct rng *rng, struct str *payload, struct str *coded, struct str *trailers)
{
	unsigned n_chunks = rng_below(rng, 8);
	for (unsigned i = 0; i < n_chunks; i++) {
		char head[H1_CHUNK_HEAD_MAX];
		uint32_t size = 1 + rng_below(rng, rng_below(rng, 4) ? 20 : 3000);
		size_t n = h1_chunk_head(head, size);
		str_put(coded, head, n - 2);
		if (rng_below(rng, 4) == 0)
			str_text(coded, ";ext=\"a b\"");
		str_text(coded, "\r\n");
		for (uint32_t k = 0; k < size; k++) {
			char c = "\r\n0a;"[rng_below(rng, 5)];
			str_char(payload, c);
			str_char(coded, c);
		}
		str_text(coded, "\r\n");
	}
	for (unsigned i = rng_below(rng, 3); i; i--)
		str_printf(trailers, "X-Trailer-%u: %u\r\n", i, rng_below(rng, 1000));
	str_text(coded, "0\r\n");
	str_view(coded, str_as_view(trailers));
	str_text(coded, "\r\n");
}

/* Gives `coded` and a few bytes of what follows in random pieces, as a connection does. */
static void decode(struct rng *rng, struct view coded, struct str *payload, struct str *trailers,
		   size_t *n_left)
{
	struct h1_body body = body_of(BODY_CHUNKED, 0);
	char *pending = NULL;
	size_t n_pending = 0;
	enum h1_result result = H1_MORE;
	while (result == H1_MORE) {
		size_t n = 1 + rng_below(rng, rng_below(rng, 2) ? 4 : 2000);
		struct view piece_in = view_head(coded, n);
		struct h1_piece piece;
		enum reject why;
		coded = view_skip(coded, n);
		pending = realloc(pending, n_pending + piece_in.len + 1);
		memcpy(pending + n_pending, piece_in.ptr, piece_in.len);
		n_pending += piece_in.len;
		result = h1_body_read(&body, pending, n_pending, &piece, &why);
		cr_assert(result != H1_BAD, "%s", reject_sentence(why));
		str_view(payload, piece.data);
		str_view(trailers, piece.trailers);
		n_pending -= piece.consumed;
		memmove(pending, pending + piece.consumed, n_pending);
		cr_assert(result == H1_OK || coded.len, "the end was not seen");
	}
	cr_assert_eq(body.total, payload->len);
	*n_left = n_pending + coded.len;
	free(pending);
}

Test(http_body, decoding_undoes_encoding_however_it_is_cut)
{
	struct rng rng;
	rng_init(&rng, 20261123);
	for (unsigned round = 0; round < 2000; round++) {
		struct str payload = STR_INIT, coded = STR_INIT, trailers = STR_INIT;
		struct str got = STR_INIT, got_trailers = STR_INIT;
		size_t n_left;
		encode(&rng, &payload, &coded, &trailers);
		str_text(&coded, "NEXT");
		decode(&rng, str_as_view(&coded), &got, &got_trailers, &n_left);
		cr_assert(view_eq(str_as_view(&got), str_as_view(&payload)), "round %u", round);
		cr_assert(view_eq(str_as_view(&got_trailers), str_as_view(&trailers)));
		cr_assert_eq(n_left, 4);
		str_fini(&payload);
		str_fini(&coded);
		str_fini(&trailers);
		str_fini(&got);
		str_fini(&got_trailers);
	}
}
