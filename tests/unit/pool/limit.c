/* SPDX-License-Identifier: MIT */
/*
 * The adaptive limit against a plant: a backend of `workers` that needs
 * `service` for each request and is offered more than it can do, so that as many
 * are in flight as the limit allows.
 */
#include <criterion/criterion.h>

#include "weir/pool/limit.h"

#define SECOND UINT64_C(1000000)

struct plant {
	double workers, service_us;
};

static uint64_t latency_at(const struct plant *p, double in_flight)
{
	double rounds = in_flight / p->workers;
	return (uint64_t)(p->service_us * (rounds > 1 ? rounds : 1));
}

/* One window under more load than it can take; `low`: some met few others. */
static void window(struct limit *limit, const struct plant *p, uint64_t now, bool low)
{
	uint32_t in_flight = limit_now(limit);
	struct limit_window w = {
	    .n = 100,
	    .latency_us = latency_at(p, in_flight),
	    .n_low = low ? 20 : 0,
	    .low_us = latency_at(p, 1),
	    .peak = in_flight,
	};
	limit_update(limit, &w, now);
}

Test(pool_limit, an_hour_of_overload_keeps_it_at_what_the_backend_can_do)
{
	struct plant plant = {16, 10000};
	struct limit limit;
	uint64_t now = SECOND;
	limit_init(&limit, LIMIT_MAX, now);
	for (unsigned i = 0; i < 20; i++, now += LIMIT_WINDOW_US)
		window(&limit, &plant, now, i == 0);
	for (unsigned i = 0; i < 4 * 3600; i++, now += LIMIT_WINDOW_US) {
		window(&limit, &plant, now, false);
		uint32_t n = limit_now(&limit);
		cr_assert(limit.refreshing ? n >= 8 && n <= 16 : n >= 16 && n <= 32,
			  "%u after %u windows", n, i);
	}
}

Test(pool_limit, a_start_in_overload_finds_it_too)
{
	struct plant plant = {16, 10000};
	struct limit limit;
	uint64_t now = SECOND;
	limit_init(&limit, LIMIT_MAX, now);
	for (unsigned i = 0; i < 60 * 4; i++, now += LIMIT_WINDOW_US)
		window(&limit, &plant, now, false);
	cr_expect(limit_now(&limit) >= 16 && limit_now(&limit) <= 40, "%u", limit_now(&limit));
}

Test(pool_limit, a_backend_that_became_slower_for_good_gets_its_limit_back)
{
	struct plant plant = {16, 10000};
	struct limit limit;
	uint64_t now = SECOND;
	limit_init(&limit, LIMIT_MAX, now);
	for (unsigned i = 0; i < 40; i++, now += LIMIT_WINDOW_US)
		window(&limit, &plant, now, i == 0);
	plant.service_us *= 2;
	uint32_t lowest = LIMIT_MAX;
	for (unsigned i = 0; i < 30 * 4; i++, now += LIMIT_WINDOW_US) {
		window(&limit, &plant, now, false);
		lowest = limit_now(&limit) < lowest ? limit_now(&limit) : lowest;
	}
	cr_expect(lowest < 16, "at first it looks like overload");
	cr_expect(limit_now(&limit) >= 16 && limit_now(&limit) <= 40, "%u", limit_now(&limit));
}

Test(pool_limit, who_is_not_asked_for_half_of_it_does_not_grow)
{
	struct plant plant = {1000, 10000};
	struct limit limit;
	limit_init(&limit, LIMIT_MAX, SECOND);
	for (unsigned i = 0; i < 100; i++) {
		struct limit_window w = {
		    .n = 20, .latency_us = 10000, .n_low = 20, .low_us = 10000, .peak = 9};
		limit_update(&limit, &w, SECOND + i * LIMIT_WINDOW_US);
	}
	cr_expect_eq(limit_now(&limit), LIMIT_START);
	window(&limit, &plant, 30 * SECOND, true);
	cr_expect(limit_now(&limit) > LIMIT_START, "asked for all of it, it does");
}

Test(pool_limit, it_stays_within_its_bounds)
{
	struct plant fast = {100000, 1000}, stuck = {1, 1000};
	struct limit limit;
	limit_init(&limit, 50, SECOND);
	for (unsigned i = 0; i < 100; i++)
		window(&limit, &fast, SECOND + i * LIMIT_WINDOW_US, true);
	cr_expect_eq(limit_now(&limit), 50);
	for (unsigned i = 0; i < 4; i++)
		window(&limit, &stuck, 60 * SECOND + i * LIMIT_WINDOW_US, false);
	cr_expect(limit_now(&limit) >= LIMIT_MIN);
	limit_init(&limit, 2, SECOND);
	window(&limit, &stuck, SECOND, false);
	cr_expect_eq(limit_now(&limit), 2, "a configured limit below the minimum holds");
}

Test(pool_limit, timeouts_take_off_even_without_answers)
{
	struct limit limit;
	limit_init(&limit, LIMIT_MAX, SECOND);
	struct limit_window w = {.n_drops = 20, .peak = 20};
	limit_update(&limit, &w, SECOND);
	cr_expect_eq(limit_now(&limit), 18);
	for (unsigned i = 0; i < 100; i++)
		limit_update(&limit, &w, SECOND);
	cr_expect_eq(limit_now(&limit), LIMIT_MIN);
}

Test(pool_limit, what_workers_note_is_what_the_window_sees)
{
	struct limiter *limiter = limiter_new(2, LIMIT_MAX, 0);
	for (unsigned i = 0; i < 40; i++)
		limiter_note(limiter, i % 2, LIMIT_START, i % 20, false, i % 20 <= 5 ? 1000 : 1500);
	uint32_t now = limiter_tick(limiter, SECOND);
	const struct limit *limit = limiter_limit(limiter);
	cr_expect(limit->latency_us > 1400 && limit->latency_us < 1600);
	cr_expect(limit->baseline_us > 950 && limit->baseline_us < 1050);
	cr_expect(now > 4);
	cr_expect_eq(limiter_tick(limiter, 2 * SECOND), now, "nothing new");
	limiter_free(limiter);
}
