/* SPDX-License-Identifier: MIT */
/* One writer, one reader, bytes in a circle; positions grow without end. */
#include <stdlib.h>
#include <string.h>

#include "weir/proxy/access_log.h"

bool log_ring_init(struct log_ring *ring)
{
	memset(ring, 0, sizeof(*ring));
	ring->bytes = malloc(LOG_RING_BYTES);
	return ring->bytes != NULL;
}

void log_ring_fini(struct log_ring *ring)
{
	free(ring->bytes);
	ring->bytes = NULL;
}

bool log_ring_put(struct log_ring *ring, struct view line)
{
	uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
	uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
	if (line.len > LOG_RING_BYTES - (head - tail))
		return false;
	uint32_t at = head % LOG_RING_BYTES;
	size_t first = LOG_RING_BYTES - at < line.len ? LOG_RING_BYTES - at : line.len;
	memcpy(ring->bytes + at, line.ptr, first);
	memcpy(ring->bytes, line.ptr + first, line.len - first);
	atomic_store_explicit(&ring->head, head + (uint32_t)line.len, memory_order_release);
	return true;
}

struct view log_ring_peek(struct log_ring *ring)
{
	uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
	uint32_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
	uint32_t at = tail % LOG_RING_BYTES, n = head - tail;
	return view_of(ring->bytes + at, n < LOG_RING_BYTES - at ? n : LOG_RING_BYTES - at);
}

void log_ring_took(struct log_ring *ring, size_t n)
{
	uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
	atomic_store_explicit(&ring->tail, tail + (uint32_t)n, memory_order_release);
}
