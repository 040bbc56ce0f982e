/* SPDX-License-Identifier: MIT */
/*
 * The retry budget in Finagle's form: over 10 s a fifth of the requests, and
 * ten a second in any case.
 */
#include <criterion/criterion.h>

#include "world.h"

static struct world world;
static struct world_gen gen;

static void begin(unsigned n_workers)
{
	world_init(&world, n_workers, 1);
	world_build(&world, &gen);
}

static void finish(void)
{
	world_release(&world, &gen);
	world_fini(&world);
}

/* One second: so many requests, so many attempts to retry; how many were allowed. */
static unsigned second(unsigned requests, unsigned wanted)
{
	static uint64_t now = 1000000;
	unsigned allowed = 0, n = world.n_workers;
	struct pool_state *state = gen.pool.state;
	for (unsigned i = 0; i < requests; i++)
		counter_add(&state->local[i % n]->counters.requests, 1);
	for (unsigned i = 0; i < wanted; i++) {
		if (!pool_retry_allowed(state))
			continue;
		counter_add(&state->local[i % n]->counters.retries, 1);
		allowed++;
	}
	pool_registry_tick(&world.reg, now += 1000000);
	return allowed;
}

Test(retry_budget, the_reserve_without_traffic)
{
	begin(1);
	unsigned n = second(0, 150);
	cr_expect_eq(n, 100, "it starts full");
	for (int i = 0; i < 9; i++)
		n += second(0, 1000);
	cr_expect_eq(n, 100);
	finish();
}

/* reference: all fail at 1000 requests a second: 2100 retries in 10 s, not 10 000 */
Test(retry_budget, all_fail_at_a_thousand_a_second)
{
	unsigned per_second[60], n = 0;
	begin(2);
	for (int i = 0; i < 60; i++) {
		per_second[i] = second(1000, 1000);
		n += per_second[i];
	}
	cr_expect_geq(n, 60 / 10 * 1800);
	for (int i = 20; i + 10 <= 60; i++) {
		unsigned window = 0;
		for (int k = 0; k < 10; k++)
			window += per_second[i + k];
		cr_expect_leq(window, 2100, "10 s from second %d: %u", i, window);
		cr_expect_geq(window, 1800, "10 s from second %d: %u", i, window);
	}
	finish();
}

Test(retry_budget, what_was_not_used_expires)
{
	begin(1);
	for (int i = 0; i < 10; i++)
		second(1000, 0);
	for (int i = 0; i < 10; i++)
		second(0, 0);
	cr_expect_eq(second(0, 100000), 100, "only the reserve is left");
	finish();
}

Test(retry_budget, without_a_share_only_the_reserve)
{
	world_init(&world, 1, 1);
	world.conf.retry.budget = 0;
	world_build(&world, &gen);
	for (int i = 0; i < 10; i++)
		second(10000, 0);
	cr_expect_eq(second(10000, 5000), 100);
	finish();
}

Test(retry_budget, a_denied_retry_costs_nothing)
{
	begin(1);
	while (pool_retry_allowed(gen.pool.state))
		;
	int32_t before = atomic_load(&gen.pool.state->retry_tokens);
	for (int i = 0; i < 1000; i++)
		cr_expect_not(pool_retry_allowed(gen.pool.state));
	cr_expect_eq(atomic_load(&gen.pool.state->retry_tokens), before);
	finish();
}

Test(retry_budget, survives_a_reload_that_changes_its_share)
{
	struct world_gen next;
	begin(1);
	for (int i = 0; i < 10; i++)
		second(1000, 0);
	world.conf.retry.budget = 0.5;
	world_build(&world, &next);
	second(0, 0);
	/* eight seconds of 1000 are left in the window */
	cr_expect_eq(second(0, 100000), 4000 + 100);
	world_release(&world, &next);
	finish();
}
