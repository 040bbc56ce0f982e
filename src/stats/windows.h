/* SPDX-License-Identifier: MIT */
/* How windows are kept; private to stats/. */
#ifndef WEIR_STATS_WINDOWS_H
#define WEIR_STATS_WINDOWS_H

#include "weir/stats/window.h"

/* One u32 an entry: bucket above, count below; large counts take several entries. */
#define ENTRY_COUNT_BITS 22
#define ENTRY_COUNT_MAX ((UINT32_C(1) << ENTRY_COUNT_BITS) - 1)
_Static_assert(HIST_BUCKETS <= 1u << (32 - ENTRY_COUNT_BITS), "a bucket fits an entry");

/*
 * The samples of some time, of all phases in one block: a reader of a thousand
 * backends pays for each block that it finds out of its cache.
 */
struct slot {
	uint64_t sum_us[N_PHASES];
	uint32_t overflow[N_PHASES];
	uint32_t end[N_PHASES]; /* entries of a phase: from the end of the one before to here */
	uint32_t entries[];
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
	struct hist_total start;       /* span_us unused */
	uint64_t group_n[HIST_GROUPS]; /* the same, 32 buckets a number */
};

struct windows {
	struct series *phases[N_PHASES]; /* owns; NULL until the first sample */
	struct ring rings[N_LEVELS];
	struct slot *slots[N_LEVELS][MAX_SLOTS]; /* owns; NULL without samples */
	uint16_t lines[N_LEVELS][MAX_SLOTS];     /* cache lines that a slot is long */
	uint32_t groups[N_PHASES];               /* that were ever used */
	uint64_t start_us;
	uint64_t last_us;
	uint64_t n_lost;
};

#endif
