/* SPDX-License-Identifier: MIT */
/*
 * Which byte may stand where in an HTTP/1 head, as a table for single bytes and
 * as vector scans for runs.  A scan looks at 16 bytes at a time where the CPU
 * has SSE2 (every x86-64) and at the table elsewhere; it never reads outside
 * [base, end).
 */
#ifndef WEIR_HTTP_CHARS_H
#define WEIR_HTTP_CHARS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/base/defs.h"

enum char_class {
	CHAR_NAME = 1,   /* letter, digit, '-': nearly every byte of a field name */
	CHAR_TOKEN = 2,  /* tchar, RFC 9110 5.6.2 */
	CHAR_VALUE = 4,  /* field-content: HTAB, SP, VCHAR, obs-text, RFC 9110 5.5 */
	CHAR_TARGET = 8, /* VCHAR without '#' */
	CHAR_HOST = 16,  /* reg-name without '%' and ',', see uri.c */
};

extern const uint8_t char_classes[256];

static inline bool char_is(char c, enum char_class class)
{
	return char_classes[(uint8_t)c] & class;
}

#if defined(__SSE2__) && !defined(WEIR_PORTABLE_SCAN)
#include <emmintrin.h>
#define WEIR_VECTOR_SCAN

static inline __m128i bytes_in_range(__m128i v, char first, char last)
{
	__m128i from_zero = _mm_sub_epi8(v, _mm_set1_epi8(first));
	return _mm_cmpeq_epi8(_mm_min_epu8(from_zero, _mm_set1_epi8((char)(last - first))),
			      from_zero);
}

static inline __m128i bytes_equal(__m128i v, char c)
{
	return _mm_cmpeq_epi8(v, _mm_set1_epi8(c));
}

/* One bit for each byte that is not of the class. */
static inline unsigned name_stops(__m128i v)
{
	__m128i alpha = bytes_in_range(_mm_or_si128(v, _mm_set1_epi8(0x20)), 'a', 'z');
	__m128i digit = bytes_in_range(v, '0', '9');
	__m128i good = _mm_or_si128(_mm_or_si128(alpha, digit), bytes_equal(v, '-'));
	return (unsigned)_mm_movemask_epi8(good) ^ 0xffff;
}

static inline unsigned value_stops(__m128i v)
{
	__m128i control = _mm_andnot_si128(bytes_equal(v, '\t'), bytes_in_range(v, 0, 0x1f));
	return (unsigned)_mm_movemask_epi8(_mm_or_si128(control, bytes_equal(v, 0x7f)));
}

static inline unsigned target_stops(__m128i v)
{
	/* the comparison is signed: bytes from 0x80 count as below the space */
	__m128i above_space = _mm_cmpgt_epi8(v, _mm_set1_epi8(' '));
	__m128i bad = _mm_or_si128(bytes_equal(v, 0x7f), bytes_equal(v, '#'));
	return (unsigned)_mm_movemask_epi8(_mm_andnot_si128(bad, above_space)) ^ 0xffff;
}

static inline __m128i load_bytes(const char *p)
{
	return _mm_loadu_si128((const __m128i *)(const void *)p);
}

#define SCAN(name, class)                                                                        \
	static inline const char *scan_##name(const char *base, const char *p, const char *end)  \
	{                                                                                        \
		while (end - p >= 16) {                                                          \
			unsigned stops = name##_stops(load_bytes(p));                            \
			if (stops)                                                               \
				return p + __builtin_ctz(stops);                                 \
			p += 16;                                                                 \
		}                                                                                \
		if (end - base >= 16) {                                                          \
			/* the last 16 bytes, those before p shifted out */                      \
			unsigned stops = name##_stops(load_bytes(end - 16)) >> (16 - (end - p)); \
			return stops ? p + __builtin_ctz(stops) : end;                           \
		}                                                                                \
		while (p < end && char_is(*p, class))                                            \
			p++;                                                                     \
		return p;                                                                        \
	}
