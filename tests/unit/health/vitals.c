/* SPDX-License-Identifier: MIT */
/* Rise and fall, and when the next check comes: no clock, no socket. */
#include <criterion/criterion.h>

#include "health/vitals.h"
#include "weir/base/rng.h"

static const struct conf_health conf = {
    .on = true, .interval_us = 2000000, .timeout_us = 1000000, .rise = 2, .fall = 3};

/* Feeds "P" and "F"; the verdict after each as "u", "U" (up) or "D" (down). */
static void expect(struct vitals v, const char *results, const char *verdicts)
{
	for (size_t i = 0; results[i]; i++) {
		enum vitals_is was = v.is;
		bool changed = vitals_note(&v, results[i] == 'P', &conf);
		char got = v.is == VITALS_UP ? 'U' : v.is == VITALS_DOWN ? 'D' : 'u';
		cr_assert_eq(got, verdicts[i], "%s at %zu: %c", results, i, got);
		cr_assert_eq(changed, was != v.is);
	}
}

Test(vitals, rise_and_fall)
{
	struct vitals unknown = {0}, up = {.is = VITALS_UP}, down = {.is = VITALS_DOWN};
	expect(unknown, "P", "U");
	expect(unknown, "F", "D");
	expect(up, "FFF", "UUD");
	expect(up, "FFPFFPFFF", "UUUUUUUUD");
	expect(down, "PP", "DU");
	expect(down, "PFPFPP", "DDDDDU");
	expect(down, "PPFFFPP", "DUUUDDU");
}

Test(vitals, intervals)
{
	struct vitals unknown = {0}, up = {.is = VITALS_UP}, down = {.is = VITALS_DOWN};
	struct vitals wavering = {.is = VITALS_UP, .against = 1};
	struct conf_health own = conf;
	cr_assert_eq(vitals_interval_us(&up, &conf), 2000000);
	cr_assert_eq(vitals_interval_us(&unknown, &conf), 500000);
	cr_assert_eq(vitals_interval_us(&wavering, &conf), 500000);
	cr_assert_eq(vitals_interval_us(&down, &conf), 4000000);
	own.fast_interval_us = 7;
	own.slow_interval_us = 9;
	cr_assert_eq(vitals_interval_us(&wavering, &own), 7);
	cr_assert_eq(vitals_interval_us(&down, &own), 9);
}

Test(vitals, jitter_is_five_percent)
{
	struct vitals up = {.is = VITALS_UP};
	uint64_t least = UINT64_MAX, most = 0;
	struct rng rng;
	rng_init(&rng, 1);
	for (int i = 0; i < 10000; i++) {
		uint64_t us = vitals_wait_us(&up, &conf, (uint32_t)rng_next(&rng));
		least = us < least ? us : least;
		most = us > most ? us : most;
	}
	cr_assert(least >= 1900000 && least < 1910000, "%lu", (unsigned long)least);
	cr_assert(most <= 2100000 && most > 2090000, "%lu", (unsigned long)most);
}

/* Of 1000 backends, at most three times the mean in any 10 ms, first to last check. */
Test(vitals, checks_are_spread)
{
	enum { N = 1000, SLOTS = 1200 };
	static unsigned seen[SLOTS];
	struct vitals up = {.is = VITALS_UP};
	struct rng rng;
	rng_init(&rng, 2);
	uint64_t horizon = 8000000;
	for (uint32_t k = 0; k < N; k++) {
		uint64_t first = vitals_first_us(&conf, k, N);
		cr_assert(first < 100000);
		uint64_t at = first + vitals_second_us(&conf, k, N);
		for (; at < horizon; at += vitals_wait_us(&up, &conf, (uint32_t)rng_next(&rng)))
			seen[at / 10000]++;
	}
	unsigned most = 0, total = 0;
	/* the second round on: the first of all comes at once on purpose */
	for (unsigned i = 220; i < horizon / 10000; i++) {
		most = seen[i] > most ? seen[i] : most;
		total += seen[i];
	}
	double mean = total / (horizon / 10000.0 - 220);
	cr_assert(mean > 4.5 && mean < 5.5, "%f", mean);
	cr_assert(most <= 3 * mean, "%u of %f", most, mean);
}
