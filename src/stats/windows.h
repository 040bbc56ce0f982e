/* SPDX-License-Identifier: MIT */
/* How windows are kept; private to stats/. */
#ifndef WEIR_STATS_WINDOWS_H
#define WEIR_STATS_WINDOWS_H

#include <string.h>

#include "weir/base/bitset.h"
#include "weir/stats/sparse.h"
#include "weir/stats/window.h"

/*
 * Samples by bucket are kept 32 buckets at a time, where there are any:
 *
 *   a byte    which 32 buckets, and above it how wide their counts are: enum count_width
 *   4 bytes   a bit for each bucket with samples
 *   counts    of these, less one, in as many bits each as the largest needs, or a few more
 *
 * A second of a backend has ones and twos in most buckets, a minute some tens.
 */
#define COUNT_WIDTHS 8
#define GROUP_BITS 5
_Static_assert(HIST_GROUPS <= 1u << GROUP_BITS && HIST_SUB == 32, "a group fits its head");
_Static_assert(COUNT_WIDTHS << GROUP_BITS == 256, "and its width, too");
#define GROUP_HEAD (1 + sizeof(uint32_t))
/* A word is read of each count: it may end so many bytes behind the last, of no bits even so. */
#define COUNT_PAST 4
#define GROUP_BYTES_MAX (GROUP_HEAD + HIST_SUB * sizeof(uint32_t) + COUNT_PAST)

/* Up to 7 bits before one of 16 or less fit a word; those of 32 begin with it. */
static const uint8_t count_bits[COUNT_WIDTHS] = {0, 2, 4, 6, 8, 11, 16, 32};

static inline uint32_t bytes_of_counts(uint32_t n, uint32_t bits)
{
	return (n * bits + 7) / 8;
}

/* window_group.c: bytes of a group, 0 without samples; and the group, of which the end comes back:
 * COUNT_PAST bytes behind it are written, too. */
uint32_t window_group_bytes(const uint32_t count[HIST_SUB]);
unsigned char *window_group_put(unsigned char *at, uint32_t group, const uint32_t count[HIST_SUB]);

/* Groups that are still to be read. */
struct slot_span {
	const unsigned char *at, *end;
};

struct slot_group {
	uint32_t group, used; /* used: a bit for each bucket that is still to be read */
	uint32_t bits;        /* of a count; 0: each is one */
	uint32_t at;          /* bits that were read */
	const unsigned char *counts;
};

/* False at the end; all its buckets need not be read. */
static inline bool slot_group_next(struct slot_span *span, struct slot_group *g)
{
	if (span->at >= span->end)
		return false;
	g->group = *span->at & ((1u << GROUP_BITS) - 1);
	g->bits = count_bits[*span->at >> GROUP_BITS];
	memcpy(&g->used, span->at + 1, sizeof(g->used));
	g->at = 0;
	g->counts = span->at + GROUP_HEAD;
	span->at = g->counts;
	if (g->bits)
		span->at += bytes_of_counts(bits_count(g->used), g->bits);
	return true;
}

static inline uint32_t slot_group_count(struct slot_group *g)
{
	uint32_t n;
	memcpy(&n, g->counts + g->at / 8, sizeof(n));
	n = n >> g->at % 8 & (uint32_t)((UINT64_C(1) << g->bits) - 1);
	g->at += g->bits;
	return n + 1;
}

struct entry {
	uint32_t bucket, n;
};

/* The next bucket of a group with some left. */
static inline struct entry slot_entry_next(struct slot_group *g)
{
	uint32_t sub = (uint32_t)__builtin_ctz(g->used);
	g->used &= g->used - 1;
	return (struct entry){(g->group << HIST_SUB_BITS) + sub, slot_group_count(g)};
}

/*
 * The samples of some time, of all phases in one block: a reader of a thousand
 * backends pays for each block that it finds out of its cache.
 */
struct slot {
	uint64_t sum_us[N_PHASES];
	uint16_t end[N_PHASES + 1]; /* the groups of phase p: bytes from end[p] to end[p + 1] */
	unsigned char bytes[];      /* before those of the first: overflow[N_PHASES], if any */
};
#define SLOT_OVERFLOW (N_PHASES * sizeof(uint32_t))
_Static_assert(SLOT_OVERFLOW + N_PHASES * HIST_GROUPS * GROUP_BYTES_MAX < UINT16_MAX, "16 bits do");

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
	struct sparse start[N_PHASES];   /* the same by bucket */
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

/* The groups of a phase: in their order. */
static inline struct slot_span window_slot_span(const struct slot *slot, enum phase phase)
{
	if (!slot)
		return (struct slot_span){NULL, NULL};
	return (struct slot_span){slot->bytes + slot->end[phase],
				  slot->bytes + slot->end[phase + 1]};
}

/* Of the samples of a phase, those that are too long for a bucket. */
static inline uint32_t window_slot_overflow(const struct slot *slot, enum phase phase)
{
	uint32_t n = 0;
	if (slot->end[0])
		memcpy(&n, slot->bytes + phase * sizeof(n), sizeof(n));
	return n;
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
