/* SPDX-License-Identifier: MIT */
/* Tiers that overflow, panic, slow start and shares. */
#include <criterion/criterion.h>
#include <math.h>

#include "weir/base/bitset.h"
#include "weir/base/hash.h"
#include "world.h"

static struct world world;
static struct world_gen gen;

static void start(size_t n)
{
	world_init(&world, 1, n);
	world.loops[0].now_us = 1000000000;
}

static void finish(void)
{
	world_release(&world, &gen);
	world_fini(&world);
}

static void set_state(uint32_t i, enum backend_state state)
{
	atomic_store(&gen.pool.backends[i]->state, (uint8_t)state);
	pool_view_refresh(&gen.views[0]);
}

/* Counts by backend of `n` exchanges, one after the other. */
static void run(unsigned n, unsigned counts[])
{
	memset(counts, 0, gen.pool.n * sizeof(counts[0]));
	for (unsigned i = 0; i < n; i++) {
		struct lease lease;
		cr_assert_eq(pool_take(&gen.views[0], &world.pws[0], NULL, 0, &lease), POOL_TAKEN);
		counts[lease.index]++;
		lease_drop(&lease, false, 1000);
	}
}

/* `up` of ten in each tier; what Envoy's documentation says of priority levels. */
static const struct {
	unsigned tiers, up[3], load[3];
} overflows[] = {
    {2, {100, 100}, {100, 0}},
    {2, {75, 100}, {100, 0}},
    {2, {50, 100}, {70, 30}},
    {2, {25, 100}, {35, 65}},
    {2, {25, 25}, {50, 50}},
    {2, {0, 100}, {0, 100}},
    {3, {25, 25, 20}, {36, 36, 28}},
    {3, {25, 25, 25}, {35, 35, 30}},
    {3, {0, 0, 100}, {0, 0, 100}},
    {3, {50, 0, 100}, {70, 0, 30}},
    {2, {0, 0}, {0, 0}},
};

Test(eligible, tiers_overflow)
{
	for (size_t c = 0; c < sizeof(overflows) / sizeof(overflows[0]); c++) {
		start(60); /* 20 a tier: 5 % each */
		world.conf.panic = 0;
		world.conf.n_backends = overflows[c].tiers * 20;
		for (uint32_t i = 0; i < world.conf.n_backends; i++)
			world.backends[i].priority = (uint8_t)(i / 20);
		world_build(&world, &gen);
		for (uint32_t i = 0; i < world.conf.n_backends; i++)
			if (i % 20 >= overflows[c].up[i / 20] / 5)
				set_state(i, BACKEND_down);
		uint8_t load[3];
		uint64_t bits[BITSET_WORDS(60)] = {0};
		pool_candidates(&gen.pool, bits, load);
		for (unsigned t = 0; t < overflows[c].tiers; t++)
			cr_assert(abs((int)load[t] - (int)overflows[c].load[t]) <= 1,
				  "case %zu tier %u: %u", c, t, load[t]);
		finish();
	}
}

Test(eligible, an_overflow_is_shared_in_proportion)
{
	unsigned counts[4];
	start(4);
	world.backends[2].priority = world.backends[3].priority = 1;
	world_build(&world, &gen);
	set_state(0, BACKEND_maintenance);
	run(10000, counts);
	cr_expect_eq(counts[0], 0);
	cr_expect(abs((int)counts[1] - 7000) < 250, "%u", counts[1]);
	cr_expect(abs((int)counts[2] - 1500) < 200, "%u", counts[2]);
	cr_expect(abs((int)counts[3] - 1500) < 200, "%u", counts[3]);
	finish();
}

/* ---- ejected ones, when nobody else is left ---- */

static void eject(uint32_t i, bool well)
{
	atomic_store(&gen.pool.backends[i]->resort, well);
	set_state(i, BACKEND_ejected);
}

static enum pool_verdict take_but(const struct pool_tried *tried, uint32_t *index)
{
	struct lease lease;
	enum pool_verdict verdict = pool_take(&gen.views[0], &world.pws[0], tried, 0, &lease);
	if (verdict == POOL_TAKEN) {
		*index = lease.index;
		lease_drop(&lease, false, 1000);
	}
	return verdict;
}

