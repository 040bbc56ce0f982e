/* SPDX-License-Identifier: MIT */
/* What pairs of answers come to, against what they were made of. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "filter/pairs.h"

#include "weir/base/rng.h"

static const struct conf_mirror all = {.compare = CONF_COMPARE_STATUS | CONF_COMPARE_BODY |
						  CONF_COMPARE_LATENCY};

static struct pairs *pairs;
static struct mirror_view view;

static void setup(void)
{
	pairs = calloc(1, sizeof(*pairs));
	pairs_clear(pairs, 1);
}

static void teardown(void)
{
	free(pairs);
}

static unsigned note(struct mirror_side original, struct mirror_side copy)
{
	const struct mirror_side sides[] = {original, copy};
	return pairs_note(pairs, &(struct mirror_pair){.conf = &all, .side = sides});
}

static void judge(void)
{
	struct pairs_sum sum = {0};
	pairs_add(&sum, pairs);
	pairs_judge(&sum, &view);
}

static double uniform(struct rng *rng)
{
	return ((double)(rng_next(rng) >> 11) + 0.5) / 9007199254740992.0;
}

TestSuite(pairs, .init = setup, .fini = teardown);

Test(pairs, what_differs_is_told)
{
	const struct mirror_side a = {.status = 200, .len = 5, .hash = 1};
	const struct mirror_side other_status = {.status = 404, .len = 5, .hash = 1};
	const struct mirror_side other_len = {.status = 200, .len = 6, .hash = 1};
	const struct mirror_side other_hash = {.status = 200, .len = 5, .hash = 2};
	cr_expect_eq(note(a, a), 0);
	cr_expect_eq(note(a, other_status), CONF_COMPARE_STATUS);
	cr_expect_eq(note(a, other_len), CONF_COMPARE_BODY);
	cr_expect_eq(note(a, other_hash), CONF_COMPARE_BODY);
	judge();
	cr_expect_eq(view.status.n, 4);
	cr_expect_eq(view.status.differ, 1);
	cr_expect_eq(view.body.n, 3);
	cr_expect_eq(view.body.differ, 2);
	cr_expect_eq(view.latency.pairs, 3);
}

Test(pairs, nothing_is_said_of_nothing)
{
	judge();
	cr_expect(view.status.n == 0 && view.status.low == 0 && view.status.high == 1);
	cr_expect_eq(view.latency.verdict, MIRROR_NOT_ENOUGH);
}

/* The interval of a share has it inside in 99 of 100 runs. */
Test(pairs, intervals_of_shares_are_honest)
{
	const struct mirror_side a = {.status = 200}, b = {.status = 500};
	struct rng rng;
	rng_init(&rng, 11);
	for (double share = 0.01; share < 0.6; share *= 3) {
		unsigned outside = 0;
		for (unsigned run = 0; run < 1000; run++) {
			pairs_clear(pairs, 1);
			for (unsigned i = 0; i < 300; i++)
				note(a, uniform(&rng) < share ? b : a);
			judge();
			outside += share < view.status.low || share > view.status.high;
		}
		cr_expect(outside <= 30, "%u of 1000 at %g", outside, share);
	}
}

/* Latencies that have the request in common, and noise of their own. */
static void note_latency(struct rng *rng, double factor, uint16_t others[2])
{
	double request = exp(2 * uniform(rng)) * 3000;
	struct mirror_side sides[2] = {{.status = 200}, {.status = 200}};
	for (unsigned i = 0; i < 2; i++) {
		double noise = 0.5 + uniform(rng);
		sides[i].wait_us = (uint64_t)(request * noise * (i ? factor : 1));
		sides[i].others = others[i];
	}
	note(sides[0], sides[1]);
}

Test(pairs, the_ratio_is_found_at_equal_level)
{
	static const double factors[] = {0.5, 1, 1.5, 3};
	struct rng rng;
	rng_init(&rng, 5);
	for (unsigned f = 0; f < 4; f++) {
		unsigned outside = 0;
		for (unsigned run = 0; run < 300; run++) {
			pairs_clear(pairs, 1);
			for (unsigned i = 0; i < 400; i++) {
				note_latency(&rng, factors[f], (uint16_t[]){2, 3});
				/* at another level it says something else */
				note_latency(&rng, 20, (uint16_t[]){0, 1});
			}
			judge();
			const struct mirror_quantile *r = &view.latency.ratio;
			cr_assert_eq(view.latency.pairs, 800);
			cr_assert_eq(view.latency.equal, 400);
			cr_assert(r->low <= r->value && r->value <= r->high);
			outside += factors[f] < r->low || factors[f] > r->high;
		}
		cr_expect(outside <= 9, "%u of 300 at %g", outside, factors[f]);
		cr_expect_eq(view.latency.verdict, factors[f] > 1   ? MIRROR_SLOWER
						   : factors[f] < 1 ? MIRROR_FASTER
								    : view.latency.verdict);
	}
}

Test(pairs, equal_ones_are_not_called_slower)
{
	struct rng rng;
	unsigned wrong = 0, alike = 0;
	rng_init(&rng, 9);
	for (unsigned run = 0; run < 300; run++) {
		pairs_clear(pairs, 1);
		for (unsigned i = 0; i < 150 + run * 20; i++)
			note_latency(&rng, 1, (uint16_t[]){0, 0});
		judge();
		wrong +=
		    view.latency.verdict == MIRROR_SLOWER || view.latency.verdict == MIRROR_FASTER;
		alike += view.latency.verdict == MIRROR_ALIKE;
	}
	cr_expect(wrong <= 3, "%u of 300", wrong);
	cr_expect(alike >= 50, "%u of 300", alike);
}

Test(pairs, few_are_not_judged)
{
	struct rng rng;
	rng_init(&rng, 1);
	for (unsigned i = 0; i < MIRROR_PAIRS_MIN; i++) {
		judge();
		cr_assert_eq(view.latency.verdict, MIRROR_NOT_ENOUGH);
		note_latency(&rng, 3, (uint16_t[]){5, 7});
	}
	judge();
	cr_expect_eq(view.latency.verdict, MIRROR_SLOWER);
	cr_expect(view.latency.p95_us[1].high >= view.latency.p95_us[1].value);
}

Test(pairs, a_new_epoch_begins_with_nothing)
{
	struct rng rng;
	rng_init(&rng, 1);
	for (unsigned i = 0; i < 200; i++)
		note_latency(&rng, 3, (uint16_t[]){0, 0});
	pairs_clear(pairs, 2);
	judge();
	cr_expect_eq(view.status.n, 0);
	cr_expect_eq(view.latency.equal, 0);
}
