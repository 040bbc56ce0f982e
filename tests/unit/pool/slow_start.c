/* SPDX-License-Identifier: MIT */
/*
 * Slow start in a simulated pool, for every strategy there is: open-loop arrivals, one
 * event after the other by a clock of the test's own, and the load of the one that warms
 * up beside that of the others, all along its curve.
 */
#include <criterion/criterion.h>
#include <math.h>

#include "../../rounds.h"
#include "weir/base/hash.h"
#include "weir/base/rng.h"
#include "world.h"

#define WINDOW_US UINT64_C(20000000)
#define STEP_US UINT64_C(2000000)
#define REFRESH_US UINT64_C(100000)
#define RATE 20000 /* a second */
#define STALL_US 50000
#define IN_FLIGHT 4096

static struct world world;
static struct world_gen gen;
static struct rng rng;
static uint64_t gap_us = 1000000 / RATE;
static uint32_t stall_one_in; /* answers; 0: none */

/* Those under way, by when they end: a binary heap. */
static struct flying {
	uint64_t end_us, took_us;
	struct lease lease;
} heap[IN_FLIGHT];
static size_t n_flying;

static void swap(size_t a, size_t b)
{
	struct flying t = heap[a];
	heap[a] = heap[b];
	heap[b] = t;
}

static void push(const struct flying *f)
{
	cr_assert_lt(n_flying, IN_FLIGHT);
	heap[n_flying] = *f;
	for (size_t i = n_flying++; i && heap[i].end_us < heap[(i - 1) / 2].end_us; i = (i - 1) / 2)
		swap(i, (i - 1) / 2);
}

static void drop_first(void)
{
	lease_drop(&heap[0].lease, false, heap[0].took_us);
	heap[0] = heap[--n_flying];
	for (size_t i = 0;;) {
		size_t least = i;
		for (size_t c = 2 * i + 1; c <= 2 * i + 2 && c < n_flying; c++)
			least = heap[c].end_us < heap[least].end_us ? c : least;
		if (least == i)
			return;
		swap(i, least);
		i = least;
	}
}

static void begin(const char *strategy, size_t n)
{
	world_init(&world, 1, n);
	rng_init(&rng, n);
	rng_init(&world.pws[0].rng, n); /* the same draws each time */
	world.loops[0].now_us = 1000000000;
	world.conf.balance = view_str(strategy);
	world.conf.hash.fallback = VIEW("auto");
	world.conf.slow_start_us = WINDOW_US;
	world_build(&world, &gen);
	pool_view_refresh(&gen.views[0]);
}

static void end(void)
{
	while (n_flying)
		drop_first();
	world_release(&world, &gen);
	world_fini(&world);
}

/* For so long; what each got. */
static void run(uint64_t us, bool keyed, unsigned counts[])
{
	uint64_t *now = &world.loops[0].now_us, until = *now + us;
	for (; *now < until; *now += gap_us) {
		if (*now / REFRESH_US != (*now - gap_us) / REFRESH_US)
			pool_view_refresh(&gen.views[0]);
		while (n_flying && heap[0].end_us <= *now)
			drop_first();
		struct flying f = {.took_us = 500 + rng_below(&rng, 1000)};
		if (stall_one_in && rng_below(&rng, stall_one_in) == 0)
			f.took_us = STALL_US;
		uint64_t key = keyed ? rng_next(&rng) | 1 : 0;
		cr_assert_eq(pool_take(&gen.views[0], &world.pws[0], NULL, key, &f.lease),
			     POOL_TAKEN);
		counts[f.lease.index]++;
		f.end_us = *now + f.took_us;
		push(&f);
	}
}

/* Pools of 4 and 12, of which the first are enough where memory is what is looked at. */
#define N_MOST ROUNDS(12, 4)

/* Of what one of the others got. */
static double load_of(const unsigned counts[], size_t n, size_t who)
{
	unsigned others = 0;
	for (size_t i = 0; i < n; i++)
		others += i == who ? 0 : counts[i];
	return (double)counts[who] * (double)(n - 1) / others;
}

static double curve(uint64_t from_us, uint64_t to_us)
{
	double sum = 0, at;
	for (unsigned k = 0; k < 100; k++) {
		at = (double)from_us + (double)(to_us - from_us) * (k + 0.5) / 100;
		sum += fmin(fmax(at / (double)WINDOW_US, 0.1), 1);
	}
	return sum / 100;
}

/* `own`: its part of the keys. */
static void follow_curve(const char *what, size_t n, size_t who, double own)
{
	unsigned counts[WORLD_BACKENDS];
	bool keyed = gen.pool.strategy->needs & NEEDS_KEY;
	for (uint64_t at = 0; at < WINDOW_US + STEP_US; at += STEP_US) {
		memset(counts, 0, sizeof(counts));
		run(STEP_US, keyed, counts);
		double load = load_of(counts, n, who) / own, due = curve(at, at + STEP_US);
		cr_expect(fabs(load - due) < 0.05, "%s, %s, %zu backends, %llu s: %.3f, not %.3f",
			  gen.pool.strategy->keyword, what, n, (unsigned long long)(at / 1000000),
			  load, due);
	}
}

