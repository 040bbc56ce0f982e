/* SPDX-License-Identifier: MIT */
/*
 * A circle of bytes between two threads: one puts whole entries, the other takes
 * what is there.  Neither waits; an entry that has no room is refused.
 *
 *   if (!ring_put(&ring, line)) dropped++;                 // one thread
 *   while ((run = ring_peek(&ring)).len) {                 // the other
 *           write(fd, run.ptr, run.len);
 *           ring_took(&ring, run.len);
 *   }
 */
#ifndef WEIR_BASE_RING_H
#define WEIR_BASE_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "weir/base/defs.h"
#include "weir/base/view.h"

struct ring {
	char *bytes; /* owns */
	uint32_t size;
	/* the one that puts writes, the other reads: released after the bytes */
	_Atomic uint32_t head CACHE_ALIGNED;
	/* the one that takes writes, the other reads */
	_Atomic uint32_t tail CACHE_ALIGNED;
};

/* `size` is a power of two; false without memory. */
bool ring_init(struct ring *ring, uint32_t size);
void ring_fini(struct ring *ring);
/* All of it or nothing. */
bool ring_put(struct ring *ring, struct view entry);
/* Entries in the order in which they were put; two runs until empty where the
 * circle closes, and then an entry may lie in both. */
struct view ring_peek(struct ring *ring);
void ring_took(struct ring *ring, size_t n);
/* The one that takes: how many bytes are there. */
uint32_t ring_len(struct ring *ring);
/* The one that takes: copies `n` bytes, which are there, from the beginning. */
void ring_copy(struct ring *ring, void *to, size_t n);

#endif
