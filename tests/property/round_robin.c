/* SPDX-License-Identifier: MIT */
/* What round robin promises beyond the laws of all strategies. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "model.h"
#include "weir/base/bitset.h"

static const struct strategy *round_robin(void)
{
	return strategy_find(VIEW("round-robin"));
}

Test(round_robin, five_one_one_is_aabacaa)
{
	static const uint32_t weights[3] = {5, 1, 1};
	bool phases[7] = {false};
	for (uint64_t seed = 0; seed < 200; seed++) {
		struct model m;
		model_init(&m, round_robin(), weights, 3, seed);
		char text[15] = "";
		for (int k = 0; k < 14; k++)
			text[k] = (char)('a' + model_pick(&m));
		char *found = strstr(text, "aabacaa");
		cr_assert_not_null(found, "got %s", text);
		phases[found - text] = true;
		model_fini(&m);
	}
	for (int k = 0; k < 7; k++)
		cr_assert(phases[k], "no worker ever starts at phase %d", k);
}

/* Largest |picks - due| over all prefixes that begin `from` picks after the start. */
static double worst_deviation(const uint32_t *picks, uint32_t n_picks, const uint32_t *weights,
			      uint32_t n, uint32_t sum)
{
	double worst = 0;
	uint32_t counts[64] = {0};
	for (uint32_t t = 1; t <= n_picks; t++) {
		counts[picks[t - 1]]++;
		for (uint32_t i = 0; i < n; i++) {
			double off = fabs(counts[i] - (double)t * weights[i] / sum);
			worst = off > worst ? off : worst;
		}
	}
	return worst;
}

static uint32_t random_weights(struct rng *rng, uint32_t *weights, uint32_t n, uint32_t max)
{
	uint32_t sum = 0;
	for (uint32_t i = 0; i < n; i++)
		sum += weights[i] = 1 + rng_below(rng, max);
	return sum;
}

/* From the right phase on, no backend is ever a whole pick ahead or behind. */
Test(round_robin, prefixes_of_the_scan_stay_within_one)
{
	struct rng rng;
	rng_init(&rng, 20);
	for (int set = 0; set < 300; set++) {
		uint32_t n = 2 + rng_below(&rng, 11), weights[12];
		uint32_t sum = random_weights(&rng, weights, n, 20);
		uint32_t *picks = malloc(2 * sum * sizeof(*picks)), counts[12] = {0};
		struct model m;
		model_init(&m, round_robin(), weights, n, (uint64_t)set);
		for (uint32_t t = 0; t < 2 * sum; t++)
			picks[t] = model_pick(&m);
		for (uint32_t t = 0; t < sum; t++)
			counts[picks[t]]++;
		for (uint32_t i = 0; i < n; i++)
			cr_assert_eq(counts[i], weights[i], "a round is not exact");
		double best = 9;
		for (uint32_t phase = 0; phase < sum && best >= 1; phase++)
			best = fmin(best, worst_deviation(picks + phase, sum, weights, n, sum));
		cr_assert(best < 1, "set %d: off by %.2f", set, best);
		model_fini(&m);
		free(picks);
	}
}

Test(round_robin, prefixes_of_the_heap_stay_close)
{
	struct rng rng;
	rng_init(&rng, 21);
	for (int set = 0; set < 100; set++) {
		uint32_t n = 17 + rng_below(&rng, 40), weights[64];
		uint32_t sum = random_weights(&rng, weights, n, 20);
		uint32_t *picks = malloc(3 * sum * sizeof(*picks));
		struct model m;
		model_init(&m, round_robin(), weights, n, (uint64_t)set);
		for (uint32_t t = 0; t < 3 * sum; t++)
			picks[t] = model_pick(&m);
		double worst = worst_deviation(picks, 3 * sum, weights, n, sum);
		cr_assert(worst < 2, "set %d: off by %.2f", set, worst);
		model_fini(&m);
		free(picks);
	}
}

Test(round_robin, heavy_and_light_in_a_large_pool)
{
	static uint32_t weights[1000];
	static uint32_t counts[1000];
	for (uint32_t i = 0; i < 1000; i++)
		weights[i] = i == 500 ? 65535 : 1;
	struct model m;
	model_init(&m, round_robin(), weights, 1000, 22);
	const uint32_t sum = 65535 + 999;
	for (uint32_t t = 0; t < 10 * sum; t++)
		counts[model_pick(&m)]++;
	for (uint32_t i = 0; i < 1000; i++)
		cr_assert(abs((int)counts[i] - (int)weights[i] * 10) <= 2 + (int)weights[i] / 5000,
			  "backend %u: %u picks", i, counts[i]);
	model_fini(&m);
}

