/* SPDX-License-Identifier: MIT */
/* Cells: bulk of the system, and stacks of those that were given back. */
#include "weir/stats/cell.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>

#define SIZES 3 /* 1, 2 and 4 cells side by side */
#define SEGMENT_BYTES ((size_t)CELL_SEGMENT * CELL_BYTES)

/* Counters that are full: who has no cell of his own meets them, and looks for one. */
#define FULL_8 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f
#define FULL_32 FULL_8, FULL_8, FULL_8, FULL_8
static struct cell nobodys CACHE_ALIGNED = {{FULL_32, FULL_32}};

struct cell *cell_segments[CELL_TAGS * CELL_SEGMENTS] = {&nobodys};

static _Atomic uint32_t n_segments = 1;
/* Heads of stacks by size: a number of its own for every change above, a cell below. */
static _Atomic uint64_t freed[SIZES];
/* Cells that no thread but this has: it takes them in their order. */
static _Thread_local struct {
	uint32_t next, end;
} fresh;

size_t cell_bytes(void)
{
	uint32_t n = atomic_load_explicit(&n_segments, memory_order_relaxed);
	return (size_t)((n < CELL_SEGMENTS ? n : CELL_SEGMENTS) - 1) * SEGMENT_BYTES;
}

/* A segment lies at a multiple of its size; its first cell says which one it is. */
uint32_t cell_id(const void *at)
{
	size_t offset = (uintptr_t)at % SEGMENT_BYTES;
	const uint32_t *number = (const void *)((const char *)at - offset);
	return *number << CELL_SEGMENT_BITS | (uint32_t)(offset / CELL_BYTES);
}

static _Atomic uint64_t *freed_of(unsigned n)
{
	return &freed[n / 2];
}

/* The first word of a free cell: the next one. */
static _Atomic uint32_t *next_of(uint32_t id)
{
	return cell_at(id);
}

static uint64_t head_of(uint64_t before, uint32_t id)
{
	return ((before >> 32) + 1) << 32 | id;
}

static uint32_t pop(_Atomic uint64_t *stack)
{
	uint64_t head = atomic_load_explicit(stack, memory_order_acquire);
	while ((uint32_t)head) {
		/* another may have it meanwhile: then this is nonsense, and the head another */
		uint32_t next = atomic_load_explicit(next_of((uint32_t)head), memory_order_relaxed);
		if (atomic_compare_exchange_weak_explicit(stack, &head, head_of(head, next),
							  memory_order_acquire,
							  memory_order_acquire))
			return (uint32_t)head;
	}
	return 0;
}

/* NULL without memory. */
static void *map_aligned(void)
{
	size_t room = 2 * SEGMENT_BYTES;
	char *at = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		return NULL;
	size_t before = (SEGMENT_BYTES - (uintptr_t)at % SEGMENT_BYTES) % SEGMENT_BYTES;
	if (before)
		munmap(at, before);
	munmap(at + before + SEGMENT_BYTES, SEGMENT_BYTES - before);
	return at + before;
}

static bool map_segment(void)
{
	uint32_t *at = map_aligned();
	if (!at)
		return false;
	uint32_t i = atomic_load_explicit(&n_segments, memory_order_relaxed);
	while (i < CELL_SEGMENTS && !atomic_compare_exchange_weak(&n_segments, &i, i + 1))
		;
	if (i >= CELL_SEGMENTS) {
		munmap(at, SEGMENT_BYTES);
		return false;
	}
	*at = i;
	for (unsigned tag = 0; tag < CELL_TAGS; tag++)
		cell_segments[tag * CELL_SEGMENTS + i] = (struct cell *)at;
	fresh.next = (i << CELL_SEGMENT_BITS) + 1;
	fresh.end = (i + 1) << CELL_SEGMENT_BITS;
	return true;
}

static uint32_t carve(unsigned n)
{
	if (fresh.end - fresh.next < n && !map_segment())
		return 0;
	uint32_t id = fresh.next;
	fresh.next += n;
	return id;
}

/* Of whoever looked at it in pop, and was late, one may still read the first word. */
static void zero(_Atomic uint64_t *word, size_t n)
{
	for (size_t i = 0; i < n; i++)
		atomic_store_explicit(&word[i], 0, memory_order_relaxed);
}

uint32_t cell_take(unsigned n)
{
	uint32_t id = pop(freed_of(n));
	if (!id)
		return carve(n);
	/* who still reads it as what it was, and meets the zeroes or what follows, also sees that
	 * it was given back (hist_add_line) */
	atomic_thread_fence(memory_order_release);
	zero(cell_at(id), n * CELL_BYTES / sizeof(uint64_t));
	return id;
}

void cell_put(uint32_t id, unsigned n)
{
	_Atomic uint64_t *stack = freed_of(n);
	uint64_t head = atomic_load_explicit(stack, memory_order_relaxed);
	id &= (UINT32_C(1) << CELL_ID_BITS) - 1;
	if (!id)
		return;
	do
		atomic_store_explicit(next_of(id), (uint32_t)head, memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(stack, &head, head_of(head, id),
						      memory_order_release, memory_order_relaxed));
}