#else
#define SCAN(name, class)                                                             \
	static inline const char *scan_##name(UNUSED const char *base, const char *p, \
					      const char *end)                        \
	{                                                                             \
		while (p < end && char_is(*p, class))                                 \
			p++;                                                          \
		return p;                                                             \
	}
#endif

/*
 * Where the walk over the fields of a head has to look, as bit masks of up to
 * 64 bytes: bit i stands for p[i].  Masks do not depend on one another, while a
 * scan that starts where the last one ended makes the CPU wait at each line.
 */
#define BLOCK 64
struct block {
	uint64_t ends;     /* control bytes, tab among them: what ends a line, or spoils it */
	uint64_t specials; /* these and ':' */
};

#ifdef WEIR_VECTOR_SCAN
static inline void block_add(struct block *block, __m128i v, unsigned shift_right, size_t at)
{
	__m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
	__m128i end = _mm_or_si128(control, bytes_equal(v, 0x7f));
	uint64_t ends = (unsigned)_mm_movemask_epi8(end) >> shift_right;
	uint64_t colons = (unsigned)_mm_movemask_epi8(bytes_equal(v, ':')) >> shift_right;
	block->ends |= ends << at;
	block->specials |= colons << at;
}
#endif

static inline struct block block_of(UNUSED const char *base, const char *p, const char *end)
{
	struct block block = {0, 0};
	size_t n = end - p < BLOCK ? (size_t)(end - p) : BLOCK;
	size_t i = 0;
#ifdef WEIR_VECTOR_SCAN
	if (n == BLOCK) {
		/* without a loop's counting, so that shifts are constants */
		block_add(&block, load_bytes(p), 0, 0);
		block_add(&block, load_bytes(p + 16), 0, 16);
		block_add(&block, load_bytes(p + 32), 0, 32);
		block_add(&block, load_bytes(p + 48), 0, 48);
		i = n;
	} else if (n >= 16) {
		block_add(&block, load_bytes(p), 0, 0);
		if (n >= 32)
			block_add(&block, load_bytes(p + 16), 0, 16);
		if (n >= 48)
			block_add(&block, load_bytes(p + 32), 0, 32);
		i = n & ~(size_t)15;
	}
	if (i < n && end - base >= 16) {
		block_add(&block, load_bytes(end - 16), (unsigned)(16 - (n - i)), i);
		i = n;
	}
#endif
	for (; i < n; i++) {
		block.ends |= (uint64_t)(!char_is(p[i], CHAR_VALUE) || p[i] == '\t') << i;
		block.specials |= (uint64_t)(p[i] == ':') << i;
	}
	block.specials |= block.ends;
	return block;
}

#ifdef WEIR_VECTOR_SCAN
/* One bit for each byte that is no letter, digit, '-' or '.': what nearly all hosts are made of. */
static inline unsigned host_stops(__m128i v)
{
	return name_stops(v) & ~(unsigned)_mm_movemask_epi8(bytes_equal(v, '.'));
}
#endif

/* How many bytes at the front are of CHAR_HOST: perhaps not all of them. */
static inline size_t scan_host(UNUSED const char *p, UNUSED size_t len)
{
	size_t n = 0;
#ifdef WEIR_VECTOR_SCAN
	for (; n + 16 <= len; n += 16) {
		unsigned stops = host_stops(load_bytes(p + n));
		if (stops)
			return n + (unsigned)__builtin_ctz(stops);
	}
	if (n + 8 <= len) {
		unsigned stops = host_stops(_mm_loadl_epi64((const void *)(p + n))) & 0xff;
		n += stops ? (unsigned)__builtin_ctz(stops) : 8;
	}
#endif
	return n;
}

/* scan_X(base, p, end): the first byte in [p, end) that is not of the class, or end. */
SCAN(name, CHAR_NAME)
SCAN(value, CHAR_VALUE)
SCAN(target, CHAR_TARGET)
#undef SCAN

/* The same for tokens; bytes beyond CHAR_NAME are rare, so the table does for them. */
static inline const char *scan_token(const char *base, const char *p, const char *end)
{
	p = scan_name(base, p, end);
	while (p < end && char_is(*p, CHAR_TOKEN))
		p++;
	return p;
}

#endif
