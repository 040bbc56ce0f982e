/* SPDX-License-Identifier: MIT */
/* Rate limits by key: by example, by law, and with several threads. */
#include <criterion/criterion.h>
#include <pthread.h>

#include "filter/gcra.h"
#include "weir/base/defs.h"

#define KEYS 1000
#define UNITS (1000000u * GCRA_UNITS_PER_US)

static const struct gcra_limit ten_a_second = {UNITS / 10, 5 * (UNITS / 10)};

static void setup(void)
{
	cr_assert(gcra_table_ready(KEYS));
}

TestSuite(gcra, .init = setup);

Test(gcra, takes_a_burst_then_the_rate)
{
	struct gcra_result result;
	uint64_t key = gcra_hash("a", 1), now = 77000000;
	for (int i = 0; i < 5; i++) {
		cr_assert(gcra_take(key, &ten_a_second, now, &result));
		cr_expect_eq(result.left, 4u - (unsigned)i);
	}
	cr_assert_not(gcra_take(key, &ten_a_second, now, &result), "the sixth at once is too much");
	cr_expect_geq(result.wait_us, 99999);
	cr_expect_leq(result.wait_us, 100002);
	cr_assert_not(gcra_take(key, &ten_a_second, now + 99990, &result));
	cr_assert(gcra_take(key, &ten_a_second, now + 100000, &result),
		  "a tenth of a second later");
	cr_assert_not(gcra_take(key, &ten_a_second, now + 100001, &result));
	now += 10000000;
	for (int i = 0; i < 5; i++)
		cr_assert(gcra_take(key, &ten_a_second, now, &result), "the burst is there again");
	cr_assert_not(gcra_take(key, &ten_a_second, now, &result));
}

Test(gcra, keys_do_not_know_each_other)
{
	struct gcra_result result;
	const struct gcra_limit once = {UNITS, UNITS};
	for (unsigned i = 0; i < KEYS; i++)
		cr_assert(gcra_take(gcra_hash(&i, sizeof(i)), &once, 1000, &result));
	unsigned forgotten = 0;
	for (unsigned i = 0; i < KEYS; i++)
		forgotten += gcra_take(gcra_hash(&i, sizeof(i)), &once, 1001, &result);
	cr_expect_leq(forgotten, KEYS / 100, "%u of as many keys as it is for were forgotten",
		      forgotten);
}

Test(gcra, more_keys_than_it_is_for_push_out_the_oldest)
{
	struct gcra_result result;
	const struct gcra_limit once = {UNITS, UNITS};
	uint64_t loyal = gcra_hash("loyal", 5);
	for (unsigned i = 0; i < 50 * KEYS; i++) {
		uint64_t now = 5000000 + i;
		cr_assert(gcra_take(gcra_hash(&i, sizeof(i)), &once, now, &result),
			  "a new key is never refused");
	}
	cr_assert(gcra_take(loyal, &once, 5100000, &result));
	cr_assert_not(gcra_take(loyal, &once, 5100001, &result), "the newest stays");
}

Test(gcra, time_may_pass_its_end)
{
	struct gcra_result result;
	uint64_t key = gcra_hash("wrap", 4);
	uint64_t last = ((UINT64_C(1) << 50) - 1) / GCRA_UNITS_PER_US;
	for (int i = 0; i < 5; i++)
		cr_assert(gcra_take(key, &ten_a_second, last, &result));
	cr_assert_not(gcra_take(key, &ten_a_second, last + 1, &result));
	cr_assert(gcra_take(key, &ten_a_second, last + 100001, &result));
}

Test(gcra, is_exact)
{
	static const unsigned rates[] = {1, 3, 7, 100, 997, 33333, 250000};
	for (size_t r = 0; r < ARRAY_LEN(rates); r++) {
		struct gcra_result result;
		uint64_t key = gcra_hash(&rates[r], sizeof(rates[r]));
		const struct gcra_limit limit = {UNITS / rates[r], UNITS / rates[r]};
		uint64_t step = 1000000 / rates[r] / 10 + 1, taken = 0, us = 0;
		for (; us < 20000000 && taken < 100000; us += step)
			taken += gcra_take(key, &limit, 1000000 + us, &result);
		double want = (double)us / 1e6 * rates[r] + 1;
		if (rates[r] > 100000) /* asked once a microsecond: 4 us are 4 us */
			want = (double)us / 4;
		cr_expect((double)taken < want * 1.02 + 1 && (double)taken > want * 0.9 - 1,
			  "%u/s: %llu taken of %.0f", rates[r], (unsigned long long)taken, want);
	}
}

struct racer {
	pthread_t thread;
	uint64_t taken;
};

static void *race(void *arg)
{
	struct racer *racer = arg;
	const struct gcra_limit limit = {UNITS / 100, 1000 * (uint64_t)(UNITS / 100)};
	struct gcra_result result;
	uint64_t key = gcra_hash("race", 4);
	for (int i = 0; i < 20000; i++)
		racer->taken += gcra_take(key, &limit, 900000000, &result);
	return NULL;
}

Test(gcra, counts_over_all_threads)
{
	struct racer racers[4] = {0};
	uint64_t taken = 0;
	for (size_t i = 0; i < ARRAY_LEN(racers); i++)
		cr_assert(pthread_create(&racers[i].thread, NULL, race, &racers[i]) == 0);
	for (size_t i = 0; i < ARRAY_LEN(racers); i++) {
		pthread_join(racers[i].thread, NULL);
		taken += racers[i].taken;
	}
	cr_assert_eq(taken, 1000, "%llu", (unsigned long long)taken);
}

Test(gcra, a_million_keys_fit_64_mb)
{
	cr_expect_leq(gcra_table_bytes() / KEYS * 1000000, 64000000);
}
