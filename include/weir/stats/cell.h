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
 * Any thread; no lock.  What is taken is all zeroes.  A number has room for a tag, which its
 * owner chooses: it names the same cell with any.
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
#define CELL_ID_BITS (CELL_SEGMENT_BITS + 16)
#define CELL_TAGS 3u

struct cell {
	unsigned char bytes[CELL_BYTES];
};

/* Once for each tag; written before any number of a segment is known. */
extern struct cell *cell_segments[CELL_TAGS * CELL_SEGMENTS];

/* 0 has an address, too: of counters of 8 bits that are all 0x7f, see hist_record. */
static inline void *cell_at(uint32_t id)
{
	return cell_segments[id >> CELL_SEGMENT_BITS] + (id & (CELL_SEGMENT - 1));
}

static inline uint32_t cell_tagged(uint32_t id, unsigned tag)
{
	return id | (uint32_t)tag << CELL_ID_BITS;
}
static inline unsigned cell_tag(uint32_t id)
{
	return id >> CELL_ID_BITS;
}

/* Of what cell_at gave, without a tag. */
uint32_t cell_id(const void *at);

/* n side by side, 1, 2 or 4; 0 without memory. */
uint32_t cell_take(unsigned n);
void cell_put(uint32_t id, unsigned n); /* 0 is fine, and any tag */

/* Taken from the system, by all threads. */
size_t cell_bytes(void);

#endif
