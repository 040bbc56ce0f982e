/* SPDX-License-Identifier: MIT */
#include "weir/base/hex.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "weir/base/rng.h"

static void same_as_printf(uint64_t v)
{
	char text[17] = {0}, want[17];
	snprintf(want, sizeof(want), "%016llx", (unsigned long long)v);
	hex_u64(v, text);
	cr_assert_str_eq(text, want);
}

Test(hex, digits_as_printf_writes_them)
{
	struct rng rng;
	rng_init(&rng, 5);
	for (uint64_t digit = 0; digit < 16; digit++)
		for (unsigned at = 0; at < 64; at += 4)
			same_as_printf(digit << at);
	for (int i = 0; i < 100000; i++)
		same_as_printf(rng_next(&rng));
}
