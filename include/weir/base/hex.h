/* SPDX-License-Identifier: MIT */
/* Hexadecimal digits without a loop: eight at a time, each in a byte of one word. */
#ifndef WEIR_BASE_HEX_H
#define WEIR_BASE_HEX_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

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
	hex_u32((uint32_t)(v >> 32), out);
	hex_u32((uint32_t)v, out + 8);
}

#endif
