/* SPDX-License-Identifier: MIT */
/*
 * The flight recorder: one row a second of one backend for the last 16 minutes,
 * in fixed memory (30 KiB).  Control thread only.
 *
 *   history_push(h, &row);                     // once a second
 *   const struct history_row *row = history_at(h, age);   // 0: the newest
 */
#ifndef WEIR_STATS_HISTORY_H
#define WEIR_STATS_HISTORY_H

#include <stdint.h>

#define HISTORY_ROWS 960

struct history_row {
	uint64_t at_us; /* monotonic; the end of its second */
	uint32_t requests, errors;
	float in_flight;         /* mean over the second */
	uint16_t queue;          /* waiting in the pool at its end, at most 65535 */
	uint8_t state, pad;      /* enum backend_state at its end */
	uint32_t p50_us, p99_us; /* of successes that ended in it; 0 without any */
};

struct history {
	uint64_t n; /* pushed so far */
	struct history_row rows[HISTORY_ROWS];
};

/* NULL without memory.  Freed by free(). */
struct history *history_new(void);
void history_push(struct history *history, const struct history_row *row);
/* To complete it; NULL when there is none yet. */
struct history_row *history_newest(struct history *history);
/* NULL when there is none that old. */
const struct history_row *history_at(const struct history *history, uint32_t age);

#endif