Test(eligible, an_ejected_one_that_may_be_well_is_better_than_nobody)
{
	unsigned counts[4];
	uint32_t index;
	start(4);
	world.backends[3].weight = 0;
	world_build(&world, &gen);
	set_state(0, BACKEND_down);
	eject(1, true);
	run(10, counts);
	cr_expect_eq(counts[2], 10, "while there is another, it stays out");
	eject(3, true); /* its weight is 0 */
	set_state(2, BACKEND_draining);
	run(10, counts);
	cr_expect_eq(counts[1], 10);
	eject(1, false); /* nobody knows whether it is well */
	cr_expect_eq(take_but(NULL, &index), POOL_EMPTY);
	eject(1, true);
	set_state(2, BACKEND_up);
	run(10, counts);
	cr_expect_eq(counts[2], 10, "and goes when there is one again");
	finish();
}

Test(eligible, those_who_stand_by_come_before_the_ejected)
{
	unsigned counts[4];
	start(4);
	world.backends[2].priority = world.backends[3].priority = 1;
	world_build(&world, &gen);
	eject(0, true);
	set_state(1, BACKEND_down);
	run(100, counts);
	cr_expect_eq(counts[2] + counts[3], 100);
	set_state(2, BACKEND_down);
	eject(3, true);
	run(100, counts);
	cr_expect_eq(counts[0] + counts[3], 100);
	cr_expect_geq(counts[0], 50, "the first tier is still the first");
	finish();
}

/* The only one that is up refuses connections, and no check has found out yet. */
Test(eligible, the_ejected_take_over_while_nobody_can_be_reached)
{
	unsigned counts[2];
	start(2);
	world_build(&world, &gen);
	eject(0, true);
	for (unsigned i = 0; i < POOL_REFUSED_MAX; i++)
		pool_note_refused(&gen.views[0], &world.pws[0], gen.pool.backends[1]);
	run(10, counts);
	cr_expect_eq(counts[0], 10);
	cr_expect(pool_view_refresh(&gen.views[0]), "it is looked at again");
	world.loops[0].now_us += POOL_AVOID_US + 1;
	cr_expect_not(pool_view_refresh(&gen.views[0]));
	run(10, counts);
	cr_expect_eq(counts[1], 10);
	finish();
}

/* Both have refused a moment ago: the ejected one may be back, and is asked as often. */
Test(eligible, the_ejected_help_while_nobody_at_all_can_be_reached)
{
	unsigned counts[2];
	start(2);
	world_build(&world, &gen);
	for (unsigned i = 0; i < 2 * POOL_REFUSED_MAX; i++)
		pool_note_refused(&gen.views[0], &world.pws[0], gen.pool.backends[i % 2]);
	eject(0, true);
	run(10, counts);
	cr_expect_eq(counts[0], 5);
	cr_expect_eq(counts[1], 5);
	finish();
}

/* It refused connections a moment ago, and is back. */
Test(eligible, who_has_tried_all_others_may_try_one_that_is_avoided)
{
	uint32_t index = 9;
	start(2);
	world_build(&world, &gen);
	for (unsigned i = 0; i < POOL_REFUSED_MAX; i++)
		pool_note_refused(&gen.views[0], &world.pws[0], gen.pool.backends[0]);
	for (unsigned i = 0; i < 4; i++) {
		cr_expect_eq(take_but(NULL, &index), POOL_TAKEN);
		cr_expect_eq(index, 1);
	}
	struct pool_tried tried = {.index = {1}, .n = 1};
	cr_expect_eq(take_but(&tried, &index), POOL_TAKEN);
	cr_expect_eq(index, 0);
	finish();
}

Test(eligible, who_has_tried_all_others_may_try_an_ejected_one)
{
	uint32_t index = 9;
	start(3);
	world.conf.balance = VIEW("least-request");
	world_build(&world, &gen);
	eject(0, true);
	struct pool_tried tried = {.index = {1}, .n = 1};
	cr_expect_eq(take_but(&tried, &index), POOL_TAKEN);
	cr_expect_eq(index, 2);
	tried = (struct pool_tried){.index = {1, 2}, .n = 2, .choosy = true};
	cr_expect_eq(take_but(&tried, &index), POOL_EMPTY);
	tried.choosy = false;
	cr_expect_eq(take_but(&tried, &index), POOL_TAKEN);
	cr_expect_eq(index, 0);
	tried = (struct pool_tried){.index = {1, 2, 0}, .n = 3};
	cr_expect_eq(take_but(&tried, &index), POOL_EMPTY);
	finish();
}

