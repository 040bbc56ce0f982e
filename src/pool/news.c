/* SPDX-License-Identifier: MIT */
/*
 * A circle with many writers and one reader.  A cell's `turn` says whose it is: that of its
 * place is free for the writer of that turn, one more holds what he wrote (D. Vyukov's
 * bounded queue).
 */
#include "weir/pool/news.h"

#include <stdatomic.h>

#include "weir/base/defs.h"

struct cell {
	_Atomic uint64_t turn; /* less its index, so that zeroes are the beginning */
	struct news row;
};

static struct {
	_Atomic uint64_t head CACHE_ALIGNED; /* writers */
	uint64_t tail CACHE_ALIGNED;         /* the reader */
	_Atomic uint64_t lost;
	struct cell cells[NEWS_MAX];
} circle;

static struct cell *cell_of(uint64_t at)
{
	return &circle.cells[at % NEWS_MAX];
}

static uint64_t turn_of(uint64_t at)
{
	return at - at % NEWS_MAX;
}

void news_put(uint64_t key, uint32_t serial, uint64_t at_s)
{
	uint64_t at = atomic_load_explicit(&circle.head, memory_order_relaxed);
	for (;;) {
		struct cell *cell = cell_of(at);
		uint64_t turn = atomic_load_explicit(&cell->turn, memory_order_acquire);
		if (turn < turn_of(at)) {
			atomic_fetch_add_explicit(&circle.lost, 1, memory_order_relaxed);
			return;
		}
		if (turn > turn_of(at)) {
			at = atomic_load_explicit(&circle.head, memory_order_relaxed);
			continue;
		}
		if (!atomic_compare_exchange_weak_explicit(
			&circle.head, &at, at + 1, memory_order_relaxed, memory_order_relaxed))
			continue;
		cell->row = (struct news){key, serial, (uint32_t)at_s};
		atomic_store_explicit(&cell->turn, turn + 1, memory_order_release);
		return;
	}
}

size_t news_take(struct news *out, size_t max)
{
	size_t n = 0;
	for (; n < max; n++) {
		struct cell *cell = cell_of(circle.tail);
		uint64_t wanted = turn_of(circle.tail) + 1;
		if (atomic_load_explicit(&cell->turn, memory_order_acquire) != wanted)
			break;
		out[n] = cell->row;
		atomic_store_explicit(&cell->turn, wanted - 1 + NEWS_MAX, memory_order_release);
		circle.tail++;
	}
	return n;
}

uint64_t news_lost(void)
{
	return atomic_load_explicit(&circle.lost, memory_order_relaxed);
}
