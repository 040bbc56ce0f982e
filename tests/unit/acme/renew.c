/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "acme/renew.h"

#define DAY 86400
#define MINUTE UINT64_C(60000000)
#define HOUR (60 * MINUTE)

Test(renew, is_two_thirds_into_the_life_and_a_little_earlier)
{
	static const int64_t lives[] = {90 * DAY, 47 * DAY, 6 * DAY, 10};
	for (size_t i = 0; i < 4; i++) {
		int64_t life = lives[i], from = 1700000000;
		int64_t late = renew_at(from, from + life, 0);
		int64_t early = renew_at(from, from + life, UINT64_MAX);
		cr_assert_eq(late, from + life * 2 / 3);
		cr_assert(early <= late && early >= late - life / 30);
	}
	cr_assert_lt(renew_at(0, 90 * DAY, UINT64_MAX), renew_at(0, 90 * DAY, 0) - 2 * DAY);
	cr_assert_eq(renew_at(5, 5, 7), 5, "no life: at once");
	cr_assert_eq(renew_at(5, 1, 7), 5);
}

Test(renew, failures_double_the_wait_up_to_six_hours)
{
	for (unsigned n = 1; n <= 9; n++)
		cr_assert_eq(renew_retry_us(n, MINUTE, UINT64_MAX, 0, 0), MINUTE << (n - 1));
	cr_assert_eq(renew_retry_us(10, MINUTE, UINT64_MAX, 0, 0), 6 * HOUR);
	cr_assert_eq(renew_retry_us(4000000000u, MINUTE, UINT64_MAX, 0, 0), 6 * HOUR);
}

Test(renew, waits_are_spread_by_a_tenth)
{
	cr_assert_eq(renew_retry_us(1, MINUTE, UINT64_MAX, 0, UINT32_MAX), MINUTE + MINUTE / 10);
	cr_assert_leq(renew_retry_us(30, MINUTE, UINT64_MAX, 0, UINT32_MAX), 7 * HOUR);
}

Test(renew, what_expires_soon_is_tried_more_often)
{
	cr_assert_eq(renew_retry_us(20, MINUTE, 12 * HOUR, 0, 0), HOUR);
	cr_assert_eq(renew_retry_us(20, MINUTE, MINUTE, 0, 0), MINUTE,
		     "but not more than at first");
}

Test(renew, the_authority_is_heard)
{
	cr_assert_eq(renew_retry_us(1, MINUTE, UINT64_MAX, 30 * HOUR, 0), 30 * HOUR);
	cr_assert_gt(renew_retry_us(1, MINUTE, UINT64_MAX, 30 * HOUR, UINT32_MAX), 30 * HOUR);
	cr_assert_eq(renew_retry_us(2, MINUTE, UINT64_MAX, 1000000, 0), 2 * MINUTE);
}

Test(renew, a_window_is_kept_to_unless_it_comes_too_late)
{
	cr_assert_eq(renew_in_window(100, 200, 0, 1000, 0), 100);
	cr_assert_eq(renew_in_window(100, 200, 0, 1000, UINT64_MAX), 199);
	cr_assert_eq(renew_in_window(100, 200, 0, 1000, UINT64_C(1) << 63), 150);
	cr_assert_eq(renew_in_window(2000, 3000, 0, 1000, 0), 900);
}
