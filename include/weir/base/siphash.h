/* SPDX-License-Identifier: MIT */
/*
 * SipHash-2-4 with 128 bits of output (Aumasson, Bernstein 2012): a keyed
 * message authentication code that is fast on short texts and needs no memory.
 * For what clients bring back to us and may try to forge or to collide.
 *
 * Pure; any thread.
 */
#ifndef WEIR_BASE_SIPHASH_H
#define WEIR_BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

#define SIPHASH_KEY_LEN 16
#define SIPHASH_LEN 16

void siphash(const uint8_t key[SIPHASH_KEY_LEN], const void *ptr, size_t len,
	     uint8_t out[SIPHASH_LEN]);

/* The first 64 bits of it. */
uint64_t siphash64(const uint8_t key[SIPHASH_KEY_LEN], const void *ptr, size_t len);

#endif
