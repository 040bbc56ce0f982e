/* SPDX-License-Identifier: MIT */
/* Header blocks are gathered, and made short: see h2_block.h. */
#include "h2_block.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

#include "weir/base/defs.h"

/* As nghttp2 has it: what a string may take, coded or not. */
#define STRING_MAX 65536
/* In a block that is too large; with 30 bits a character it is still larger than the table. */
#define STRING_SMALL 16384
/* In place of one that is larger; longer than the table ever is (4096 by default). */
#define STAND_IN 8192
#define STAND_IN_ROOM (STAND_IN + 3)

/* ---- strings ---- */

struct walk {
	struct h2_block *block;
	const uint8_t *in, *end;
	uint8_t *out; /* never ahead of `in` */
	size_t max;   /* of a string */
};

static void copy(struct walk *w, size_t n)
{
	memmove(w->out, w->in, n);
	w->out += n;
	w->in += n;
}

/* An integer of RFC 7541 5.1 at `in`; how many bytes it has, 0: it is none. */
static size_t read_int(const struct walk *w, unsigned prefix, uint64_t *value)
{
	const uint8_t *p = w->in;
	uint8_t mask = (uint8_t)((1u << prefix) - 1);
	if (p == w->end)
		return 0;
	*value = *p++ & mask;
	if (*value < mask)
		return 1;
	for (unsigned shift = 0; shift <= 28; shift += 7) {
		if (p == w->end)
			return 0;
		*value += (uint64_t)(*p & 0x7f) << shift;
		if (!(*p++ & 0x80))
			return (size_t)(p - w->in);
	}
	return 0;
}

/* "aaaa...", not coded. */
static void put_stand_in(struct walk *w)
{
	const uint32_t rest = STAND_IN - 0x7f;
	*w->out++ = 0x7f;
	*w->out++ = (uint8_t)(rest & 0x7f) | 0x80;
	*w->out++ = (uint8_t)(rest >> 7);
	memset(w->out, 'a', STAND_IN);
	w->out += STAND_IN;
}

/* False: it is not all here, or as much as the one that stands in. */
static bool pass_string(struct walk *w)
{
	uint64_t len;
	size_t n = read_int(w, 7, &len), here = (size_t)(w->end - w->in);
	if (!n || (len <= w->max && len > here - n) || (len > w->max && here < STAND_IN_ROOM))
		return false;
	w->block->strings--;
	if (likely(len <= w->max)) {
		copy(w, n + (size_t)len);
		return true;
	}
	w->block->too_large = true;
	w->block->skip = len;
	w->in += n;
	put_stand_in(w);
	return true;
}

static bool skip_string(struct walk *w)
{
	size_t n = (size_t)(w->end - w->in);
	n = n < w->block->skip ? n : (size_t)w->block->skip;
	w->block->skip -= n;
	w->in += n;
	return true;
}

/* RFC 7541 6: indexed, a size of the table, or a literal with or without an index. */
static bool pass_index(struct walk *w)
{
	uint8_t first = *w->in;
	bool literal = !(first & 0x80) && (first & 0xe0) != 0x20;
	unsigned prefix = first & 0x80 ? 7 : first & 0x40 ? 6 : literal ? 4 : 5;
	uint64_t index;
	size_t n = read_int(w, prefix, &index);
	if (!n)
		return false;
	copy(w, n);
	w->block->strings = !literal ? 0 : index ? 1 : 2;
	return true;
}

/* Over what is gathered, from where it was; false: there is something that it does not pass. */
static bool walk_on(struct h2_block *block)
{
	uint8_t *bytes = (uint8_t *)block->bytes;
	struct walk w = {
	    .block = block,
	    .in = bytes + block->walked,
	    .end = bytes + block->len,
	    .out = bytes + block->walked,
	    .max = block->too_large ? STRING_SMALL : STRING_MAX,
	};
	bool goes = true;
	while (w.in < w.end && goes) {
		goes = block->skip      ? skip_string(&w)
		       : block->strings ? pass_string(&w)
					: pass_index(&w);
		if (!block->strings)
			block->n_fields = (size_t)(w.out - bytes);
	}
	block->walked = (size_t)(w.out - bytes);
	copy(&w, (size_t)(w.end - w.in));
	block->len = (size_t)(w.out - bytes);
	return goes;
}

/* ---- frames ---- */

static uint32_t frame_len(const uint8_t *f)
{
	return (uint32_t)f[0] << 16 | (uint32_t)f[1] << 8 | f[2];
}

static int32_t frame_id(const uint8_t *f)
{
	return (int32_t)((uint32_t)(f[5] & 0x7f) << 24 | (uint32_t)f[6] << 16 |
			 (uint32_t)f[7] << 8 | f[8]);
}

static bool begins_block(const uint8_t *f)
{
	return f[3] == NGHTTP2_HEADERS && !(f[4] & NGHTTP2_FLAG_END_HEADERS);
}

static struct h2_block_next bad(uint32_t why)
{
	return (struct h2_block_next){.step = H2_BLOCK_BAD, .why = why};
}

static const struct h2_block_next more = {.step = H2_BLOCK_WAIT};

/* Padding and priority are not of the block. */
static bool strip(struct h2_block *block)
{
	char *payload = block->bytes;
	size_t front = 0, back = 0;
	if (block->flags & NGHTTP2_FLAG_PADDED) {
		if (!block->len)
			return false;
		back = (uint8_t)payload[0];
		front = 1;
	}
	front += block->flags & NGHTTP2_FLAG_PRIORITY ? 5 : 0;
	if (front + back > block->len)
		return false;
	block->len -= front + back;
	memmove(payload, payload + front, block->len);
	return true;
}

