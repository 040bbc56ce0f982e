/* SPDX-License-Identifier: MIT */
/*
 * Bitset of a fixed number of bits in u64 words.  The words are the caller's.
 */
#ifndef WEIR_BASE_BITSET_H
#define WEIR_BASE_BITSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BITSET_WORDS(n_bits) (((size_t)(n_bits) + 63) / 64)

static inline bool bitset_has(const uint64_t *set, uint32_t i)
{
	return set[i / 64] >> (i % 64) & 1;
}

static inline void bitset_put(uint64_t *set, uint32_t i)
{
	set[i / 64] |= (uint64_t)1 << (i % 64);
}

static inline void bitset_del(uint64_t *set, uint32_t i)
{
	set[i / 64] &= ~((uint64_t)1 << (i % 64));
}

static inline void bitset_assign(uint64_t *set, uint32_t i, bool on)
{
	if (on)
		bitset_put(set, i);
	else
		bitset_del(set, i);
}

/* How many are set, in a dozen instructions: what compilers call for it looks up a table. */
static inline uint32_t bits_count(uint64_t word)
{
	const uint64_t pairs = UINT64_C(0x5555555555555555), fours = UINT64_C(0x3333333333333333);
	const uint64_t bytes = UINT64_C(0x0f0f0f0f0f0f0f0f), ones = UINT64_C(0x0101010101010101);
	word -= word >> 1 & pairs;
	word = (word & fours) + (word >> 2 & fours);
	return (uint32_t)(((word + (word >> 4)) & bytes) * ones >> 56);
}

/* First set bit at or after `from`, or n_bits when there is none. */
static inline uint32_t bitset_next(const uint64_t *set, uint32_t n_bits, uint32_t from)
{
	while (from < n_bits) {
		uint64_t word = set[from / 64] >> (from % 64);
		if (word) {
			uint32_t i = from + (uint32_t)__builtin_ctzll(word);
			return i < n_bits ? i : n_bits;
		}
		from = (from / 64 + 1) * 64;
	}
	return n_bits;
}

static inline uint32_t bitset_count(const uint64_t *set, uint32_t n_bits)
{
	uint32_t n = 0;
	for (size_t w = 0; w < BITSET_WORDS(n_bits); w++)
		n += bits_count(set[w]);
	return n;
}

static inline bool bitset_is_empty(const uint64_t *set, uint32_t n_bits)
{
	for (size_t w = 0; w < BITSET_WORDS(n_bits); w++)
		if (set[w])
			return false;
	return true;
}

#endif