static void one(const struct strategy *strategy, size_t n, bool keyed)
{
	unsigned counts[WORLD_BACKENDS] = {0};
	begin(strategy->keyword, n);
	run(STEP_US, keyed, counts);
	/* how unevenly a hash deals */
	double own = keyed ? load_of(counts, n, 1) : 1;
	atomic_store(&gen.pool.backends[1]->ramp_from_us, world.loops[0].now_us);
	pool_view_refresh(&gen.views[0]);
	follow_curve("back", n, 1, own);
	end();
}

Test(slow_start, every_strategy_keeps_to_the_curve, .timeout = 300)
{
	for (size_t i = 0; strategies[i]; i++)
		for (size_t n = 4; n <= N_MOST; n += 8)
			one(strategies[i], n, strategies[i]->needs & NEEDS_KEY);
}

/* A generation in place of the last, while requests of that are under way. */
static void renew(struct world_gen *before)
{
	*before = gen;
	world_build(&world, &gen);
	pool_view_refresh(&gen.views[0]);
}

/* What the pool does once the newcomer has all of its share: how unevenly a hash deals. */
static double part_of(size_t n, size_t who)
{
	unsigned counts[WORLD_BACKENDS] = {0};
	uint64_t *now = &world.loops[0].now_us, from = *now;
	if (!(gen.pool.strategy->needs & NEEDS_KEY))
		return 1;
	*now += 2 * WINDOW_US;
	pool_view_refresh(&gen.views[0]);
	run(10 * STEP_US, true, counts);
	while (n_flying)
		drop_first();
	*now = from;
	pool_view_refresh(&gen.views[0]);
	return load_of(counts, n, who);
}

/* The last of n, by a reload or at run time. */
static void added(const struct strategy *strategy, size_t n, bool by_reload)
{
	unsigned counts[WORLD_BACKENDS] = {0};
	struct world_gen before;
	struct pool_override override = {.pool = VIEW("app"), .backend = VIEW("late"), .add = true};
	begin(strategy->keyword, n - 1);
	run(STEP_US, strategy->needs & NEEDS_KEY, counts);
	struct conf_backend late = {
	    .name = VIEW("late"), .address_text = VIEW("late"), .weight = 1};
	if (by_reload) {
		world.backends[n - 1] = late;
		world.conf.n_backends = n;
	} else {
		override.added = late;
		list_push_back(&world.overrides, &override.link);
	}
	renew(&before);
	cr_assert_eq(gen.pool.n, n);
	_Atomic uint64_t *from = &gen.pool.backends[n - 1]->ramp_from_us;
	cr_assert_neq(atomic_load(from), 0);
	atomic_store(from, world.loops[0].now_us); /* it has the time from the system */
	pool_view_refresh(&gen.views[0]);
	follow_curve(by_reload ? "by a reload" : "at run time", n, n - 1, part_of(n, n - 1));
	while (n_flying)
		drop_first();
	world_release(&world, &before);
	end();
}

Test(slow_start, who_is_added_keeps_to_the_curve, .timeout = 300)
{
	for (size_t i = 0; strategies[i]; i++)
		for (size_t n = 4; n <= N_MOST; n += 8) {
			added(strategies[i], n, true);
			added(strategies[i], n, false);
		}
}

/*
 * Answers stall now and then, as on a machine that has too much to do.  A strategy that remembers
 * latencies gives a backend that stalled little for a while; what one that warms up gets is at most
 * what the curve says, and the picks that it has not had, and hardly less.
 */
static void stalled(const struct strategy *strategy, size_t seed)
{
	const size_t n = 12;
	const double not_had = 16, late = 4;
	unsigned counts[WORLD_BACKENDS] = {0};
	begin(strategy->keyword, n);
	rng_init(&rng, seed);
	run(STEP_US, false, counts);
	gen.pool.backends[1]->memory = (struct strategy_memory){0};
	atomic_store(&gen.pool.backends[1]->ramp_from_us, world.loops[0].now_us);
	pool_view_refresh(&gen.views[0]);
	for (uint64_t at = 0; at < WINDOW_US; at += STEP_US) {
		memset(counts, 0, sizeof(counts));
		run(STEP_US, false, counts);
		double others = (double)(STEP_US / gap_us - counts[1]) / (double)(n - 1);
		double load = load_of(counts, n, 1), due = curve(at, at + STEP_US);
		cr_expect(load < due + 0.05 + not_had / others && load > due - 0.05 - late / others,
			  "%s, %zu, %llu s: %.3f, not %.3f", strategy->keyword, seed,
			  (unsigned long long)(at / 1000000), load, due);
	}
	end();
}

