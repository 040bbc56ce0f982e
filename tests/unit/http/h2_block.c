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
	uint8_t at[1300000];
	size_t len;
};

static struct bytes in, passed, block;
static size_t n_parts;

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

/* A block as HEADERS and CONTINUATION of `piece` bytes each. */
static void put_block(const struct bytes *from, size_t piece, uint8_t flags)
{
	for (size_t at = 0; at < from->len; at += piece) {
		size_t n = from->len - at < piece ? from->len - at : piece;
		put_frame(at ? NGHTTP2_CONTINUATION : NGHTTP2_HEADERS,
			  (at ? 0 : flags) | (at + n == from->len ? NGHTTP2_FLAG_END_HEADERS : 0),
			  from->at + at, n);
	}
}

static struct bytes fields;

static void put_string(size_t len, char c)
{
	uint8_t head[8] = {0x7f};
	size_t n = 1, rest = len - 0x7f;
	if (len < 0x7f) {
		head[0] = (uint8_t)len;
	} else {
		for (; rest >= 0x80; rest >>= 7)
			head[n++] = (uint8_t)(rest & 0x7f) | 0x80;
		head[n++] = (uint8_t)rest;
	}
	put(&fields, head, n);
	cr_assert(fields.len + len <= sizeof(fields.at));
	memset(fields.at + fields.len, c, len);
	fields.len += len;
}

/* With an index: it is in the table then, or has emptied it. */
static void add_field(size_t name, size_t value)
{
	put(&fields, "\x40", 1);
	put_string(name, 'n');
	put_string(value, 'v');
}

/* A block of one field; its size. */
static size_t put_field(size_t len, size_t piece, uint8_t flags)
{
	fields.len = 0;
	add_field(1, len);
	put_block(&fields, piece, flags);
	return fields.len;
}