Test(round_robin, equal_weights_go_round_the_eligible)
{
	for (uint32_t n = 1; n <= 200; n += 7) {
		struct model m;
		model_init(&m, round_robin(), NULL, n, n);
		for (uint32_t i = 0; i < n; i += 3)
			bitset_del(m.eligible, i);
		uint32_t n_left = bitset_count(m.eligible, n), last = model_pick(&m);
		for (uint32_t t = 0; t < 3 * n_left; t++) {
			uint32_t i = model_pick(&m);
			uint32_t due = bitset_next(m.eligible, n, last + 1);
			cr_assert_eq(i, due < n ? due : bitset_next(m.eligible, n, 0));
			last = i;
		}
		model_fini(&m);
	}
}

/* After a long absence a backend gets its share again, not all that it missed. */
Test(round_robin, a_backend_that_returns_does_not_catch_up)
{
	for (uint32_t n = 3; n <= 60; n += 19) {
		uint32_t weights[60], sum = 0;
		for (uint32_t i = 0; i < n; i++)
			sum += weights[i] = 1 + i % 3;
		struct model m;
		model_init(&m, round_robin(), weights, n, 23);
		bitset_del(m.eligible, 0);
		for (int t = 0; t < 100000; t++)
			model_pick(&m);
		bitset_put(m.eligible, 0);
		uint32_t first = 0;
		for (uint32_t t = 0; t < 10 * sum; t++)
			first += model_pick(&m) == 0;
		cr_assert(first >= 9 && first <= 12, "n %u: %u picks instead of 10", n, first);
		model_fini(&m);
	}
}

/* Nor do many that return at once after one carried all. */
Test(round_robin, those_that_return_together_share_at_once)
{
	uint32_t weights[60], counts[60] = {0}, sum = 0;
	for (uint32_t i = 0; i < 60; i++)
		sum += weights[i] = 1 + i % 3;
	struct model m;
	model_init(&m, round_robin(), weights, 60, 25);
	for (uint32_t i = 0; i < 60; i++)
		bitset_assign(m.eligible, i, i == 10);
	for (int t = 0; t < 100000; t++)
		model_pick(&m);
	for (uint32_t i = 0; i < 60; i++)
		bitset_put(m.eligible, i);
	for (uint32_t t = 0; t < 10 * sum; t++)
		counts[model_pick(&m)]++;
	for (uint32_t i = 0; i < 60; i++)
		cr_assert(abs((int)counts[i] - 10 * (int)weights[i]) <= 3, "%u: %u picks", i,
			  counts[i]);
	model_fini(&m);
}

/* However few are eligible, each keeps its share. */
Test(round_robin, few_eligible_in_a_large_pool)
{
	static uint32_t weights[1000];
	for (uint32_t i = 0; i < 1000; i++)
		weights[i] = 1 + i % 5;
	struct model m;
	model_init(&m, round_robin(), weights, 1000, 24);
	for (uint32_t i = 0; i < 1000; i++)
		bitset_assign(m.eligible, i, i == 10 || i == 501 || i == 999);
	uint32_t counts[3] = {0};
	for (int t = 0; t < 80000; t++) {
		uint32_t i = model_pick(&m);
		counts[i == 10 ? 0 : i == 501 ? 1 : 2]++;
	}
	cr_assert(abs((int)counts[0] - 10000) < 20, "%u", counts[0]);
	cr_assert(abs((int)counts[1] - 20000) < 20, "%u", counts[1]);
	cr_assert(abs((int)counts[2] - 50000) < 20, "%u", counts[2]);
	model_fini(&m);
}

Test(round_robin, workers_start_at_different_backends)
{
	static uint32_t weights[20];
	for (uint32_t i = 0; i < 20; i++)
		weights[i] = 1 + i % 2;
	for (int way = 0; way < 3; way++) {
		uint32_t n = way == 1 ? 10 : 20;
		bool seen[20] = {false};
		uint32_t n_seen = 0;
		for (uint64_t seed = 0; seed < 64; seed++) {
			struct model m;
			model_init(&m, round_robin(), way == 0 ? NULL : weights, n, seed);
			uint32_t i = model_pick(&m);
			n_seen += !seen[i];
			seen[i] = true;
			model_fini(&m);
		}
		cr_assert(n_seen >= n / 2, "way %d: only %u first picks", way, n_seen);
	}
}
