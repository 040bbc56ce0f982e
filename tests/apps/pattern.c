/* SPDX-License-Identifier: MIT */
#include "pattern.h"

#include <openssl/sha.h>

static unsigned char pattern[PATTERN_PERIOD + SHA256_DIGEST_LENGTH];

static void make(void)
{
	uint64_t n = 0;
	for (size_t at = 0; at < PATTERN_PERIOD; at += SHA256_DIGEST_LENGTH, n++) {
		unsigned char counter[8];
		for (int i = 0; i < 8; i++)
			counter[i] = (unsigned char)(n >> (56 - 8 * i));
		SHA256(counter, sizeof(counter), pattern + at);
	}
}

struct view pattern_at(uint64_t offset, uint64_t len)
{
	/* when it is wanted first: it takes as long as all else of a start together */
	static bool made;
	if (!made)
		make();
	made = true;
	size_t at = (size_t)(offset % PATTERN_PERIOD);
	size_t room = PATTERN_PERIOD - at;
	return view_of((const char *)pattern + at, len < room ? (size_t)len : room);
}
