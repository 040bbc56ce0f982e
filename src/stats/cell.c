/* SPDX-License-Identifier: MIT */
/* Cells: bulk of the system, and stacks of those that were given back. */
#include "weir/stats/cell.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>

#define SIZES 2 /* cells side by side, at most */

/* Counters that are full: who has no cell of his own meets them, and looks for one. */
#define FULL_4 0xff, 0x7f, 0xff, 0x7f, 0xff, 0x7f, 0xff, 0x7f
#define FULL_16 FULL_4, FULL_4, FULL_4, FULL_4
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "0x7fff has its low byte first");
static struct cell nobodys CACHE_ALIGNED = {{FULL_16, FULL_16}};

struct cell *cell_segments[CELL_SEGMENTS] = {&nobodys};

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
	return (size_t)((n < CELL_SEGMENTS ? n : CELL_SEGMENTS) - 1) * CELL_SEGMENT * CELL_BYTES;
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

static bool map_segment(void)
{
	size_t bytes = (size_t)CELL_SEGMENT * CELL_BYTES;
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		return false;
	uint32_t i = atomic_load_explicit(&n_segments, memory_order_relaxed);
	while (i < CELL_SEGMENTS && !atomic_compare_exchange_weak(&n_segments, &i, i + 1))
		;
	if (i >= CELL_SEGMENTS) {
		munmap(at, bytes);
		return false;
	}
	cell_segments[i] = at;
	fresh.next = i << CELL_SEGMENT_BITS;
	fresh.end = fresh.next + CELL_SEGMENT;
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
	uint32_t id = pop(&freed[n - 1]);
	if (!id)
		return carve(n);
	zero(cell_at(id), n * CELL_BYTES / sizeof(uint64_t));
	return id;
}

void cell_put(uint32_t id, unsigned n)
{
	_Atomic uint64_t *stack = &freed[n - 1];
	uint64_t head = atomic_load_explicit(stack, memory_order_relaxed);
	if (!id)
		return;
	do
		atomic_store_explicit(next_of(id), (uint32_t)head, memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(stack, &head, head_of(head, id),
						      memory_order_release, memory_order_relaxed));
}
