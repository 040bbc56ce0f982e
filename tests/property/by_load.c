/* SPDX-License-Identifier: MIT */
/* What the strategies that look at loads promise beyond the laws of all. */
#include <criterion/criterion.h>
#include <math.h>

#include "../rounds.h"
#include "model.h"
#include "weir/base/bitset.h"

static const struct strategy *find(const char *keyword)
{
	return strategy_find(view_str(keyword));
}

/* A draw of the same backend twice would give it a pick. */
Test(p2c, the_most_loaded_is_never_picked)
{
	for (uint32_t n = 2; n < 200; n = n * 2 + 1) {
		struct model m;
		model_init(&m, find("p2c"), NULL, n, 30);
		m.in_flight[n / 2] = 5;
		for (int t = 0; t < 20000; t++)
			cr_assert_neq(model_pick(&m), n / 2);
		model_fini(&m);
	}
}

Test(p2c, the_least_loaded_gets_two_in_n)
{
	for (uint32_t n = 2; n < 200; n = n * 2 + 1) {
		struct model m;
		model_init(&m, find("p2c"), NULL, n, 31);
		for (uint32_t i = 0; i < n; i++)
			m.in_flight[i] = i == n - 1 ? 1 : 2;
		const int picks = 50000;
		int hits = 0;
		for (int t = 0; t < picks; t++)
			hits += model_pick(&m) == n - 1;
		double p = 2.0 / n, sigma = sqrt(picks * p * (1 - p));
		cr_assert(fabs(hits - picks * p) <= 5 * sigma + 1e-9, "n %u: %d hits", n, hits);
		model_fini(&m);
	}
}

Test(p2c, with_most_ineligible_the_rest_still_makes_pairs)
{
	struct model m;
	model_init(&m, find("p2c"), NULL, 1000, 32);
	for (uint32_t i = 0; i < 1000; i++)
		bitset_assign(m.eligible, i, i == 7 || i == 999);
	m.in_flight[7] = 3;
	for (int t = 0; t < 10000; t++)
		cr_assert_eq(model_pick(&m), 999);
	model_fini(&m);
}

Test(p2c, idle_picks_follow_weights)
{
	static const uint32_t weights[4] = {1, 2, 3, 10};
	struct model m;
	model_init(&m, find("p2c"), weights, 4, 33);
	double counts[4] = {0}, chi = 0;
	for (int t = 0; t < 160000; t++)
		counts[model_pick(&m)]++;
	for (int i = 0; i < 4; i++)
		chi += pow(counts[i] - 10000.0 * weights[i], 2) / (10000.0 * weights[i]);
	cr_assert(chi_square_is_likely(chi, 3), "chi-square %.1f", chi);
	model_fini(&m);
}

static void range_of(const struct model *m, uint32_t *min, uint32_t *max)
{
	*min = UINT32_MAX;
	*max = 0;
	for (uint32_t i = 0; i < m->n; i++) {
		*min = m->in_flight[i] < *min ? m->in_flight[i] : *min;
		*max = m->in_flight[i] > *max ? m->in_flight[i] : *max;
	}
}

Test(least_request, held_exchanges_spread_evenly)
{
	static const char *const keywords[] = {"least-request", "auto"};
	for (int k = 0; k < 2; k++) {
		for (uint32_t n = 1; n <= 64; n = n * 2 + (n < 32)) {
			struct model m;
			model_init(&m, find(keywords[k]), NULL, n, 34);
			for (int t = 0; t < 5000; t++) {
				uint32_t min, max;
				model_hold(&m, 5000);
				range_of(&m, &min, &max);
				cr_assert(max - min <= 1, "%u to %u in flight", min, max);
			}
			model_fini(&m);
		}
	}
}

Test(least_request, held_exchanges_converge_to_the_weights)
{
	static const uint32_t weights[2] = {1, 3};
	struct model m;
	model_init(&m, find("least-request"), weights, 2, 35);
	for (int t = 1; t <= 4000; t++) {
		model_hold(&m, 4000);
		double due = t / 4.0;
		cr_assert(fabs((double)m.in_flight[0] - due) <= 1.01, "%u of %d",
			  (unsigned)m.in_flight[0], t);
	}
	model_fini(&m);
}

Test(least_request, an_idle_light_backend_comes_before_a_busy_heavy_one)
{
	static const uint32_t weights[2] = {1, 65535};
	struct model m;
	model_init(&m, find("least-request"), weights, 2, 36);
	m.in_flight[1] = 1;
	for (int t = 0; t < 1000; t++)
		cr_assert_eq(model_pick(&m), 0);
	model_fini(&m);
}

