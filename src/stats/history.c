/* SPDX-License-Identifier: MIT */
/* A row a second, for a quarter of an hour. */
#include "weir/stats/history.h"

#include <stdlib.h>

struct history *history_new(void)
{
	return calloc(1, sizeof(struct history));
}

void history_push(struct history *history, const struct history_row *row)
{
	history->rows[history->n++ % HISTORY_ROWS] = *row;
}

struct history_row *history_newest(struct history *history)
{
	return history->n ? &history->rows[(history->n - 1) % HISTORY_ROWS] : NULL;
}

const struct history_row *history_at(const struct history *history, uint32_t age)
{
	if (age >= history->n || age >= HISTORY_ROWS)
		return NULL;
	return &history->rows[(history->n - 1 - age) % HISTORY_ROWS];
}
