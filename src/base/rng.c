/* SPDX-License-Identifier: MIT */
/* A small fast generator (xoshiro256**), seeded by the system: for choices, never for secrets. */
#include "weir/base/rng.h"

#include <sys/random.h>
#include <time.h>

#include "weir/base/hash.h"

void rng_init(struct rng *rng, uint64_t seed)
{
	for (int i = 0; i < 4; i++) {
		seed += UINT64_C(0x9e3779b97f4a7c15);
		rng->s[i] = hash_mix(seed);
	}
}

uint64_t rng_entropy(void)
{
	uint64_t bits;
	if (getrandom(&bits, sizeof(bits), 0) == (ssize_t)sizeof(bits))
		return bits;
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	return hash_mix((uint64_t)ts.tv_nsec ^ (uint64_t)ts.tv_sec << 30);
}
