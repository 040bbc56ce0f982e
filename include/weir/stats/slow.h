/* SPDX-License-Identifier: MIT */
/*
 * The slowest exchanges of one backend in the last five minutes: a fixed set of
 * slots.  A slower exchange takes the place of one that is too old, else of the
 * least slow one.
 *
 * All workers write.  Whoever makes the sequence number of a slot odd has it until he
 * makes it even again; the others take another slot meanwhile, and readers leave out
 * one that changes under their hands.  Nobody waits.
 *
 *   if (slow_wants(ring, total_us, now_us)) slow_put(ring, &record);  // any worker
 *   n = slow_read(ring, now_us, out, SLOW_SLOTS);                     // any thread
 */
#ifndef WEIR_STATS_SLOW_H
#define WEIR_STATS_SLOW_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/base/defs.h"
#include "weir/stats/phase.h"

#define SLOW_SLOTS 16
#define SLOW_KEEP_US (UINT64_C(300) * 1000000)

struct slow_record {
	uint64_t ended_us, at_us; /* the same moment: monotonic, and of the wall */
	uint64_t phase_us[N_PHASES];
	const char *outcome;   /* static text */
	uint32_t in_flight;    /* others at the backend when it got there */
	uint32_t queue_length; /* of the pool when it had to wait, else 0 */
	uint16_t status;
	uint16_t retries;
	uint8_t request_id_len, method_len, path_len;
	bool has_trace;
	uint8_t trace_id[16];
	char request_id[64], method[16], path[88]; /* cut to that length */
};

#define SLOW_WORDS (sizeof(struct slow_record) / sizeof(uint64_t))

struct slow_ring {
	_Atomic uint64_t floor_us; /* what is faster has no place ... */
	_Atomic uint64_t until_us; /* ... before this moment */
	_Atomic uint32_t n_puts;
	struct slow_slot {
		_Atomic uint32_t seq; /* 0: never used; odd: somebody writes */
		_Atomic uint64_t words[SLOW_WORDS];
	} slot[SLOW_SLOTS];
} CACHE_ALIGNED;

/* Zeroed, or NULL without memory.  Freed by free(). */
struct slow_ring *slow_ring_new(void);

/* Any thread, both. */
static inline bool slow_wants(const struct slow_ring *ring, uint64_t total_us, uint64_t now_us)
{
	return unlikely(total_us > atomic_load_explicit(&ring->floor_us, memory_order_relaxed) ||
			now_us > atomic_load_explicit(&ring->until_us, memory_order_relaxed));
}
void slow_put(struct slow_ring *ring, const struct slow_record *record);

/* Any thread: copies what is not too old, in no order; how many. */
size_t slow_read(const struct slow_ring *ring, uint64_t now_us, struct slow_record *out,
		 size_t max);

#endif
