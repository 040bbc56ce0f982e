/* SPDX-License-Identifier: MIT */
/* What a strategy is told of its pool's configuration, rounded to the next percent. */
#include <criterion/criterion.h>

#include "world.h"

Test(pool_options, are_told_in_percent_and_milliseconds)
{
	struct world w;
	struct world_gen gen;
	world_init(&w, 1, 2);
	w.conf.balance = VIEW("maglev");
	w.conf.hash.fallback = VIEW("p2c");
	w.conf.hash.bound = 1.256;
	w.conf.prequal.hot = 0.846;
	w.conf.peak_ewma.tau_us = 7000;
	world_build(&w, &gen);
	cr_expect_eq(gen.pool.options.bound_percent, 126);
	cr_expect_eq(gen.pool.options.hot_percent, 85);
	cr_expect_eq(gen.pool.options.tau_ms, 7);
	cr_expect_eq(gen.pool.fallback, strategy_find(VIEW("p2c")));
	world_release(&w, &gen);
	world_fini(&w);
}
