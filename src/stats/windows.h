/* SPDX-License-Identifier: MIT */
/* How windows are kept; private to stats/. */
#ifndef WEIR_STATS_WINDOWS_H
#define WEIR_STATS_WINDOWS_H

#include <string.h>

#include "weir/stats/sparse.h"
#include "weir/stats/window.h"

/*
 * An entry is a word, bucket above and count below; where the count does not fit it is 0, and the
 * word behind it is the count.  What does not fit there takes several.
 */
#define ENTRY_SHORT_BITS 6
#define ENTRY_SHORT_MAX ((1u << ENTRY_SHORT_BITS) - 1)
#define ENTRY_COUNT_MAX UINT16_MAX
_Static_assert(HIST_BUCKETS <= 1u << (16 - ENTRY_SHORT_BITS), "a bucket fits an entry");

static inline uint32_t entry_words(uint32_t n)
{
	return likely(n <= ENTRY_SHORT_MAX) ? n != 0 : 2 * ((n - 1) / ENTRY_COUNT_MAX + 1);
}

/* Where the next one belongs. */
static inline uint16_t *entry_put(uint16_t *at, uint32_t bucket, uint32_t n)
{
	for (; n > ENTRY_SHORT_MAX; at += 2) {
		uint32_t some = n < ENTRY_COUNT_MAX ? n : ENTRY_COUNT_MAX;
		at[0] = (uint16_t)(bucket << ENTRY_SHORT_BITS);
		at[1] = (uint16_t)some;
		n -= some;
	}
	if (n)
		*at++ = (uint16_t)(bucket << ENTRY_SHORT_BITS | n);
	return at;
}

struct entry {
	uint32_t bucket, n;
};

/* Takes the one at *at, which is the next one then. */
static inline struct entry entry_next(const uint16_t **at)
{
	const uint16_t *e = *at;
	uint32_t bucket = *e >> ENTRY_SHORT_BITS, n = *e & ENTRY_SHORT_MAX;
	*at = e + 1;
	if (unlikely(!n)) {
		n = e[1];
		*at = e + 2;
	}
	return (struct entry){bucket, n};
}

/*
 * The samples of some time, of all phases in one block: a reader of a thousand
 * backends pays for each block that it finds out of its cache.
 */
struct slot {
	uint64_t sum_us[N_PHASES];
	uint32_t overflow[N_PHASES];
	uint32_t end[N_PHASES]; /* words of a phase: from the end of the one before to here */
	uint16_t words[];
};

/* How slots are kept: level 0 a second each, level 1 ten seconds, level 2 a minute. */
#define N_LEVELS 3
#define MAX_SLOTS 10
static const struct {
	uint32_t n_slots; /* kept for windows */
	uint32_t n_below; /* slots of the level below that make one of these */
} window_levels[N_LEVELS] = {
    {.n_slots = 10, .n_below = 1},
    {.n_slots = 6, .n_below = 10},
    {.n_slots = 5, .n_below = 6},
};

struct ring {
	uint64_t span_us[MAX_SLOTS]; /* of each slot, the same for all phases */
	uint64_t n_closed;           /* slots ever closed; the newest is (n_closed - 1) % n_slots */
	uint32_t n_open;             /* of them, those that no slot of the level above holds */
};

/* A phase since start. */
struct series {
	uint64_t n, sum_us, max_us, overflow;
	uint64_t group_n[HIST_GROUPS]; /* n by 32 buckets */
	uint32_t zeros;                /* of the workers, as they were read last */
};

struct windows {
	struct series *phases[N_PHASES]; /* owns; NULL until the first sample */
	struct sparse start[N_PHASES];   /* the same by bucket; 64 bits */
	struct ring rings[N_LEVELS];
	struct slot *slots[N_LEVELS][MAX_SLOTS]; /* owns; NULL without samples */
	uint16_t lines[N_LEVELS][MAX_SLOTS];     /* cache lines that a slot is long */
	uint64_t start_us;
	uint64_t last_us;
	uint64_t n_lost;
};

/* ---- for those who fold and those who read ---- */

/*
 * Small areas of known sizes, by parts that compilers store to: what they make of the
 * whole ("rep stos") takes far longer to begin than to end.
 */
static inline void window_clear(void *ptr, size_t size)
{
	enum { PART = 16 };
	for (size_t i = 0; i < size; i += PART)
		memset((char *)ptr + i, 0, PART);
}
_Static_assert(HIST_GROUPS % 2 == 0, "sizes are multiples of a part");

/* The entries of a phase: in the order of their buckets. */
struct slot_span {
	const uint16_t *from, *to;
};

static inline struct slot_span window_slot_span(const struct slot *slot, enum phase phase)
{
	if (!slot)
		return (struct slot_span){NULL, NULL};
	return (struct slot_span){slot->words + (phase ? slot->end[phase - 1] : 0),
				  slot->words + slot->end[phase]};
}

/* Index of the slot that was closed `age` slots ago; 0 is the newest. */
static inline uint32_t window_ring_index(const struct windows *w, unsigned level, uint32_t age)
{
	return (uint32_t)((w->rings[level].n_closed - 1 - age) % window_levels[level].n_slots);
}

static inline uint64_t window_ring_span_us(const struct windows *w, unsigned level, uint32_t n)
{
	uint64_t us = 0;
	for (uint32_t age = 0; age < n; age++)
		us += w->rings[level].span_us[window_ring_index(w, level, age)];
	return us;
}

/* The slot that was closed `age` slots ago; NULL when nothing happened then. */
static inline const struct slot *window_slot_at(const struct windows *w, unsigned level,
						uint32_t age)
{
	return w->slots[level][window_ring_index(w, level, age)];
}

#endif
