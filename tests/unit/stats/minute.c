/* SPDX-License-Identifier: MIT */
/* What a minute brought: it comes back whole from its bytes, and adds up. */
#include "weir/stats/minute.h"

#include <criterion/criterion.h>
#include <string.h>

#include "weir/base/rng.h"

static struct minute *m;
static struct windows *windows;
static struct hist_set set;
static uint64_t now_us;

static void begin(void)
{
	m = minute_new();
	windows = windows_new(0);
	now_us = 0;
}

static void end(void)
{
	minute_free(m);
	windows_free(windows);
	hist_set_fini(&set);
}

TestSuite(minute, .init = begin, .fini = end);

/* A second in which these were recorded. */
static void second(const struct history_row *row)
{
	const struct hist_set *sets[] = {&set};
	now_us += 1000000;
	windows_fold(windows, sets, 1, now_us);
	minute_second(m, row, windows);
}

static struct minute_sum *read_back(const struct levels *const *levels, size_t n)
{
	static struct minute_sum sum;
	struct str bytes = STR_INIT;
	memset(&sum, 0, sizeof(sum));
	minute_pack(m, levels, n, &bytes);
	cr_assert(minute_is_whole(str_as_view(&bytes)));
	cr_assert(minute_sum_add(&sum, unpack_of(str_as_view(&bytes))));
	str_fini(&bytes);
	return &sum;
}

/* Whatever came in whichever second, as many of each duration as were recorded. */
Test(minute, has_the_durations_of_all_its_seconds)
{
	struct hist_total all = {0};
	struct rng rng;
	rng_init(&rng, 5);
	for (unsigned s = 0; s < 60; s++) {
		for (uint32_t n = rng_below(&rng, 60); n > 0; n--)
			hist_set_record(&set, PHASE_total, rng_next(&rng) >> (40 + n % 20));
		second(&(struct history_row){.requests = 1});
		windows_newest_add(windows, PHASE_total, &all);
	}
	const struct minute_sum *sum = read_back(NULL, 0);
	cr_expect_eq(sum->latency.n, all.n);
	cr_expect_eq(memcmp(sum->latency.count, all.count, sizeof(all.count)), 0);
}

Test(minute, sums_up_its_seconds)
{
	second(&(struct history_row){.requests = 3, .errors = 1, .in_flight = 1.5f, .queue = 2});
	second(&(struct history_row){.requests = 4, .errors = 2, .in_flight = 0.5f, .queue = 5});
	const struct minute_sum *sum = read_back(NULL, 0);
	cr_expect_eq(sum->seconds, 2);
	cr_expect_eq(sum->requests, 7);
	cr_expect_eq(sum->errors, 3);
	cr_expect_eq(sum->in_flight_s, 2);
	cr_expect_eq(sum->queued_s, 7);
}

/* Any of them: it is written down. */
Test(minute, anything_is_traffic)
{
	static const struct history_row rows[] = {
	    {.requests = 1}, {.errors = 1}, {.in_flight = 0.5f}, {.queue = 1}};
	second(&(struct history_row){.requests = 0});
	cr_assert_not(minute_has_traffic(m));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		second(&rows[i]);
		cr_expect(minute_has_traffic(m), "row %zu", i);
		minute_reset(m, NULL, 0);
		cr_expect_not(minute_has_traffic(m));
	}
	hist_set_record(&set, PHASE_total, 100);
	second(&(struct history_row){.requests = 0});
	cr_expect(minute_has_traffic(m), "an answer to a request of the minute before");
}

/* Levels count since the process began; a minute has what came since it did. */
Test(minute, has_the_levels_that_came_since_it_began)
{
	struct levels *worker[] = {levels_new(), levels_new()};
	const struct levels *levels[] = {worker[0], NULL, worker[1]};
	levels_served(worker[0], 2, LEVEL_UNKNOWN, 700);
	minute_reset(m, levels, 3);
	levels_served(worker[0], 2, LEVEL_UNKNOWN, 20);
	levels_served(worker[1], 2, LEVEL_UNKNOWN, 30);
	levels_served(worker[1], 9, LEVEL_UNKNOWN, 40);
	const struct minute_sum *sum = read_back(levels, 3);
	cr_expect_eq(sum->done[3], 2);
	cr_expect_eq(sum->time_us[3], 50);
	cr_expect_eq(sum->done[10], 1);
	cr_expect_eq(sum->time_us[10], 40);
	for (size_t i = 0; i < 2; i++)
		levels_free(worker[i]);
}

Test(minute, the_next_one_begins_empty)
{
	hist_set_record(&set, PHASE_total, 100);
	second(&(struct history_row){.requests = 3, .errors = 1, .in_flight = 1.5f, .queue = 2});
	minute_reset(m, NULL, 0);
	const struct minute_sum *sum = read_back(NULL, 0);
	cr_expect(!sum->seconds && !sum->requests && !sum->errors && !sum->latency.n);
	cr_expect(sum->in_flight_s == 0 && sum->queued_s == 0);
}

/* Two minutes, then the same out of the bytes of their sum. */
Test(minute, add_up_without_a_loss)
{
	struct str bytes = STR_INIT;
	struct minute_sum sum = {0}, again = {0};
	for (unsigned i = 1; i <= 2; i++) {
		for (unsigned k = 0; k < i; k++)
			hist_set_record(&set, PHASE_total, 1000 * i);
		second(&(struct history_row){.requests = i, .errors = i, .queue = 1});
		str_reset(&bytes);
		minute_pack(m, NULL, 0, &bytes);
		cr_assert(minute_sum_add(&sum, unpack_of(str_as_view(&bytes))));
		minute_reset(m, NULL, 0);
	}
	cr_expect(sum.seconds == 2 && sum.requests == 3 && sum.errors == 3 && sum.queued_s == 2);
	cr_expect_eq(sum.latency.n, 3);
	str_reset(&bytes);
	minute_sum_pack(&sum, &bytes);
	cr_assert(minute_sum_add(&again, unpack_of(str_as_view(&bytes))));
	cr_expect(again.seconds == 2 && again.requests == 3 && again.queued_s == 2);
	cr_expect_eq(memcmp(sum.latency.count, again.latency.count, sizeof(sum.latency.count)), 0);
	str_fini(&bytes);
}

Test(minute, damaged_bytes_add_nothing)
{
	struct str bytes = STR_INIT;
	static const struct minute_sum none;
	struct minute_sum sum = {0};
	hist_set_record(&set, PHASE_total, 100);
	second(&(struct history_row){.requests = 3});
	minute_pack(m, NULL, 0, &bytes);
	for (size_t i = 0; i < bytes.len; i++) {
		struct view cut = view_of(bytes.ptr, i);
		cr_expect_not(minute_sum_add(&sum, unpack_of(cut)), "%zu bytes", i);
		bytes.ptr[i] = (char)(bytes.ptr[i] ^ 0x40);
		cr_expect_not(minute_sum_add(&sum, unpack_of(str_as_view(&bytes))), "byte %zu", i);
		bytes.ptr[i] = (char)(bytes.ptr[i] ^ 0x40);
	}
	cr_expect_eq(memcmp(&sum, &none, sizeof(sum)), 0);
	str_fini(&bytes);
}
