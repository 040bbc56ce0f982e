/* SPDX-License-Identifier: MIT */
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