Test(slow_start, stalls_change_nothing, .timeout = 300)
{
	gap_us = 2000;
	stall_one_in = 300;
	for (size_t i = 0; strategies[i]; i++)
		for (size_t seed = 1; seed <= 5; seed++)
			if (!(strategies[i]->needs & NEEDS_KEY))
				stalled(strategies[i], seed);
}

/* So many more under way at this one. */
static void hold(uint32_t who, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct flying f = {0};
		cr_assert_eq(pool_take_pinned(&gen.views[0], &world.pws[0], who, &f.lease),
			     POOL_TAKEN);
		push(&f);
	}
}

/* Its one answer was slow, so the strategy would leave it out for long. */
Test(slow_start, who_was_left_out_is_owed_picks_unless_it_is_slow_itself)
{
	static const struct {
		unsigned others[3], own;
		bool gets;
	} rows[] = {
	    {{0, 0, 0}, 0, true},  {{3, 0, 0}, 1, true}, {{0, 0, 3}, 1, true},
	    {{1, 1, 0}, 1, false}, {{2, 2, 2}, 2, true}, {{1, 2, 2}, 2, false},
	    {{0, 0, 0}, 1, false}, {{8, 0, 1}, 3, true},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct lease lease;
		begin("peak-ewma", 4);
		atomic_store(&gen.pool.backends[3]->ramp_from_us,
			     world.loops[0].now_us - WINDOW_US / 2);
		pool_view_refresh(&gen.views[0]);
		hold(3, 1);
		heap[0].took_us = 1000000;
		drop_first();
		for (uint32_t k = 0; k < 3; k++)
			hold(k, rows[i].others[k]);
		hold(3, rows[i].own);
		gen.views[0].credits[3] = 4 * CREDIT_ONE;
		cr_assert_eq(pool_take(&gen.views[0], &world.pws[0], NULL, 0, &lease), POOL_TAKEN);
		cr_expect_eq(lease.index == 3, rows[i].gets, "%zu", i);
		lease_drop(&lease, false, 0);
		end();
	}
}

/* The keys it has at first it keeps, and gets more. */
Test(slow_start, keys_come_and_stay)
{
	bool had[1000] = {false};
	begin("maglev", 4);
	uint64_t from = world.loops[0].now_us;
	atomic_store(&gen.pool.backends[1]->ramp_from_us, from);
	for (unsigned share = 10; share <= 100; share += 30) {
		unsigned n = 0;
		world.loops[0].now_us = from + WINDOW_US * share / 100;
		pool_view_refresh(&gen.views[0]);
		for (unsigned k = 0; k < ARRAY_LEN(had); k++) {
			struct lease lease;
			uint64_t key = hash_mix(k + 1) | 1;
			cr_assert_eq(pool_take(&gen.views[0], &world.pws[0], NULL, key, &lease),
				     POOL_TAKEN);
			cr_expect(!had[k] || lease.index == 1, "key %u moved away again", k);
			had[k] = lease.index == 1;
			n += had[k];
			lease_drop(&lease, false, 0);
		}
		cr_expect_gt(n, share * 2 - 10);
	}
	end();
}

/* ---- who warms up ---- */

static bool warms_up(uint32_t i)
{
	return atomic_load(&gen.pool.backends[i]->ramp_from_us) != 0;
}

Test(slow_start, newcomers_warm_up_but_nobody_at_the_start)
{
	struct world_gen before;
	begin("auto", 3);
	world.backends[2].weight = 1;
	for (uint32_t i = 0; i < 3; i++)
		cr_expect_not(warms_up(i));
	before = gen;
	world.conf.n_backends = 4; /* by a reload */
	snprintf(world.names[3], sizeof(world.names[3]), "late");
	world.backends[3] = (struct conf_backend){
	    .name = view_str(world.names[3]), .address_text = VIEW("late"), .weight = 1};
	struct pool_override added = {
	    .pool = VIEW("app"),
	    .backend = VIEW("later"),
	    .add = true,
	    .added = {.name = VIEW("later"), .address_text = VIEW("later"), .weight = 1},
	};
	list_push_back(&world.overrides, &added.link); /* at run time */
	world_build(&world, &gen);
	world_release(&world, &before);
	for (uint32_t i = 0; i < 5; i++)
		cr_expect_eq(warms_up(i), i >= 3, "%u", i);
	end();
}

Test(slow_start, a_weight_of_0_that_is_raised_warms_up)
{
	struct world_gen before;
	world_init(&world, 1, 2);
	world.backends[1].weight = 0;
	world_build(&world, &gen);
	before = gen;
	world.backends[0].weight = 5; /* more work for one that works is nothing new */
	world.backends[1].weight = 1;
	world_build(&world, &gen);
	world_release(&world, &before);
	cr_expect_not(warms_up(0));
	cr_expect(warms_up(1));
	end();
}
