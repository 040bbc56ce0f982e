/* SPDX-License-Identifier: MIT */
#include "weir/stats/sparse.h"

#include <criterion/criterion.h>
#include <string.h>

#include "weir/base/rng.h"

/* Numbers of all widths, in some groups of some. */
static uint64_t some_number(struct rng *rng)
{
	return rng_below(rng, UINT64_C(1) << (1 + 60 * rng_below(rng, 8) / 7));
}

static void expect_same(const struct sparse *s, const uint64_t plain[HIST_BUCKETS])
{
	uint64_t spread[HIST_BUCKETS], group[HIST_SUB];
	sparse_spread(s, spread);
	cr_assert_eq(memcmp(plain, spread, sizeof(spread)), 0);
	for (uint32_t i = 0; i < HIST_BUCKETS; i++)
		cr_assert_eq(sparse_get(s, i), plain[i]);
	for (uint32_t g = 0; g < HIST_GROUPS; g++) {
		sparse_load(s, g, group);
		cr_assert_eq(memcmp(group, &plain[g << HIST_SUB_BITS], sizeof(group)), 0);
	}
}

Test(sparse, is_what_a_plain_array_would_be)
{
	struct rng rng;
	rng_init(&rng, 2);
	for (int round = 0; round < 50; round++) {
		struct sparse s = {.numbers = NULL}, back = {.numbers = NULL};
		uint64_t plain[HIST_BUCKETS] = {0};
		for (int i = 0; i < 400; i++) {
			uint32_t bucket = (uint32_t)rng_below(&rng, HIST_BUCKETS);
			if ((int)(bucket >> HIST_SUB_BITS) % (round % 5 + 1))
				continue;
			uint64_t n = some_number(&rng);
			if (i % 2) {
				cr_assert(sparse_add(&s, bucket, n));
				plain[bucket] += n;
			} else {
				cr_assert(sparse_set(&s, bucket, n));
				plain[bucket] = n;
			}
		}
		expect_same(&s, plain);
		cr_assert(sparse_gather(&back, plain));
		expect_same(&back, plain);
		sparse_reset(&s);
		sparse_reset(&back);
		cr_assert_null(back.numbers);
		cr_assert_eq(sparse_get(&back, 0), 0);
	}
}

Test(sparse, is_as_wide_as_its_numbers)
{
	static const struct {
		uint64_t n;
		size_t bytes;
	} cases[] = {{1, 32},
		     {255, 32},
		     {256, 64},
		     {65535, 64},
		     {65536, 128},
		     {UINT32_MAX, 128},
		     {UINT64_C(1) << 32, 256},
		     {UINT64_MAX, 256}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sparse s = {.numbers = NULL};
		cr_assert(sparse_set(&s, 40, 7));
		cr_assert(sparse_set(&s, 41, cases[i].n));
		cr_assert(sparse_set(&s, 700, 9));
		cr_expect_eq(sparse_bytes(&s), cases[i].bytes + 32, "%zu", sparse_bytes(&s));
		cr_expect(sparse_get(&s, 40) == 7 && sparse_get(&s, 700) == 9);
		cr_expect_eq(sparse_get(&s, 41), cases[i].n);
		cr_expect(sparse_add(&s, 41, UINT64_MAX));
		cr_expect_eq(sparse_get(&s, 41), UINT64_MAX, "it stops at the top");
		sparse_reset(&s);
	}
}
