/* SPDX-License-Identifier: MIT */
/*
 * Memory of histograms: cells of a cache line, named by numbers of four bytes.  A thread takes
 * 64 KiB from the system at a time and cells one by one; whoever has a histogram no longer gives
 * its cells back for any thread to use again.  The system gets none back: there are as many as
 * there were at most.
 *
 *   uint32_t id = cell_take(1);       // 0: no memory, or CELL_SEGMENTS are taken
 *   memset(cell_at(id), ...);
 *   cell_put(id, 1);
 *
 * Any thread; no lock.  What is taken is all zeroes.
 */
#ifndef WEIR_STATS_CELL_H
#define WEIR_STATS_CELL_H

#include <stddef.h>
#include <stdint.h>

#include "weir/base/defs.h"

#define CELL_BYTES WEIR_CACHE_LINE
#define CELL_SEGMENT_BITS 10
#define CELL_SEGMENT (1u << CELL_SEGMENT_BITS) /* cells of it */
#define CELL_SEGMENTS 65536u                   /* 4 GiB */

struct cell {
	unsigned char bytes[CELL_BYTES];
};

/* Written before any number of a segment is known. */
extern struct cell *cell_segments[CELL_SEGMENTS];

/* 0 has an address, too: of counters of 16 bits that are all 0x7fff, see hist_record. */
static inline void *cell_at(uint32_t id)
{
	return cell_segments[id >> CELL_SEGMENT_BITS] + (id & (CELL_SEGMENT - 1));
}

/* n side by side, 1 or 2; 0 without memory. */
uint32_t cell_take(unsigned n);
void cell_put(uint32_t id, unsigned n); /* 0 is fine */

/* Taken from the system, by all threads. */
size_t cell_bytes(void);

#endif