Test(eligible, panic_below_half)
{
	unsigned counts[10];
	start(10);
	world_build(&world, &gen);
	for (uint32_t i = 0; i < 5; i++)
		set_state(i, BACKEND_down);
	cr_expect_not(gen.views[0].panicked);
	run(100, counts);
	for (uint32_t i = 0; i < 10; i++)
		cr_expect_eq(counts[i], i < 5 ? 0 : 20);
	set_state(5, BACKEND_ejected);
	cr_expect(gen.views[0].panicked);
	run(100, counts);
	for (uint32_t i = 0; i < 10; i++)
		cr_expect_eq(counts[i], 10);
	/* what an operator took out stays out, and does not count */
	set_state(9, BACKEND_draining);
	run(90, counts);
	for (uint32_t i = 0; i < 10; i++)
		cr_expect_eq(counts[i], i == 9 ? 0 : 10);
	finish();
}

Test(eligible, no_panic_when_off_small_or_others_carry_it)
{
	unsigned counts[12];
	start(10);
	world.conf.panic = 0;
	world_build(&world, &gen);
	for (uint32_t i = 0; i < 9; i++)
		set_state(i, BACKEND_down);
	run(10, counts);
	cr_expect_eq(counts[9], 10);
	finish();

	start(5);
	world_build(&world, &gen);
	for (uint32_t i = 0; i < 4; i++)
		set_state(i, BACKEND_down);
	run(10, counts);
	cr_expect_eq(counts[4], 10);
	finish();

	start(12);
	for (uint32_t i = 6; i < 12; i++)
		world.backends[i].priority = 1;
	world_build(&world, &gen);
	for (uint32_t i = 0; i < 5; i++)
		set_state(i, BACKEND_down);
	cr_expect_not(gen.views[0].panicked, "the second tier is healthy");
	finish();
}

Test(eligible, a_health_share_is_a_share_of_the_picks)
{
	static const char *const balances[] = {"round-robin", "auto", "random"};
	for (int b = 0; b < 3; b++) {
		unsigned counts[4];
		start(4);
		world.conf.balance = view_str(balances[b]);
		world_build(&world, &gen);
		atomic_store(&gen.pool.backends[2]->health_share, SHARE_FULL / 4);
		cr_expect_not(pool_view_refresh(&gen.views[0]));
		run(16000, counts);
		cr_expect(abs((int)counts[2] - 1150) < 250, "%s: %u", balances[b], counts[2]);
		cr_expect(abs((int)counts[0] - 4950) < 400, "%s: %u", balances[b], counts[0]);
		/* alone it takes everything */
		set_state(0, BACKEND_down);
		set_state(1, BACKEND_down);
		set_state(3, BACKEND_down);
		run(100, counts);
		cr_expect_eq(counts[2], 100);
		finish();
	}
}

/* One that answers at once beside those that all have something to do. */
static void run_beside_busy(unsigned n, unsigned counts[])
{
	struct lease busy[64];
	for (size_t i = 0; i < 64; i++)
		busy[i].backend = NULL;
	memset(counts, 0, gen.pool.n * sizeof(counts[0]));
	for (unsigned i = 0; i < n; i++) {
		struct lease lease, *slot = &busy[i % 64];
		cr_assert_eq(pool_take(&gen.views[0], &world.pws[0], NULL, 0, &lease), POOL_TAKEN);
		counts[lease.index]++;
		world.loops[0].now_us += 1000;
		if (lease.index == 2) {
			lease_drop(&lease, false, 100);
			continue;
		}
		if (slot->backend)
			lease_drop(slot, false, 64000);
		*slot = lease;
	}
	for (size_t i = 0; i < 64; i++)
		if (busy[i].backend)
			lease_drop(&busy[i], false, 64000);
}

