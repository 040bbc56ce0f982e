/* SPDX-License-Identifier: MIT */
#include "weir/stats/sparse.h"

#include <criterion/criterion.h>
#include <string.h>

#include "weir/base/rng.h"

Test(sparse, is_what_a_plain_array_would_be)
{
	struct rng rng;
	rng_init(&rng, 2);
	for (int round = 0; round < 50; round++) {
		struct sparse narrow = {NULL, 0}, wide = {NULL, 0};
		uint64_t plain[HIST_BUCKETS] = {0}, spread[HIST_BUCKETS];
		for (int i = 0; i < 400; i++) {
			uint32_t bucket = (uint32_t)rng_below(&rng, HIST_BUCKETS);
			uint32_t group = bucket >> HIST_SUB_BITS, sub = bucket & (HIST_SUB - 1);
			if ((int)group % (round % 5 + 1))
				continue;
			plain[bucket]++;
			sparse32_make(&narrow, group)[sub]++;
			sparse64_make(&wide, group)[sub]++;
		}
		sparse64_spread(&wide, spread);
		cr_assert_eq(memcmp(plain, spread, sizeof(plain)), 0);
		for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
			const uint32_t *n = sparse32_find(&narrow, i >> HIST_SUB_BITS);
			cr_assert_eq(n ? n[i & (HIST_SUB - 1)] : 0, plain[i]);
		}
		struct sparse back = {NULL, 0};
		cr_assert(sparse64_gather(&back, plain));
		cr_assert_eq(back.groups, wide.groups);
		sparse64_spread(&back, spread);
		cr_assert_eq(memcmp(plain, spread, sizeof(plain)), 0);
		sparse_reset(&narrow);
		sparse_reset(&wide);
		sparse_reset(&back);
		cr_assert_null(back.numbers);
		cr_assert_null(sparse64_find(&back, 0));
	}
}
