/* SPDX-License-Identifier: MIT */
/* The hash functions of tables and keys, behind names that say which one it is. */
#include "weir/base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "weir/base/rng.h"

uint64_t hash_bytes(const void *ptr, size_t len, uint64_t seed)
{
	return XXH3_64bits_withSeed(ptr, len, seed);
}

uint64_t hash_view_ci(struct view v, uint64_t seed)
{
	char lower[256];
	uint64_t h = seed;
	do {
		size_t n = v.len < sizeof(lower) ? v.len : sizeof(lower);
		for (size_t i = 0; i < n; i++)
			lower[i] = char_lower(v.ptr[i]);
		h = XXH3_64bits_withSeed(lower, n, h);
		v = view_skip(v, n);
	} while (v.len);
	return h;
}

_Static_assert(sizeof(struct hash_stream) >= sizeof(XXH64_state_t) &&
		   _Alignof(struct hash_stream) >= _Alignof(XXH64_state_t),
	       "it has room");

static XXH64_state_t *state_of(struct hash_stream *h)
{
	return (XXH64_state_t *)(void *)h->state;
}

void hash_stream_init(struct hash_stream *h)
{
	XXH64_reset(state_of(h), 0);
}

void hash_stream_add(struct hash_stream *h, const void *ptr, size_t len)
{
	if (len)
		XXH64_update(state_of(h), ptr, len);
}

uint64_t hash_stream_end(const struct hash_stream *h)
{
	return XXH64_digest((const XXH64_state_t *)(const void *)h->state);
}

uint32_t hash_crc32(const void *ptr, size_t len, uint32_t before)
{
	/* half a byte a step: the reflected polynomial 0xedb88320 times 0..15 */
	static const uint32_t nibbles[16] = {
	    0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
	    0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
	    0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
	};
	const unsigned char *p = ptr;
	uint32_t crc = ~before;
	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		crc = crc >> 4 ^ nibbles[crc & 15];
		crc = crc >> 4 ^ nibbles[crc & 15];
	}
	return ~crc;
}

uint64_t hash_mix(uint64_t x)
{
	/* finaliser of splitmix64 */
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

uint64_t hash_seed(void)
{
	static _Atomic uint64_t seed;
	uint64_t s = seed;
	if (s == 0) {
		/* two threads may draw at once: the first to store wins */
		uint64_t drawn = rng_entropy() | 1;
		if (__atomic_compare_exchange_n((uint64_t *)&seed, &s, drawn, 0, __ATOMIC_RELAXED,
						__ATOMIC_RELAXED))
			s = drawn;
	}
	return s;
}
