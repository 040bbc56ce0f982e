/* SPDX-License-Identifier: MIT */
#include "weir/stats/slow.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static void offer(struct slow_ring *ring, uint64_t total_us, uint64_t now_us)
{
	struct slow_record r = {.ended_us = now_us, .phase_us[PHASE_total] = total_us};
	if (slow_wants(ring, total_us, now_us))
		slow_put(ring, &r);
}

static uint64_t least(const struct slow_ring *ring, uint64_t now_us, size_t *n)
{
	struct slow_record out[SLOW_SLOTS];
	uint64_t min = UINT64_MAX;
	*n = slow_read(ring, now_us, out, SLOW_SLOTS);
	for (size_t i = 0; i < *n; i++)
		if (out[i].phase_us[PHASE_total] < min)
			min = out[i].phase_us[PHASE_total];
	return min;
}

Test(slow, the_slowest_stay_whatever_the_order)
{
	struct slow_ring *ring = slow_ring_new();
	size_t n;
	/* 1..1000 in an order that jumps about */
	for (uint64_t i = 0; i < 1000; i++)
		offer(ring, i * 619 % 1000 + 1, 1000 + i);
	cr_assert_eq(least(ring, 2000, &n), 1000 - SLOW_SLOTS + 1);
	cr_assert_eq(n, SLOW_SLOTS);
	cr_assert(!slow_wants(ring, 1000 - SLOW_SLOTS, 2000));
	free(ring);
}

Test(slow, what_is_old_makes_room)
{
	struct slow_ring *ring = slow_ring_new();
	size_t n;
	for (uint64_t i = 0; i < SLOW_SLOTS; i++)
		offer(ring, 1000000, 1 + i);
	offer(ring, 10, 2 + SLOW_KEEP_US);
	cr_assert_eq(least(ring, 2 + SLOW_KEEP_US, &n), 10);
	/* the first is too old to be shown and has been replaced */
	cr_assert_eq(n, SLOW_SLOTS);
	least(ring, 1000 + SLOW_KEEP_US, &n);
	cr_assert_eq(n, 1);
	free(ring);
}

Test(slow, all_of_a_record_comes_back)
{
	struct slow_ring *ring = slow_ring_new();
	struct slow_record r = {.ended_us = 5,
				.status = 504,
				.retries = 1,
				.in_flight = 7,
				.queue_length = 3,
				.outcome = "backend_timeout",
				.path = "/x",
				.path_len = 2},
			   out;
	for (int p = 0; p < N_PHASES; p++)
		r.phase_us[p] = 100 + (uint64_t)p;
	slow_put(ring, &r);
	cr_assert_eq(slow_read(ring, 6, &out, 1), 1);
	cr_assert_eq(memcmp(&r, &out, sizeof(r)), 0);
	free(ring);
}

/* Clocks of workers are a moment apart, and exchanges are put in another order than they end in. */
Test(slow, who_ended_a_moment_later_is_not_old)
{
	struct slow_ring *ring = slow_ring_new();
	size_t n;
	for (uint64_t i = 0; i < SLOW_SLOTS; i++)
		offer(ring, 1000000 + i, 2000);
	cr_assert(!slow_wants(ring, 10, 2000));
	struct slow_record r = {.ended_us = 1999, .phase_us[PHASE_total] = 10};
	slow_put(ring, &r);
	cr_expect_eq(least(ring, 2000, &n), 1000000);
	cr_expect_eq(n, SLOW_SLOTS);
	cr_expect(!slow_wants(ring, 10, 2000), "there is no room that nobody has");
	free(ring);
}
