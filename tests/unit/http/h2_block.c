/* SPDX-License-Identifier: MIT */
/* Large header blocks are gathered and shortened, however their bytes are cut
 * (src/http/h2_block.h). */
#include <criterion/criterion.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>

#include "../../../src/http/h2_block.h"

#define FRAME(len, type, flags, id) \
	{(uint8_t)((len) >> 16), (uint8_t)((len) >> 8), (uint8_t)(len), type, flags, 0, 0, 0, id}

struct bytes {
	uint8_t at[400000];
	size_t len;
};

static struct bytes in, passed, block;

static void put(struct bytes *b, const void *ptr, size_t len)
{
	cr_assert(b->len + len <= sizeof(b->at));
	memcpy(b->at + b->len, ptr, len);
	b->len += len;
}

static void put_frame(uint8_t type, uint8_t flags, const uint8_t *ptr, size_t len)
{
	const uint8_t head[] = FRAME(len, type, flags, 3);
	put(&in, head, sizeof(head));
	put(&in, ptr, len);
}

/* A field of `len` bytes, with an index; as HEADERS and CONTINUATION of `part` bytes each. */
static size_t put_field(size_t len, size_t part, uint8_t flags)
{
	static uint8_t field[300000];
	size_t rest = len - 0x7f, n = 0;
	field[n++] = 0x40;
	field[n++] = 1;
	field[n++] = 'x';
	field[n++] = 0x7f;
	for (; rest >= 0x80; rest >>= 7)
		field[n++] = (uint8_t)(rest & 0x7f) | 0x80;
	field[n++] = (uint8_t)rest;
	memset(field + n, 'v', len);
	n += len;
	for (size_t at = 0; at < n; at += part) {
		size_t this = n - at < part ? n - at : part;
		put_frame(at ? NGHTTP2_CONTINUATION : NGHTTP2_HEADERS,
			  (at ? 0 : flags) | (at + this == n ? NGHTTP2_FLAG_END_HEADERS : 0),
			  field + at, this);
	}
	return n;
}

/* What becomes of `in` in pieces; the last step that is no wait, and whether it was shortened. */
static enum h2_block_step run(size_t piece, bool *shortened)
{
	struct h2_block state = {0};
	enum h2_block_step last = H2_BLOCK_WAIT;
	passed.len = block.len = 0;
	for (size_t at = 0; at < in.len; at += piece) {
		const char *ptr = (const char *)in.at + at;
		const char *end = ptr + (in.len - at < piece ? in.len - at : piece);
		while (ptr < end) {
			struct h2_block_next next = h2_block_next(&state, &ptr, end);
			last = next.step != H2_BLOCK_WAIT ? next.step : last;
			if (next.step == H2_BLOCK_PASS)
				put(&passed, next.ptr, next.n);
			if (next.step == H2_BLOCK_WHOLE) {
				*shortened = h2_block_shorten(&state);
				put(&block, state.bytes, state.len);
			}
			if (next.step == H2_BLOCK_WHOLE || next.step == H2_BLOCK_BAD)
				h2_block_end(&state);
			if (next.step == H2_BLOCK_BAD)
				return last;
		}
	}
	h2_block_end(&state);
	return last;
}

Test(h2_block, small_frames_pass_as_they_are)
{
	bool shortened;
	in.len = 0;
	put_frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, (const uint8_t *)"\x88", 1);
	put_frame(NGHTTP2_DATA, 0, (const uint8_t *)"some body", 9);
	put_frame(NGHTTP2_SETTINGS, 0, (const uint8_t *)"", 0);
	for (size_t piece = 1; piece <= in.len; piece++) {
		run(piece, &shortened);
		cr_assert(passed.len == in.len && !memcmp(passed.at, in.at, in.len), "%zu", piece);
	}
}