Test(eligible, who_is_held_has_its_part_and_no_more)
{
	for (size_t s = 0; strategies[s]; s++) {
		unsigned counts[4];
		if (strategies[s]->needs & NEEDS_KEY)
			continue;
		start(4);
		world.conf.balance = view_str(strategies[s]->keyword);
		world_build(&world, &gen);
		atomic_store(&gen.pool.backends[2]->odd.held, true);
		pool_view_refresh(&gen.views[0]);
		run_beside_busy(4000, counts);
		cr_expect(counts[2] <= 1000 + 16, "%s: %u", strategies[s]->keyword, counts[2]);
		set_state(0, BACKEND_down);
		set_state(1, BACKEND_down);
		set_state(3, BACKEND_down);
		run(100, counts);
		cr_expect_eq(counts[2], 100);
		finish();
	}
}

Test(eligible, who_is_held_keeps_its_keys)
{
	start(4);
	world.conf.balance = VIEW("maglev");
	world.conf.hash.fallback = VIEW("auto");
	world_build(&world, &gen);
	for (uint64_t key = 1; key <= 2000; key++) {
		struct lease before, held;
		atomic_store(&gen.pool.backends[2]->odd.held, false);
		pool_view_refresh(&gen.views[0]);
		pool_take(&gen.views[0], &world.pws[0], NULL, hash_mix(key), &before);
		atomic_store(&gen.pool.backends[2]->odd.held, true);
		pool_view_refresh(&gen.views[0]);
		pool_take(&gen.views[0], &world.pws[0], NULL, hash_mix(key), &held);
		cr_expect_eq(before.index, held.index);
		lease_drop(&before, false, 1000);
		lease_drop(&held, false, 1000);
	}
	finish();
}

/* Envoy's formula: floor of a tenth, then linear. */
Test(eligible, slow_start)
{
	static const unsigned times[][2] = {{0, 25},  {1, 25},   {6, 25},
					    {15, 64}, {30, 128}, {45, 192}};
	unsigned counts[4];
	start(4);
	world.conf.slow_start_us = 60000000;
	world_build(&world, &gen);
	cr_expect_not(pool_view_refresh(&gen.views[0]), "nobody warms up at the start");
	uint64_t from = world.loops[0].now_us;
	atomic_store(&gen.pool.backends[1]->ramp_from_us, from);
	for (size_t t = 0; t < sizeof(times) / sizeof(times[0]); t++) {
		world.loops[0].now_us = from + times[t][0] * 1000000;
		cr_expect(pool_view_refresh(&gen.views[0]), "another look is due");
		cr_expect_eq(gen.views[0].shares[1], times[t][1], "%u s: %u", times[t][0],
			     gen.views[0].shares[1]);
		run(10000, counts);
		double due = 10000.0 * times[t][1] / (3 * SHARE_FULL + times[t][1]);
		cr_expect(fabs(counts[1] - due) < 5 * sqrt(2500), "%u s: %u", times[t][0],
			  counts[1]);
	}
	world.loops[0].now_us = from + 60000000;
	cr_expect_not(pool_view_refresh(&gen.views[0]));
	cr_expect(gen.views[0].plain);

	/* three of four warm up: there is nobody to spare them */
	for (uint32_t i = 0; i < 3; i++)
		atomic_store(&gen.pool.backends[i]->ramp_from_us, world.loops[0].now_us);
	cr_expect(pool_view_refresh(&gen.views[0]));
	cr_expect_not(gen.views[0].shared);
	finish();
}

Test(eligible, the_limit_warms_up_too)
{
	struct lease held[20];
	start(2);
	world.conf.slow_start_us = 60000000;
	world.conf.limits.requests = 10;
	world_build(&world, &gen);
	atomic_store(&gen.pool.backends[0]->ramp_from_us, world.loops[0].now_us);
	pool_view_refresh(&gen.views[0]);
	for (int i = 0; i < 11; i++)
		cr_assert_eq(pool_take(&gen.views[0], &world.pws[0], NULL, 0, &held[i]),
			     POOL_TAKEN);
	cr_expect_eq(in_flight_of(&gen, 0), 1);
	/* before anybody waits, it takes what it may */
	for (int i = 11; i < 20; i++)
		cr_assert_eq(pool_take(&gen.views[0], &world.pws[0], NULL, 0, &held[i]),
			     POOL_TAKEN);
	cr_expect_eq(in_flight_of(&gen, 0), 10);
	for (int i = 0; i < 20; i++)
		lease_drop(&held[i], false, 0);
	finish();
}
