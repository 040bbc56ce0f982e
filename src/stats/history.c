/* SPDX-License-Identifier: MIT */
/* A row a second, for a quarter of an hour: the newest minute as it is, the others packed. */
#include "weir/stats/history.h"

#include <stdlib.h>
#include <string.h>

enum column { AT, REQUESTS, ERRORS, IN_FLIGHT, QUEUE, STATE, P50, P99, N_COLUMNS };

/*
 * A minute by columns: what each row is above the least of its column, in as many bytes as the
 * largest needs.  Times are taken as what they are off an even pace.
 */
struct history_block {
	uint64_t step_us;
	uint64_t least[N_COLUMNS];
	uint8_t width[N_COLUMNS]; /* bytes, 0 to 8 */
	unsigned char bytes[];
};
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the low bytes of a number are first");
_Static_assert(HISTORY_ROWS % HISTORY_BLOCK == 0, "whole blocks");

struct history *history_new(void)
{
	return calloc(1, sizeof(struct history));
}

void history_free(struct history *history)
{
	if (!history)
		return;
	for (size_t i = 0; i < HISTORY_BLOCKS; i++)
		free(history->blocks[i]);
	free(history);
}

/* ---- blocks ---- */

static uint64_t value_of(const struct history_row *row, enum column column)
{
	uint32_t bits;
	switch (column) {
	case AT:
		return row->at_us;
	case REQUESTS:
		return row->requests;
	case ERRORS:
		return row->errors;
	case IN_FLIGHT:
		memcpy(&bits, &row->in_flight, sizeof(bits));
		return bits;
	case QUEUE:
		return row->queue;
	case STATE:
		return row->state;
	case P50:
		return row->p50_us;
	default:
		return row->p99_us;
	}
}

static void row_of(const uint64_t value[N_COLUMNS], struct history_row *out)
{
	uint32_t bits = (uint32_t)value[IN_FLIGHT];
	*out = (struct history_row){
	    .at_us = value[AT],
	    .requests = (uint32_t)value[REQUESTS],
	    .errors = (uint32_t)value[ERRORS],
	    .queue = (uint16_t)value[QUEUE],
	    .state = (uint8_t)value[STATE],
	    .p50_us = (uint32_t)value[P50],
	    .p99_us = (uint32_t)value[P99],
	};
	memcpy(&out->in_flight, &bits, sizeof(bits));
}

static uint64_t pace(const struct history_block *head, enum column column, uint32_t i)
{
	return column == AT ? i * head->step_us : 0;
}

/* Fills least and width of a column; times may be on either side of their pace. */
static void measure(const struct history_row *rows, enum column column, struct history_block *head)
{
	int64_t least = INT64_MAX, most = INT64_MIN;
	for (uint32_t i = 0; i < HISTORY_BLOCK; i++) {
		int64_t value = (int64_t)(value_of(&rows[i], column) - pace(head, column, i));
		least = value < least ? value : least;
		most = value > most ? value : most;
	}
	uint64_t range = (uint64_t)most - (uint64_t)least;
	head->least[column] = (uint64_t)least;
	head->width[column] = range ? (uint8_t)((71 - __builtin_clzll(range)) / 8) : 0;
}

/* NULL without memory. */
static struct history_block *block_new(const struct history_row *rows)
{
	struct history_block head = {.step_us = (rows[HISTORY_BLOCK - 1].at_us - rows[0].at_us) /
						(HISTORY_BLOCK - 1)};
	size_t size = sizeof(head);
	for (int c = 0; c < N_COLUMNS; c++) {
		measure(rows, (enum column)c, &head);
		size += (size_t)head.width[c] * HISTORY_BLOCK;
	}
	struct history_block *block = malloc(size);
	if (!block)
		return NULL;
	memcpy(block, &head, sizeof(head));
	unsigned char *at = block->bytes;
	for (int c = 0; c < N_COLUMNS; c++)
		for (uint32_t i = 0; i < HISTORY_BLOCK; i++, at += head.width[c]) {
			uint64_t value = value_of(&rows[i], (enum column)c) -
					 pace(&head, (enum column)c, i) - head.least[c];
			memcpy(at, &value, head.width[c]);
		}
	return block;
}

static void block_read(const struct history_block *block, uint32_t i, struct history_row *out)
{
	uint64_t value[N_COLUMNS] = {0};
	const unsigned char *at = block->bytes;
	for (int c = 0; c < N_COLUMNS; c++) {
		memcpy(&value[c], at + (size_t)i * block->width[c], block->width[c]);
		value[c] += block->least[c] + pace(block, (enum column)c, i);
		at += (size_t)block->width[c] * HISTORY_BLOCK;
	}
	row_of(value, out);
}

/* ---- rows ---- */

void history_push(struct history *h, const struct history_row *row)
{
	uint32_t at = (uint32_t)(h->n % HISTORY_BLOCK);
	if (at == 0 && h->n) {
		struct history_block **block =
		    &h->blocks[(h->n / HISTORY_BLOCK - 1) % HISTORY_BLOCKS];
		free(*block);
		*block = block_new(h->newest);
	}
	h->newest[at] = *row;
	h->n++;
}

struct history_row *history_newest(struct history *h)
{
	return h->n ? &h->newest[(h->n - 1) % HISTORY_BLOCK] : NULL;
}

bool history_at(const struct history *h, uint32_t age, struct history_row *out)
{
	if (age >= h->n || age >= HISTORY_ROWS)
		return false;
	uint64_t i = h->n - 1 - age, block = i / HISTORY_BLOCK;
	if (block == (h->n - 1) / HISTORY_BLOCK) {
		*out = h->newest[i % HISTORY_BLOCK];
		return true;
	}
	if (!h->blocks[block % HISTORY_BLOCKS])
		return false;
	block_read(h->blocks[block % HISTORY_BLOCKS], (uint32_t)(i % HISTORY_BLOCK), out);
	return true;
}
