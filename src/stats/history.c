/* SPDX-License-Identifier: MIT */
/* A row a second, for a quarter of an hour: the newest minute as it is, the others packed. */
#include "weir/stats/history.h"

#include <stdlib.h>
#include <string.h>

enum column { AT, REQUESTS, ERRORS, IN_FLIGHT, QUEUE, STATE, P50, P99, N_COLUMNS };

/*
 * A minute by columns: what each row is above the least of its column, in as many bits as the
 * largest needs.  Times are taken as what they are off an even pace.
 */
struct history_block {
	uint64_t step_us;
	uint64_t least[N_COLUMNS];
	uint8_t width[N_COLUMNS]; /* bits, 0 to 64 */
	unsigned char bytes[];
};
/* What is read of a number may end so many bytes behind it. */
#define READ_PAST 8
/* In flight is kept in parts: what it is off is below what anybody shows. */
#define IN_FLIGHT_PARTS 1024
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
	switch (column) {
	case AT:
		return row->at_us;
	case REQUESTS:
		return row->requests;
	case ERRORS:
		return row->errors;
	case IN_FLIGHT:
		return (uint64_t)((double)row->in_flight * IN_FLIGHT_PARTS + 0.5);
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
	*out = (struct history_row){
	    .at_us = value[AT],
	    .requests = (uint32_t)value[REQUESTS],
	    .errors = (uint32_t)value[ERRORS],
	    .in_flight = (float)((double)value[IN_FLIGHT] / IN_FLIGHT_PARTS),
	    .queue = (uint16_t)value[QUEUE],
	    .state = (uint8_t)value[STATE],
	    .p50_us = (uint32_t)value[P50],
	    .p99_us = (uint32_t)value[P99],
	};
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
	head->width[column] = range ? (uint8_t)(64 - __builtin_clzll(range)) : 0;
}

/* A number of `width` bits that begins at a bit of its own. */
static uint64_t get_bits(const unsigned char *bytes, size_t at, unsigned width)
{
	uint64_t low, mask = width < 64 ? (UINT64_C(1) << width) - 1 : UINT64_MAX;
	unsigned shift = at % 8;
	memcpy(&low, bytes + at / 8, sizeof(low));
	low >>= shift;
	if (shift)
		low |= (uint64_t)bytes[at / 8 + 8] << (64 - shift);
	return low & mask;
}

/* Into zeroes. */
static void put_bits(unsigned char *bytes, size_t at, uint64_t value)
{
	uint64_t low;
	unsigned shift = at % 8;
	memcpy(&low, bytes + at / 8, sizeof(low));
	low |= value << shift;
	memcpy(bytes + at / 8, &low, sizeof(low));
	if (shift)
		bytes[at / 8 + 8] |= (unsigned char)(value >> (64 - shift));
}

/* NULL without memory. */
static struct history_block *block_new(const struct history_row *rows)
{
	struct history_block head = {.step_us = (rows[HISTORY_BLOCK - 1].at_us - rows[0].at_us) /
						(HISTORY_BLOCK - 1)};
	size_t bits = 0, at = 0;
	for (int c = 0; c < N_COLUMNS; c++) {
		measure(rows, (enum column)c, &head);
		bits += (size_t)head.width[c] * HISTORY_BLOCK;
	}
	size_t size = sizeof(head) + bits / 8 + 1 + READ_PAST;
	struct history_block *block = malloc(size);
	if (!block)
		return NULL;
	memset(block, 0, size);
	memcpy(block, &head, sizeof(head));
	for (int c = 0; c < N_COLUMNS; c++)
		for (uint32_t i = 0; i < HISTORY_BLOCK; i++, at += head.width[c])
			put_bits(block->bytes, at,
				 value_of(&rows[i], (enum column)c) -
				     pace(&head, (enum column)c, i) - head.least[c]);
	return block;
}

static void block_read(const struct history_block *block, uint32_t i, struct history_row *out)
{
	uint64_t value[N_COLUMNS];
	size_t at = 0;
	for (int c = 0; c < N_COLUMNS; c++) {
		unsigned width = block->width[c];
		value[c] = get_bits(block->bytes, at + (size_t)i * width, width) + block->least[c] +
			   pace(block, (enum column)c, i);
		at += (size_t)width * HISTORY_BLOCK;
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

void history_minute(const struct history *h, uint64_t *requests, uint64_t *errors)
{
	*requests = *errors = 0;
	for (uint32_t i = 0; h && i < HISTORY_BLOCK && i < h->n; i++) {
		*requests += h->newest[i].requests;
		*errors += h->newest[i].errors;
	}
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
