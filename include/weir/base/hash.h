/* SPDX-License-Identifier: MIT */
/*
 * Hashing through xxHash (XXH3, 64 bit).  hash_seed() is drawn once per
 * process for tables that hold names a client may choose; consistent hashing
 * must use a fixed seed instead, so that nodes agree.
 */
#ifndef WEIR_BASE_HASH_H
#define WEIR_BASE_HASH_H

#include <stdint.h>

#include "weir/base/view.h"

uint64_t hash_bytes(const void *ptr, size_t len, uint64_t seed);

static inline uint64_t hash_view(struct view v, uint64_t seed)
{
	return hash_bytes(v.ptr, v.len, seed);
}

/* ASCII letters folded to lower case; views past 256 bytes are hashed in pieces. */
uint64_t hash_view_ci(struct view v, uint64_t seed);

/*
 * The same bytes in whatever pieces give the same hash (XXH64).
 *
 *   struct hash_stream h;
 *   hash_stream_init(&h);
 *   hash_stream_add(&h, ptr, len);   // any number of times
 *   uint64_t hash = hash_stream_end(&h);
 */
struct hash_stream {
	uint64_t state[11];
};
void hash_stream_init(struct hash_stream *h);
void hash_stream_add(struct hash_stream *h, const void *ptr, size_t len);
uint64_t hash_stream_end(const struct hash_stream *h);

/* The CRC-32 of zlib and of ketama; `before` continues one, 0 begins. */
uint32_t hash_crc32(const void *ptr, size_t len, uint32_t before);

/* Spreads the bits of one number. */
uint64_t hash_mix(uint64_t x);

/* Random per process, the same for its life. */
uint64_t hash_seed(void);

#endif