/* What becomes of `in` in pieces; the last step that is no wait, and whether it was too large. */
static enum h2_block_step run(size_t piece, bool *too_large)
{
	struct h2_block state = {0};
	enum h2_block_step last = H2_BLOCK_WAIT;
	passed.len = block.len = n_parts = 0;
	for (size_t at = 0; at < in.len; at += piece) {
		const char *ptr = (const char *)in.at + at;
		const char *end = ptr + (in.len - at < piece ? in.len - at : piece);
		while (ptr < end) {
			struct h2_block_next next = h2_block_next(&state, &ptr, end);
			last = next.step != H2_BLOCK_WAIT ? next.step : last;
			if (next.step == H2_BLOCK_PASS)
				put(&passed, next.ptr, next.n);
			if (next.step == H2_BLOCK_PART || next.step == H2_BLOCK_WHOLE) {
				*too_large = state.too_large;
				put(&block, next.ptr, next.n);
				/* HEADERS and eight CONTINUATIONs */
				cr_expect_leq(next.n, 9 * H2_FRAME_MAX);
				n_parts++;
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
	bool too_large;
	in.len = 0;
	put_frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, (const uint8_t *)"\x88", 1);
	put_frame(NGHTTP2_DATA, 0, (const uint8_t *)"some body", 9);
	put_frame(NGHTTP2_SETTINGS, 0, (const uint8_t *)"", 0);
	for (size_t piece = 1; piece <= in.len; piece++) {
		run(piece, &too_large);
		cr_assert(passed.len == in.len && !memcmp(passed.at, in.at, in.len), "%zu", piece);
	}
}

Test(h2_block, a_block_of_frames_is_gathered)
{
	static const size_t pieces[] = {1, 2, 7, 10, 1000, 16393, sizeof(in.at)};
	for (size_t k = 0; k < sizeof(pieces) / sizeof(*pieces); k++) {
		bool too_large = true;
		in.len = 0;
		size_t n = put_field(65536, 16384, NGHTTP2_FLAG_END_STREAM);
		cr_assert_eq(run(pieces[k], &too_large), H2_BLOCK_WHOLE);
		cr_assert(!too_large && passed.len == 0 && block.len == n, "%zu", pieces[k]);

		in.len = 0;
		put_field(65537, 16384, 0);
		put_frame(NGHTTP2_DATA, 0, (const uint8_t *)"x", 1);
		run(pieces[k], &too_large);
		cr_assert(too_large && passed.len == 10 && block.len < 10000, "%zu", pieces[k]);
	}
}

/* All of what `from` has, as one block; the entries of the table then. */
static size_t inflate(nghttp2_hd_inflater *inflater, const struct bytes *from)
{
	size_t at = 0;
	nghttp2_nv nv;
	for (int flags = 0; !(flags & NGHTTP2_HD_INFLATE_FINAL);) {
		flags = 0;
		ssize_t n =
		    nghttp2_hd_inflate_hd2(inflater, &nv, &flags, from->at + at, from->len - at, 1);
		cr_assert(n >= 0, "%zd at %zu of %zu", n, at, from->len);
		at += (size_t)n;
	}
	nghttp2_hd_inflate_end_headers(inflater);
	return nghttp2_hd_inflate_get_num_table_entries(inflater);
}

static nghttp2_hd_inflater *inflater_new(void)
{
	nghttp2_hd_inflater *inflater;
	static const struct bytes known = {"\x40\x01k\x01v", 5};
	cr_assert_eq(nghttp2_hd_inflate_new(&inflater), 0);
	cr_assert_eq(inflate(inflater, &known), 62);
	return inflater;
}

/* As nghttp2 sees it: the table is emptied, as it would have been by the whole. */
Test(h2_block, what_stands_in_has_the_same_effect)
{
	bool too_large;
	nghttp2_hd_inflater *inflater = inflater_new();
	in.len = 0;
	put_field(100000, 16384, 0);
	run(1000, &too_large);
	cr_expect_eq(inflate(inflater, &block), 61);
	nghttp2_hd_inflate_del(inflater);
}

static void expect_table(nghttp2_hd_inflater *inflater, size_t newest, size_t value)
{
	const nghttp2_nv *nv = nghttp2_hd_inflate_get_table_entry(inflater, newest + 62);
	cr_assert(nv && nv->namelen == 1 && nv->valuelen == value, "%zu", newest);
}

/* Fields of all sizes, far more than is gathered: what is fed has few bytes at a time, and the
 * table is what the whole would have made of it. */
Test(h2_block, a_block_that_is_too_large_goes_in_parts)
{
	static const size_t pieces[] = {7, 9999, 300000}, frames[] = {1100, 5000, 16384};
	static const size_t strings[] = {20, 200000, 300, 16384, 16385, 70000, 8191, 20, 5000};
	for (size_t k = 0; k < 9; k++) {
		bool too_large = false;
		nghttp2_hd_inflater *inflater = inflater_new();
		in.len = fields.len = 0;
		for (size_t i = 0; fields.len < 900000; i++)
			add_field(strings[i % 9], strings[(i + i / 9) % 9]);
		add_field(1, 300);
		add_field(1, 301);
		put_block(&fields, frames[k / 3], NGHTTP2_FLAG_END_STREAM);
		put_frame(NGHTTP2_DATA, 0, (const uint8_t *)"x", 1);
		cr_assert_eq(run(pieces[k % 3], &too_large), H2_BLOCK_PASS);
		cr_assert(too_large && passed.len == 10 && n_parts > 2, "%zu", n_parts);
		inflate(inflater, &block);
		expect_table(inflater, 0, 301);
		expect_table(inflater, 1, 300);
		nghttp2_hd_inflate_del(inflater);
	}
}

/* Where no string is too large the parts are the whole, byte by byte. */
Test(h2_block, parts_lose_nothing)
{
	bool too_large = false;
	in.len = fields.len = 0;
	for (size_t i = 0; fields.len < 700000; i++) {
		add_field(1 + i % 60, 1 + i * 37 % 5000);
		put(&fields, "\x82\x0f\x00\x01z\x10\x01n\x01v", 10); /* and without an index */
	}
	put_block(&fields, 16384, 0);
	cr_assert_eq(run(9999, &too_large), H2_BLOCK_WHOLE);
	cr_assert(too_large && n_parts > 4 && block.len == fields.len);
	cr_assert(!memcmp(block.at, fields.at, fields.len));
}

/* Small fields in many frames are a block as another, up to what a list may have. */
Test(h2_block, the_number_of_frames_does_not_matter)
{
	bool too_large = true;
	in.len = fields.len = 0;
	while (fields.len < 100000)
		add_field(10, 90);
	put_block(&fields, 200, 0);
	cr_assert_eq(run(4096, &too_large), H2_BLOCK_WHOLE);
	cr_assert(!too_large && n_parts == 1 && block.len == fields.len);
	cr_assert(!memcmp(block.at, fields.at, fields.len));
}

Test(h2_block, padding_and_priority_go)
{
	static const uint8_t payload[] = {3, 0, 0, 0, 0, 9, 0x88, 0, 0, 0};
	bool too_large;
	in.len = 0;
	put_frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_PADDED | NGHTTP2_FLAG_PRIORITY, payload, 10);
	put_frame(NGHTTP2_CONTINUATION, NGHTTP2_FLAG_END_HEADERS, (const uint8_t *)"\x89", 1);
	cr_assert_eq(run(5, &too_large), H2_BLOCK_WHOLE);
	cr_assert(block.len == 2 && block.at[0] == 0x88 && block.at[1] == 0x89);

	in.len = 0;
	put_frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_PADDED | NGHTTP2_FLAG_PRIORITY, payload, 8);
	cr_assert_eq(run(5, &too_large), H2_BLOCK_BAD, "more padding than payload");
}

Test(h2_block, has_bounds)
{
	static const uint8_t half[] = FRAME(1, NGHTTP2_CONTINUATION, 0, 5);
	bool too_large;
	in.len = 0;
	put_field(H2_BLOCK_FLOOD, 16384, 0);
	cr_assert_eq(run(9999, &too_large), H2_BLOCK_BAD, "too much");

	in.len = 0;
	put_frame(NGHTTP2_HEADERS, 0, (const uint8_t *)"", 0);
	for (int i = 0; i < H2_BLOCK_FRAMES; i++)
		put_frame(NGHTTP2_CONTINUATION, 0, (const uint8_t *)"", 0);
	cr_assert_eq(run(9999, &too_large), H2_BLOCK_BAD, "too many frames");

	in.len = fields.len = 0;
	add_field(1, 300000);
	fields.len -= 1;
	put_block(&fields, 16384, 0);
	cr_assert_eq(run(9999, &too_large), H2_BLOCK_BAD, "the end of a string is missing");

	in.len = 0;
	put_frame(NGHTTP2_HEADERS, 0, (const uint8_t *)"", 0);
	put(&in, half, sizeof(half));
	cr_assert_eq(run(9999, &too_large), H2_BLOCK_BAD, "of another stream");
}
