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

Test(hex, every_character_is_a_digit_or_not)
{
	for (int c = 0; c < 256; c++) {
		static const char digits[] = "0123456789abcdef0123456789ABCDEF";
		const char *at = c ? strchr(digits, c) : NULL;
		int want = at ? (int)(at - digits) & 15 : -1;
		cr_assert_eq(hex_value((char)c), want, "%d", c);
	}
}

Test(hex, reads_what_was_written)
{
	unsigned char bytes[4];
	cr_assert(hex_read("00fFa907", bytes, 4));
	cr_assert(memcmp(bytes, "\x00\xff\xa9\x07", 4) == 0);
	cr_assert_not(hex_read("00fg", bytes, 2));
	cr_assert_not(hex_read("0 ff", bytes, 2));
}
