/* SPDX-License-Identifier: MIT */
/* Overload is what stands, not what passes.  A fake clock in milliseconds. */
#include <criterion/criterion.h>

#include "weir/pool/codel.h"

#define MS(n) (UINT64_C(1000) * (n))
#define TARGET MS(5)
#define START MS(1000000)

/* Looks once a millisecond from..to, at an oldest that has waited `age`; sheds in between. */
static unsigned looks(struct codel *c, unsigned from, unsigned to, unsigned age)
{
	unsigned n = 0;
	for (unsigned at = from; at < to; at++)
		n += codel_look(c, TARGET, START + MS(at), MS(age));
	return n;
}

Test(codel, constant_waits_above_the_target_are_overload_after_an_interval)
{
	struct codel c = {0};
	cr_expect_eq(looks(&c, 0, 100, 8), 0);
	cr_expect_not(c.overloaded);
	cr_expect_not(codel_look(&c, TARGET, START + MS(100), MS(8)), "the first of an interval");
	cr_expect(c.overloaded);
	cr_expect(codel_look(&c, TARGET, START + MS(101), MS(8)));
}

Test(codel, one_short_wait_clears_it)
{
	struct codel c = {0};
	looks(&c, 0, 102, 8);
	cr_assert(c.overloaded);
	cr_expect_not(codel_look(&c, TARGET, START + MS(103), MS(4)));
	cr_expect_not(c.overloaded);
	/* and the rest of this interval and the next do not bring it back */
	cr_expect_eq(looks(&c, 104, 210, 8), 0);
	cr_expect_not(c.overloaded);
	cr_expect_neq(looks(&c, 210, 320, 8), 0, "a whole one does");
}

Test(codel, waits_at_the_target_are_fine)
{
	struct codel c = {0};
	cr_expect_eq(looks(&c, 0, 1000, 5), 0);
	cr_expect_not(c.overloaded);
}

Test(codel, a_burst_that_drains_is_no_overload)
{
	struct codel c = {0};
	for (unsigned at = 0; at < 90; at++)
		cr_expect_not(codel_look(&c, TARGET, START + MS(at), MS(at)));
	cr_expect_not(codel_look(&c, TARGET, START + MS(91), 0));
	cr_expect_eq(looks(&c, 100, 190, 60), 0);
}

Test(codel, what_was_long_ago_does_not_count)
{
	struct codel c = {0};
	looks(&c, 0, 99, 8);
	cr_expect_not(codel_look(&c, TARGET, START + MS(900), MS(8)));
	cr_expect_not(c.overloaded, "nobody looked for 800 ms");
}

Test(codel, a_long_target_has_a_long_interval)
{
	cr_expect_eq(codel_interval_us(MS(5)), MS(100));
	cr_expect_eq(codel_interval_us(MS(250)), MS(1000));
}
