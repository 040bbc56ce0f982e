/* SPDX-License-Identifier: MIT */
/* One writer, one reader; positions grow without end, modulo 2^32. */
#include "weir/base/ring.h"

#include <stdlib.h>
#include <string.h>

#include "weir/base/check.h"

bool ring_init(struct ring *ring, uint32_t size)
{
	check(size && (size & (size - 1)) == 0);
	memset(ring, 0, sizeof(*ring));
	ring->bytes = malloc(size);
	ring->size = size;
	return ring->bytes != NULL;
}

void ring_fini(struct ring *ring)
{
	free(ring->bytes);
	ring->bytes = NULL;
}

bool ring_put(struct ring *ring, struct view entry)
{
	uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
	uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
	if (entry.len > ring->size - (head - tail))
		return false;
	uint32_t at = head & (ring->size - 1);
	size_t first = ring->size - at < entry.len ? ring->size - at : entry.len;
	memcpy(ring->bytes + at, entry.ptr, first);
	memcpy(ring->bytes, entry.ptr + first, entry.len - first);
	atomic_store_explicit(&ring->head, head + (uint32_t)entry.len, memory_order_release);
	return true;
}

uint32_t ring_len(struct ring *ring)
{
	uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
	return atomic_load_explicit(&ring->head, memory_order_acquire) - tail;
}

struct view ring_peek(struct ring *ring)
{
	uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
	uint32_t at = tail & (ring->size - 1), n = ring_len(ring);
	return view_of(ring->bytes + at, n < ring->size - at ? n : ring->size - at);
}

void ring_copy(struct ring *ring, void *to, size_t n)
{
	uint32_t at = atomic_load_explicit(&ring->tail, memory_order_relaxed) & (ring->size - 1);
	size_t first = ring->size - at < n ? ring->size - at : n;
	memcpy(to, ring->bytes + at, first);
	memcpy((char *)to + first, ring->bytes, n - first);
}

void ring_took(struct ring *ring, size_t n)
{
	uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
	atomic_store_explicit(&ring->tail, tail + (uint32_t)n, memory_order_release);
}
