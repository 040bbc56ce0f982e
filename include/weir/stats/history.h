/* SPDX-License-Identifier: MIT */
/*
 * The flight recorder: one row a second of one backend for the last 16 minutes.
 * A minute of them is packed when the next one begins, and nothing is lost by it but what
 * in_flight has below a thousandth: about 9 to 12 KiB of a busy backend, 5 KiB of an idle one,
 * never above 37 KiB.  Control thread only.
 *
 *   history_push(h, &row);                     // once a second
 *   if (history_at(h, age, &row)) ...          // 0: the newest
 */
#ifndef WEIR_STATS_HISTORY_H
#define WEIR_STATS_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#define HISTORY_ROWS 960
#define HISTORY_BLOCK 60 /* rows that are packed together */
#define HISTORY_BLOCKS (HISTORY_ROWS / HISTORY_BLOCK)

struct history_block;

struct history_row {
	uint64_t at_us; /* monotonic; the end of its second */
	uint32_t requests, errors;
	float in_flight;         /* mean over the second */
	uint16_t queue;          /* waiting in the pool at its end, at most 65535 */
	uint8_t state, pad;      /* enum backend_state at its end */
	uint32_t p50_us, p99_us; /* of successes that ended in it; 0 without any */
};

struct history {
	uint64_t n;                                   /* pushed so far */
	struct history_row newest[HISTORY_BLOCK];     /* a ring, packed each time that it is full */
	struct history_block *blocks[HISTORY_BLOCKS]; /* owns; NULL: none yet, or no memory */
};

/* NULL without memory. */
struct history *history_new(void);
void history_free(struct history *history); /* NULL is fine */
void history_push(struct history *history, const struct history_row *row);
/* To complete it; NULL when there is none yet. */
struct history_row *history_newest(struct history *history);
/* Sums over the newest rows, 60 at most; 0 without history (NULL). */
void history_minute(const struct history *history, uint64_t *requests, uint64_t *errors);
/* False when there is none that old. */
bool history_at(const struct history *history, uint32_t age, struct history_row *out);

#endif