Test(h2_block, a_block_of_frames_is_gathered)
{
	static const size_t pieces[] = {1, 2, 7, 10, 1000, 16393, sizeof(in.at)};
	for (size_t k = 0; k < sizeof(pieces) / sizeof(*pieces); k++) {
		bool shortened = true;
		in.len = 0;
		size_t n = put_field(65536, 16384, NGHTTP2_FLAG_END_STREAM);
		cr_assert_eq(run(pieces[k], &shortened), H2_BLOCK_WHOLE);
		cr_assert(!shortened && passed.len == 0 && block.len == n, "%zu", pieces[k]);

		in.len = 0;
		put_field(65537, 16384, 0);
		put_frame(NGHTTP2_DATA, 0, (const uint8_t *)"x", 1);
		run(pieces[k], &shortened);
		cr_assert(shortened && passed.len == 10 && block.len < 10000, "%zu", pieces[k]);
	}
}

/* As nghttp2 sees it: the table is emptied, as it would have been by the whole. */
Test(h2_block, what_stands_in_has_the_same_effect)
{
	bool shortened;
	nghttp2_hd_inflater *inflater;
	nghttp2_nv nv;
	int flags = 0;
	in.len = 0;
	put_field(100000, 16384, 0);
	run(1000, &shortened);
	cr_assert_eq(nghttp2_hd_inflate_new(&inflater), 0);
	static const uint8_t known[] = "\x40\x01k\x01v";
	cr_assert(nghttp2_hd_inflate_hd2(inflater, &nv, &flags, known, 5, 1) > 0);
	cr_assert_eq(nghttp2_hd_inflate_get_num_table_entries(inflater), 62);
	nghttp2_hd_inflate_end_headers(inflater);
	ssize_t n = nghttp2_hd_inflate_hd2(inflater, &nv, &flags, block.at, block.len, 1);
	cr_expect_eq(n, (ssize_t)block.len);
	cr_expect(flags & NGHTTP2_HD_INFLATE_EMIT);
	cr_expect_eq(nghttp2_hd_inflate_get_num_table_entries(inflater), 61);
	nghttp2_hd_inflate_del(inflater);
}

Test(h2_block, padding_and_priority_go)
{
	static const uint8_t payload[] = {3, 0, 0, 0, 0, 9, 0x88, 0, 0, 0};
	bool shortened;
	in.len = 0;
	put_frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_PADDED | NGHTTP2_FLAG_PRIORITY, payload, 10);
	put_frame(NGHTTP2_CONTINUATION, NGHTTP2_FLAG_END_HEADERS, (const uint8_t *)"\x89", 1);
	cr_assert_eq(run(5, &shortened), H2_BLOCK_WHOLE);
	cr_assert(block.len == 2 && block.at[0] == 0x88 && block.at[1] == 0x89);

	in.len = 0;
	put_frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_PADDED | NGHTTP2_FLAG_PRIORITY, payload, 8);
	cr_assert_eq(run(5, &shortened), H2_BLOCK_BAD, "more padding than payload");
}

Test(h2_block, has_bounds)
{
	static const uint8_t half[] = FRAME(1, NGHTTP2_CONTINUATION, 0, 5);
	bool shortened;
	in.len = 0;
	put_field(270000, 16384, 0);
	cr_assert_eq(run(9999, &shortened), H2_BLOCK_BAD, "too much");

	in.len = 0;
	put_frame(NGHTTP2_HEADERS, 0, (const uint8_t *)"", 0);
	for (int i = 0; i < 100; i++)
		put_frame(NGHTTP2_CONTINUATION, 0, (const uint8_t *)"", 0);
	cr_assert_eq(run(9999, &shortened), H2_BLOCK_BAD, "too many frames");

	in.len = 0;
	put_frame(NGHTTP2_HEADERS, 0, (const uint8_t *)"", 0);
	put(&in, half, sizeof(half));
	cr_assert_eq(run(9999, &shortened), H2_BLOCK_BAD, "of another stream");
}