static struct h2_block_next whole(struct h2_block *block)
{
	walk_on(block);
	if (block->skip)
		return bad(NGHTTP2_COMPRESSION_ERROR);
	return (struct h2_block_next){H2_BLOCK_WHOLE, block->bytes, block->len, 0};
}

/* More than a list may have: it goes on as far as there are whole fields. */
static struct h2_block_next part(struct h2_block *block)
{
	block->too_large = true;
	walk_on(block);
	if (block->len - block->n_fields > H2_BLOCK_MAX)
		return bad(NGHTTP2_COMPRESSION_ERROR);
	if (!block->n_fields)
		return more;
	return (struct h2_block_next){H2_BLOCK_PART, block->bytes, block->n_fields, 0};
}

/* They are with the session. */
static void drop_fields(struct h2_block *block)
{
	block->len -= block->n_fields;
	block->walked -= block->n_fields;
	memmove(block->bytes, block->bytes + block->n_fields, block->len);
	block->n_fields = 0;
}

/* All of a frame of the block is here. */
static struct h2_block_next frame_over(struct h2_block *block)
{
	bool first = block->n_frames++ == 0;
	block->n_frame = 0;
	if (first && !strip(block))
		return bad(NGHTTP2_PROTOCOL_ERROR);
	if (block->last & NGHTTP2_FLAG_END_HEADERS)
		return whole(block);
	return block->len > H2_BLOCK_MAX ? part(block) : more;
}

/* The head of a frame that belongs to the block. */
static struct h2_block_next frame_begins(struct h2_block *block)
{
	const uint8_t *f = block->frame;
	uint32_t len = frame_len(f);
	if (len > H2_FRAME_MAX)
		return bad(NGHTTP2_FRAME_SIZE_ERROR);
	if (!block->gathers) {
		block->gathers = true;
		block->id = frame_id(f);
		block->flags = f[4];
	} else if (f[3] != NGHTTP2_CONTINUATION || frame_id(f) != block->id) {
		return bad(NGHTTP2_PROTOCOL_ERROR);
	}
	block->came += len;
	if (block->came > H2_BLOCK_FLOOD || block->n_frames == H2_BLOCK_FRAMES)
		return bad(NGHTTP2_ENHANCE_YOUR_CALM);
	if (block->n_fields)
		drop_fields(block);
	char *bytes = realloc(block->bytes, block->len + len + 1);
	if (!bytes)
		return bad(NGHTTP2_INTERNAL_ERROR);
	block->bytes = bytes;
	block->last = f[4];
	block->left = len;
	return len ? more : frame_over(block);
}

static struct h2_block_next gather(struct h2_block *block, const char **ptr, const char *end)
{
	size_t n = (size_t)(end - *ptr);
	n = n < block->left ? n : block->left;
	memcpy(block->bytes + block->len, *ptr, n);
	block->len += n;
	block->left -= (uint32_t)n;
	*ptr += n;
	return block->left ? more : frame_over(block);
}

static struct h2_block_next pass(const char *ptr, size_t n)
{
	return (struct h2_block_next){.step = H2_BLOCK_PASS, .ptr = ptr, .n = n};
}

/* A head that came in pieces, or is of a block. */
static struct h2_block_next take_head(struct h2_block *block, const char **ptr, const char *end)
{
	size_t n = (size_t)(end - *ptr), lacks = H2_FRAME_HEAD - (size_t)block->n_frame;
	n = n < lacks ? n : lacks;
	memcpy(block->frame + block->n_frame, *ptr, n);
	block->n_frame += (uint8_t)n;
	*ptr += n;
	if (block->n_frame < H2_FRAME_HEAD)
		return more;
	if (block->gathers || begins_block(block->frame))
		return frame_begins(block);
	block->n_frame = 0;
	block->left = frame_len(block->frame);
	return pass((const char *)block->frame, H2_FRAME_HEAD);
}

/* As many whole frames, and the part of one, as go on as they are. */
static const char *pass_frames(struct h2_block *block, const char *at, const char *end)
{
	while (at < end) {
		if (block->left) {
			size_t n = (size_t)(end - at);
			n = n < block->left ? n : block->left;
			block->left -= (uint32_t)n;
			at += n;
			continue;
		}
		if (end - at < H2_FRAME_HEAD || begins_block((const uint8_t *)at))
			break;
		block->left = frame_len((const uint8_t *)at);
		at += H2_FRAME_HEAD;
	}
	return at;
}

struct h2_block_next h2_block_next(struct h2_block *block, const char **ptr, const char *end)
{
	struct h2_block_next next = more;
	if (likely(!block->gathers && !block->n_frame)) {
		const char *from = *ptr;
		*ptr = pass_frames(block, from, end);
		if (likely(*ptr > from))
			return pass(from, (size_t)(*ptr - from));
	}
	while (*ptr < end && next.step == H2_BLOCK_WAIT)
		next = block->gathers && block->n_frame == H2_FRAME_HEAD
			   ? gather(block, ptr, end)
			   : take_head(block, ptr, end);
	return next;
}

void h2_block_end(struct h2_block *block)
{
	free(block->bytes);
	*block = (struct h2_block){0};
}
