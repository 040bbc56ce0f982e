/* SPDX-License-Identifier: MIT */
#include "weir/stats/history.h"

#include <criterion/criterion.h>
#include <stdlib.h>

Test(history, keeps_the_newest_rows_in_order)
{
	struct history *h = history_new();
	cr_assert_null(history_at(h, 0));
	cr_assert_null(history_newest(h));
	for (uint32_t i = 0; i < HISTORY_ROWS + 10; i++)
		history_push(h, &(struct history_row){.at_us = i, .requests = i});
	cr_assert(HISTORY_ROWS >= 15 * 60);
	for (uint32_t age = 0; age < HISTORY_ROWS; age++)
		cr_assert_eq(history_at(h, age)->requests, HISTORY_ROWS + 9 - age);
	cr_assert_null(history_at(h, HISTORY_ROWS));
	cr_assert_eq(history_newest(h)->at_us, HISTORY_ROWS + 9);
	free(h);
}
