/* SPDX-License-Identifier: MIT */
/* Hexadecimal digits: written without a loop, eight at a time, each in a byte of one word. */
#ifndef WEIR_BASE_HEX_H
#define WEIR_BASE_HEX_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Eight lower-case digits, the most significant first. */
static inline void hex_u32(uint32_t v, char out[8])
{
	uint64_t x = v;
	x = (x | x << 16) & 0x0000ffff0000ffff;
	x = (x | x << 8) & 0x00ff00ff00ff00ff;
	x = (x | x << 4) & 0x0f0f0f0f0f0f0f0f;
	/* 1 in each byte that is 10 or more: its digit is a letter */
	uint64_t letters = (x + 0x0606060606060606) >> 4 & 0x0101010101010101;
	x += 0x3030303030303030 + letters * ('a' - '0' - 10);
	x = htobe64(x);
	memcpy(out, &x, sizeof(x));
}

static inline void hex_u64(uint64_t v, char out[16])
{
#ifdef __SSE2__
	const __m128i low = _mm_set1_epi8(0x0f), nine = _mm_set1_epi8(9);
	__m128i bytes = _mm_cvtsi64_si128((long long)htobe64(v));
	__m128i x = _mm_unpacklo_epi8(_mm_and_si128(_mm_srli_epi64(bytes, 4), low),
				      _mm_and_si128(bytes, low));
	__m128i letters = _mm_and_si128(_mm_cmpgt_epi8(x, nine), _mm_set1_epi8('a' - '0' - 10));
	x = _mm_add_epi8(_mm_add_epi8(x, _mm_set1_epi8('0')), letters);
	_mm_storeu_si128((__m128i *)(void *)out, x);
#else
	hex_u32((uint32_t)(v >> 32), out);
	hex_u32((uint32_t)v, out + 8);
#endif
}

/* 2 n lower-case digits; no NUL. */
static inline void hex_write(const uint8_t *bytes, size_t n, char *out)
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digits[bytes[i] >> 4];
		out[2 * i + 1] = digits[bytes[i] & 15];
	}
}

/* What a digit of either case stands for, or -1. */
static inline int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that two digits stand for, or -1. */
static inline int hex_byte(const char *digits)
{
	int high = hex_value(digits[0]), low = hex_value(digits[1]);
	return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* `n` bytes out of 2 n digits; false, with `to` in no good state, when there is something else. */
static inline bool hex_read(const char *digits, void *to, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int byte = hex_byte(digits + 2 * i);
		if (byte < 0)
			return false;
		((unsigned char *)to)[i] = (unsigned char)byte;
	}
	return true;
}

#endif
