/* SPDX-License-Identifier: MIT */
/* Header ids inside the codec: sets of them, and the look-up on the hot path. */
#ifndef WEIR_HTTP_HEADER_ID_H
#define WEIR_HTTP_HEADER_ID_H

#include "weir/http/message.h"

/*
 * Known names, found through a small open hash of length, first and last
 * letter.  HDR_OTHER marks a free slot; a quarter is taken, so runs are short.
 */
#define HDR_SLOTS 256
extern const struct view hdr_names[HDR_N];
extern uint8_t hdr_slots[HDR_SLOTS]; /* const from start-up on */

static inline unsigned hdr_slot(const char *ptr, size_t len)
{
	/* the bit 0x20 is case in letters and set in digits and '-' anyway */
	unsigned first = (uint8_t)ptr[0] | 0x20;
	unsigned last = (uint8_t)ptr[len - 1] | 0x20;
	return (unsigned)(len * 29 + first * 7 + last) % HDR_SLOTS;
}

static inline bool hdr_same8(const char *name, const char *ours)
{
	uint64_t a, b;
	memcpy(&a, name, 8);
	memcpy(&b, ours, 8);
	return (a | UINT64_C(0x2020202020202020)) == b;
}

static inline bool hdr_same4(const char *name, const char *ours)
{
	uint32_t a, b;
	memcpy(&a, name, 4);
	memcpy(&b, ours, 4);
	return (a | UINT32_C(0x20202020)) == b;
}

/*
 * `name` against a word of ours in lower case, letters, digits and '-' only, of
 * the same length; see hdr_slot about 0x20.  Exact when `name` has no control
 * bytes.  The last comparison overlaps the one before.
 */
static inline bool hdr_same(const char *name, const char *ours, size_t len)
{
	if (len >= 8) {
		for (size_t i = 0; i + 8 < len; i += 8)
			if (!hdr_same8(name + i, ours + i))
				return false;
		return hdr_same8(name + len - 8, ours + len - 8);
	}
	if (len >= 4)
		return hdr_same4(name, ours) && hdr_same4(name + len - 4, ours + len - 4);
	for (size_t i = 0; i < len; i++)
		if ((name[i] | 0x20) != ours[i])
			return false;
	return true;
}

/* A field value, which has no control bytes, against a word as above; case ignored. */
static inline bool value_is(struct view v, struct view word)
{
	return v.len == word.len && hdr_same(v.ptr, word.ptr, word.len);
}

/* hdr_lookup for a name without control bytes. */
static inline enum hdr_id hdr_of_token(struct view name)
{
	unsigned i = hdr_slot(name.ptr, name.len);
	for (; hdr_slots[i] != HDR_OTHER; i = (i + 1) % HDR_SLOTS) {
		const struct view *ours = &hdr_names[hdr_slots[i]];
		if (ours->len == name.len && hdr_same(name.ptr, ours->ptr, name.len))
			return hdr_slots[i];
	}
	return HDR_OTHER;
}

#endif
