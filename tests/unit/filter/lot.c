/* SPDX-License-Identifier: MIT */
/* A share is kept by count, at random places. */
#include <criterion/criterion.h>

#include "filter/lot.h"

static unsigned draw(struct lot *lot, uint32_t share, unsigned n)
{
	unsigned drawn = 0;
	for (unsigned i = 0; i < n; i++)
		drawn += lot_draw(lot, share);
	return drawn;
}

Test(lot, the_number_is_exact)
{
	static const uint32_t shares[] = {0,      1,      333,    50000,  100000, 333333,
					  500000, 666667, 750000, 999999, LOT_ALL};
	for (size_t i = 0; i < sizeof(shares) / sizeof(*shares); i++) {
		for (uint64_t seed = 1; seed <= 20; seed++) {
			struct lot lot;
			lot_init(&lot, seed);
			for (unsigned n = 1, drawn = 0; n <= 5000; n++) {
				drawn += lot_draw(&lot, shares[i]);
				double wanted = (double)shares[i] * n / LOT_ALL;
				cr_assert(drawn <= wanted + 1 && drawn >= wanted - 1.000001,
					  "%u of %u, share %u", drawn, n, shares[i]);
			}
		}
	}
}

Test(lot, no_place_in_a_row_is_spared)
{
	unsigned at[10] = {0};
	struct lot lot;
	lot_init(&lot, 7);
	for (unsigned i = 0; i < 10000; i++)
		at[i % 10] += lot_draw(&lot, 100000);
	for (unsigned i = 0; i < 10; i++)
		cr_expect(at[i] > 60 && at[i] < 140, "%u at %u", at[i], i);
}

Test(lot, a_share_that_changes_owes_nothing)
{
	struct lot lot;
	lot_init(&lot, 3);
	draw(&lot, 700000, 1000);
	cr_expect_leq(draw(&lot, 0, 1000), 1);
	cr_expect_geq(draw(&lot, LOT_ALL, 1000), 999);
}
