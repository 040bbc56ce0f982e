/* SPDX-License-Identifier: MIT */
/* Who is refused most is found among many who are refused once. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "filter/offenders.h"

Test(offenders, the_worst_come_first)
{
	static struct offenders o;
	struct rate_offender rows[OFFENDERS_MAX];
	for (uint64_t i = 0; i < 3000; i++) {
		char text[32];
		snprintf(text, sizeof(text), "one-%llu", (unsigned long long)i);
		offenders_note(&o, 1000 + i, view_str(text), i);
		offenders_note(&o, 1, VIEW("worst"), i);
		if (i % 2)
			offenders_note(&o, 2, VIEW("second"), i);
	}
	size_t n = offenders_read(&o, rows);
	cr_assert_eq(n, OFFENDERS_MAX);
	cr_expect(view_eq(view_of(rows[0].text, rows[0].text_len), VIEW("worst")));
	cr_expect_eq(rows[0].refused, 3000);
	cr_expect(view_eq(view_of(rows[1].text, rows[1].text_len), VIEW("second")));
	cr_expect_eq(rows[0].last_us, 2999);
	for (size_t i = 2; i < n; i++)
		cr_expect_eq(rows[i].refused, 1, "it took nothing over");
}

Test(offenders, long_texts_are_cut)
{
	static struct offenders o;
	struct rate_offender rows[OFFENDERS_MAX];
	char text[1000];
	memset(text, 'x', sizeof(text));
	offenders_note(&o, 1, view_of(text, sizeof(text)), 5);
	cr_assert_eq(offenders_read(&o, rows), 1);
	cr_expect_eq(rows[0].text_len, OFFENDER_TEXT_MAX);
}
