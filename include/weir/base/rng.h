/* SPDX-License-Identifier: MIT */
/*
 * xoshiro256** (Blackman, Vigna), one state per thread.  Not for secrets: use
 * RAND_bytes of OpenSSL for those.
 */
#ifndef WEIR_BASE_RNG_H
#define WEIR_BASE_RNG_H

#include <stdint.h>

struct rng {
	uint64_t s[4];
};

/* The same seed gives the same sequence (splitmix64 expands it). */
void rng_init(struct rng *rng, uint64_t seed);

/* 64 random bits of the kernel. */
uint64_t rng_entropy(void);

static inline uint64_t rng_rotl(uint64_t x, int k)
{
	return (x << k) | (x >> (64 - k));
}

static inline uint64_t rng_next(struct rng *rng)
{
	uint64_t *s = rng->s;
	uint64_t result = rng_rotl(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rng_rotl(s[3], 45);
	return result;
}

/* Uniform in [0, n) from 32 random bits; the bias is below n / 2^32. */
static inline uint32_t rng_scale(uint32_t random32, uint32_t n)
{
	return (uint32_t)(((uint64_t)random32 * n) >> 32);
}

static inline uint32_t rng_below(struct rng *rng, uint32_t n)
{
	return rng_scale((uint32_t)(rng_next(rng) >> 32), n);
}

#endif
