/* SPDX-License-Identifier: MIT */
#include "weir/stats/history.h"

#include <criterion/criterion.h>
#include <malloc.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "weir/base/rng.h"

Test(history, keeps_the_newest_rows_in_order)
{
	struct history *h = history_new();
	struct history_row row;
	cr_assert(!history_at(h, 0, &row));
	cr_assert_null(history_newest(h));
	for (uint32_t i = 0; i < HISTORY_ROWS + 10; i++)
		history_push(h, &(struct history_row){.at_us = i, .requests = i});
	cr_assert(HISTORY_ROWS >= 15 * 60);
	for (uint32_t age = 0; age < HISTORY_ROWS; age++) {
		cr_assert(history_at(h, age, &row));
		cr_assert_eq(row.requests, HISTORY_ROWS + 9 - age);
	}
	cr_assert(!history_at(h, HISTORY_ROWS, &row));
	cr_assert_eq(history_newest(h)->at_us, HISTORY_ROWS + 9);
	history_free(h);
}

/* From nothing to everything that fits, steady or by leaps. */
static struct history_row some_row(struct rng *rng, uint64_t at_us, unsigned wild)
{
	return (struct history_row){
	    .at_us = at_us,
	    .requests = (uint32_t)(rng_next(rng) >> (63 - wild)),
	    .errors = wild > 20 ? (uint32_t)rng_next(rng) : 0,
	    .in_flight = (float)(rng_next(rng) >> (63 - wild)) / 3,
	    .queue = wild > 10 ? (uint16_t)rng_next(rng) : 0,
	    .state = (uint8_t)(rng_next(rng) >> 62),
	    .p50_us = (uint32_t)(rng_next(rng) >> (63 - wild)),
	    .p99_us = (uint32_t)(rng_next(rng) >> (63 - wild)),
	};
}

static bool is_same(struct history_row a, struct history_row b)
{
	if (fabsf(a.in_flight - b.in_flight) > 0.5001F / 1024)
		return false;
	a.in_flight = b.in_flight;
	return memcmp(&a, &b, sizeof(a)) == 0;
}

Test(history, a_packed_row_is_what_it_was)
{
	static struct history_row all[3 * HISTORY_ROWS];
	struct rng rng;
	rng_init(&rng, 3);
	for (unsigned wild = 0; wild < 32; wild++) {
		struct history *h = history_new();
		uint64_t at_us = rng_next(&rng) >> 20;
		for (uint32_t i = 0; i < 3 * HISTORY_ROWS; i++) {
			at_us += wild % 2 ? rng_next(&rng) >> (64 - wild) : 1000000;
			all[i] = some_row(&rng, at_us, wild);
			history_push(h, &all[i]);
			struct history_row row;
			uint32_t age = (uint32_t)rng_below(&rng, HISTORY_ROWS);
			cr_assert_eq(history_at(h, age, &row), age <= i);
			if (age <= i)
				cr_assert(is_same(row, all[i - age]), "wild %u, row %u, age %u",
					  wild, i, age);
		}
		history_free(h);
	}
}

/* Bytes of the heap that a history takes whose rows differ by this much. */
static size_t bytes_of(unsigned wild)
{
	struct rng rng;
	rng_init(&rng, 3);
	size_t before = mallinfo2().uordblks;
	struct history *h = history_new();
	for (uint32_t i = 0; i < 2 * HISTORY_ROWS; i++) {
		/* a timer is late by up to a few milliseconds */
		struct history_row row =
		    some_row(&rng, i * UINT64_C(1000000) + rng_below(&rng, 5000), wild);
		if (!wild)
			row = (struct history_row){.at_us = row.at_us};
		history_push(h, &row);
	}
	size_t bytes = mallinfo2().uordblks - before;
	history_free(h);
	return bytes;
}

Test(history, takes_as_much_as_its_header_says)
{
	cr_expect_leq(bytes_of(0), 6 * 1024);   /* idle */
	cr_expect_leq(bytes_of(10), 13 * 1024); /* busy */
	cr_expect_leq(bytes_of(31), 37 * 1024); /* whatever it is */
}