/* Whoever stands behind a run of busy backends inherits nothing. */
Test(least_request, ties_are_broken_uniformly)
{
	static const uint32_t loads[] = {0, 3};
	for (int k = 0; k < 2; k++) {
		struct model m;
		model_init(&m, find("least-request"), NULL, 64, 37);
		uint32_t counts[64] = {0}, tied[4], n_tied = 0;
		for (uint32_t i = 0; i < 64; i++)
			m.in_flight[i] = i < 3 || i == 40 ? loads[k] : 9;
		for (int t = 0; t < 20000; t++)
			counts[model_pick(&m)]++;
		for (uint32_t i = 0; i < 64; i++) {
			if (i < 3 || i == 40)
				tied[n_tied++] = counts[i];
			else
				cr_assert_eq(counts[i], 0, "a busier backend was picked");
		}
		double chi = chi_square_uniform(tied, 4, 20000);
		cr_assert(chi_square_is_likely(chi, 3), "chi-square %.1f", chi);
		model_fini(&m);
	}
}

/* The exact minimum by a naive count in wide arithmetic, over random loads and weights. */
Test(least_request, finds_the_minimum)
{
	struct rng rng;
	rng_init(&rng, 38);
	for (int t = 0; t < ROUNDS(20000, 1000); t++) {
		uint32_t n = 1 + rng_below(&rng, 80), weights[80];
		for (uint32_t i = 0; i < n; i++)
			weights[i] = rng_below(&rng, 3) ? 1 + rng_below(&rng, 65535) : 0;
		struct model m;
		model_init(&m, find("least-request"), weights, n, (uint64_t)t);
		double least = INFINITY;
		for (uint32_t i = 0; i < n; i++) {
			m.in_flight[i] = rng_below(&rng, 10);
			bitset_assign(m.eligible, i, rng_below(&rng, 4) != 0);
			if (!weights[i] || !bitset_has(m.eligible, i))
				continue;
			double load = m.in_flight[i] ? (m.in_flight[i] + 1.0) / weights[i] : 0;
			least = load < least ? load : least;
		}
		uint32_t i = model_pick(&m);
		if (i == STRATEGY_NONE)
			cr_assert(isinf(least));
		else
			cr_assert_float_eq(m.in_flight[i] ? (m.in_flight[i] + 1.0) / weights[i] : 0,
					   least, 1e-15);
		model_fini(&m);
	}
}

/* Above 64 backends auto samples: it misses the least loaded one most of the time. */
Test(auto_strategy, looks_at_all_up_to_64_and_samples_above)
{
	for (uint32_t n = 64; n <= 65; n++) {
		struct model m;
		model_init(&m, find("auto"), NULL, n, 39);
		for (uint32_t i = 0; i < n; i++)
			m.in_flight[i] = i == 9 ? 1 : 2;
		int hits = 0;
		for (int t = 0; t < 1000; t++)
			hits += model_pick(&m) == 9;
		cr_assert(n == 64 ? hits == 1000 : hits < 100, "n %u: %d hits", n, hits);
		model_fini(&m);
	}
}

/* ---- streams ---- */

static const char *const by_count[] = {"auto", "least-request", "p2c"};

/* Whoever has many of them gets as many requests as the others. */
Test(streams, are_no_load)
{
	for (size_t k = 0; k < sizeof(by_count) / sizeof(by_count[0]); k++) {
		struct model m;
		unsigned counts[3] = {0};
		model_init(&m, find(by_count[k]), NULL, 3, 39);
		m.in_flight[1] = 1000 * FLIGHT_STREAM;
		for (int t = 0; t < 3000; t++)
			counts[model_pick(&m)]++;
		double chi = chi_square_uniform(counts, 3, 3000);
		cr_assert(chi_square_is_likely(chi, 2), "%s: chi-square %.1f", by_count[k], chi);
		model_fini(&m);
	}
}

/* What asks for one goes to who has the fewest for its weight. */
Test(streams, are_spread_by_themselves)
{
	static const uint32_t weights[3] = {1, 2, 5};
	for (size_t k = 0; k < sizeof(by_count) / sizeof(by_count[0]); k++) {
		struct model m;
		model_init(&m, find(by_count[k]), weights, 3, 40);
		m.loads.streams = 1;
		/* one that is not answered yet is a request: many may come at once */
		for (int t = 0; t < 800; t++)
			m.in_flight[model_pick(&m)] += t % 2 ? 1 : FLIGHT_STREAM;
		for (uint32_t i = 0; i < 3; i++)
			cr_assert(fabs(flight_all(m.in_flight[i]) - 100.0 * weights[i]) <= 5,
				  "%s: %u of weight %u", by_count[k], flight_all(m.in_flight[i]),
				  weights[i]);
		model_fini(&m);
	}
}
