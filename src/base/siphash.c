/* SPDX-License-Identifier: MIT */
/* SipHash-2-4 (Aumasson and Bernstein): short inputs of strangers, with a secret key. */
#include "weir/base/siphash.h"

#include "weir/base/rng.h"

struct sip {
	uint64_t v0, v1, v2, v3;
};

/* Little endian, whatever the machine. */
static uint64_t load64(const uint8_t *p, size_t n)
{
	uint64_t x = 0;
	for (size_t i = 0; i < n; i++)
		x |= (uint64_t)p[i] << (8 * i);
	return x;
}

static void store64(uint8_t *p, uint64_t x)
{
	for (size_t i = 0; i < 8; i++)
		p[i] = (uint8_t)(x >> (8 * i));
}

static void rounds(struct sip *s, int n)
{
	while (n-- > 0) {
		s->v0 += s->v1;
		s->v2 += s->v3;
		s->v1 = rng_rotl(s->v1, 13) ^ s->v0;
		s->v3 = rng_rotl(s->v3, 16) ^ s->v2;
		s->v0 = rng_rotl(s->v0, 32);
		s->v2 += s->v1;
		s->v0 += s->v3;
		s->v1 = rng_rotl(s->v1, 17) ^ s->v2;
		s->v3 = rng_rotl(s->v3, 21) ^ s->v0;
		s->v2 = rng_rotl(s->v2, 32);
	}
}

static void absorb(struct sip *s, uint64_t word)
{
	s->v3 ^= word;
	rounds(s, 2);
	s->v0 ^= word;
}

void siphash(const uint8_t key[SIPHASH_KEY_LEN], const void *ptr, size_t len,
	     uint8_t out[SIPHASH_LEN])
{
	const uint8_t *p = ptr;
	uint64_t k0 = load64(key, 8), k1 = load64(key + 8, 8);
	struct sip s = {
	    .v0 = k0 ^ UINT64_C(0x736f6d6570736575),
	    .v1 = k1 ^ UINT64_C(0x646f72616e646f6d) ^ 0xee, /* 128 bits of output */
	    .v2 = k0 ^ UINT64_C(0x6c7967656e657261),
	    .v3 = k1 ^ UINT64_C(0x7465646279746573),
	};
	size_t left = len;
	for (; left >= 8; left -= 8, p += 8)
		absorb(&s, load64(p, 8));
	absorb(&s, load64(p, left) | (uint64_t)len << 56);
	s.v2 ^= 0xee;
	rounds(&s, 4);
	store64(out, s.v0 ^ s.v1 ^ s.v2 ^ s.v3);
	s.v1 ^= 0xdd;
	rounds(&s, 4);
	store64(out + 8, s.v0 ^ s.v1 ^ s.v2 ^ s.v3);
}

uint64_t siphash64(const uint8_t key[SIPHASH_KEY_LEN], const void *ptr, size_t len)
{
	uint8_t out[SIPHASH_LEN];
	siphash(key, ptr, len, out);
	return load64(out, 8);
}
