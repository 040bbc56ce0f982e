/* SPDX-License-Identifier: MIT */
/* The timer wheel with a clock of its own. */
#include <criterion/criterion.h>
#include <string.h>

#include "weir/base/defs.h"
#include "weir/base/rng.h"
#include "weir/loop/timer.h"

#define TICK (UINT64_C(1) << TIMER_TICK_SHIFT)

static struct timer_wheel wheel;
static uint64_t now;

struct probe {
	struct timer timer;
	unsigned n_fired;
	uint64_t fired_at;
};

static void on_probe(struct timer *timer)
{
	struct probe *p = container_of(timer, struct probe, timer);
	cr_assert(!timer_is_set(timer), "a timer is cleared before it is called");
	p->n_fired++;
	p->fired_at = now;
}

static struct probe probe(void)
{
	return (struct probe){.timer.fn = on_probe};
}

static void begin(uint64_t at)
{
	now = at;
	timer_wheel_init(&wheel, now);
}

static void run_at(uint64_t at)
{
	now = at;
	timer_wheel_run(&wheel, now);
}

/* As a loop does: sleeps until the wheel says, and not longer than `until`. */
static void sleep_until(uint64_t until)
{
	while (now < until) {
		uint64_t next = timer_wheel_next(&wheel);
		run_at(next < until && next > now ? next : next <= now ? now + 1 : until);
	}
}

Test(timer, never_early_and_soon_after)
{
	static const uint64_t after[] = {1,           TICK - 1,  TICK,      TICK + 1,
					 63 * TICK,   64 * TICK, 65 * TICK, 4096 * TICK,
					 4097 * TICK, 1000000,   30000000,  86400000000};
	static const uint64_t starts[] = {0, 1, TICK - 1, 63 * TICK, 64 * TICK - 1, 987654321987};
	for (size_t s = 0; s < ARRAY_LEN(starts); s++) {
		for (size_t i = 0; i < ARRAY_LEN(after); i++) {
			struct probe p = probe();
			uint64_t due = starts[s] + after[i];
			begin(starts[s]);
			timer_set(&wheel, &p.timer, due);
			sleep_until(due + 3 * TICK);
			cr_assert_eq(p.n_fired, 1);
			cr_assert_geq(p.fired_at, due);
			cr_assert_leq(p.fired_at, due + TICK + 1, "%llu after %llu",
				      (unsigned long long)after[i], (unsigned long long)starts[s]);
		}
	}
}

Test(timer, a_deadline_in_the_past_fires_at_the_next_look)
{
	struct probe p = probe();
	begin(1000 * TICK);
	timer_set(&wheel, &p.timer, 5);
	run_at(now);
	cr_expect_eq(p.n_fired, 0);
	run_at(now + TICK);
	cr_expect_eq(p.n_fired, 1);
}

Test(timer, moving_it_later_costs_nothing_and_holds)
{
	struct probe p = probe();
	begin(0);
	timer_set(&wheel, &p.timer, 10 * TICK);
	timer_wheel_next(&wheel);
	timer_set(&wheel, &p.timer, 500 * TICK);
	cr_expect_not(wheel.dirty, "nothing was filed anew");
	run_at(499 * TICK);
	cr_expect_eq(p.n_fired, 0);
	run_at(502 * TICK);
	cr_expect_eq(p.n_fired, 1);
}

Test(timer, moving_it_earlier_holds)
{
	struct probe p = probe();
	begin(0);
	timer_set(&wheel, &p.timer, 5000 * TICK);
	timer_set(&wheel, &p.timer, 10 * TICK);
	cr_expect_leq(timer_wheel_next(&wheel), 11 * TICK);
	run_at(12 * TICK);
	cr_expect_eq(p.n_fired, 1);
	run_at(6000 * TICK);
	cr_expect_eq(p.n_fired, 1);
}

Test(timer, cleared_and_set_again)
{
	struct probe p = probe(), q = probe();
	begin(0);
	timer_set(&wheel, &p.timer, 10 * TICK);
	timer_set(&wheel, &q.timer, 10 * TICK);
	timer_clear(&p.timer);
	timer_clear(&q.timer);
	cr_expect_not(timer_is_set(&p.timer));
	timer_set(&wheel, &q.timer, 20 * TICK); /* still filed at 10 */
	run_at(15 * TICK);
	cr_expect_eq(p.n_fired + q.n_fired, 0);
	run_at(22 * TICK);
	cr_expect_eq(p.n_fired, 0);
	cr_expect_eq(q.n_fired, 1);
}

Test(timer, deleted_timers_may_be_overwritten)
{
	struct probe p[3] = {probe(), probe(), probe()};
	begin(0);
	for (int i = 0; i < 3; i++)
		timer_set(&wheel, &p[i].timer, 10 * TICK);
	timer_del(&p[1].timer);
	timer_del(&p[1].timer);
	memset(&p[1], 0xee, sizeof(p[1]));
	run_at(20 * TICK);
	cr_expect_eq(p[0].n_fired, 1);
	cr_expect_eq(p[2].n_fired, 1);
	timer_del(&p[0].timer); /* long out of the wheel */
}

Test(timer, nothing_filed_nothing_to_wait_for)
{
	struct probe p = probe();
	begin(12345);
	cr_expect_eq(timer_wheel_next(&wheel), UINT64_MAX);
	run_at(now + 1000000000);
	timer_set(&wheel, &p.timer, now + 5000);
	cr_expect_leq(timer_wheel_next(&wheel), now + 5000 + TICK);
	sleep_until(now + 5000 + 2 * TICK);
	cr_expect_eq(p.n_fired, 1);
}

Test(timer, centuries_ahead)
{
	struct probe p = probe(), never = probe();
	begin(UINT64_C(86400000000) * 365);
	uint64_t due = now + UINT64_C(86400000000) * 365 * 300;
	timer_set(&wheel, &p.timer, due);
	timer_set(&wheel, &never.timer, UINT64_MAX);
	run_at(due - 1);
	cr_expect_eq(p.n_fired, 0);
	run_at(due + 2 * TICK);
	cr_expect_eq(p.n_fired, 1);
	cr_expect_eq(never.n_fired, 0);
}

/* ---- callbacks that touch the wheel ---- */

struct chain {
	struct timer timer;
	struct chain *other;
	uint64_t again;
	unsigned n_fired;
	enum { SET_SELF, CLEAR_OTHER, DELETE_OTHER, SET_OTHER } act;
};

static void on_chain(struct timer *timer)
{
	struct chain *c = container_of(timer, struct chain, timer);
	c->n_fired++;
	switch (c->act) {
	case SET_SELF:
		timer_set(&wheel, timer, now + c->again);
		break;
	case CLEAR_OTHER:
		timer_clear(&c->other->timer);
		break;
	case DELETE_OTHER:
		timer_del(&c->other->timer);
		break;
	case SET_OTHER:
		timer_set(&wheel, &c->other->timer, now + c->again);
		break;
	}
}

Test(timer, a_callback_that_sets_itself_again)
{
	struct chain c = {.timer.fn = on_chain, .act = SET_SELF};
	begin(0);
	timer_set(&wheel, &c.timer, TICK); /* `again` is 0: at once, which means the next tick */
	for (uint64_t t = 1; t <= 1000; t++)
		run_at(t * TICK);
	cr_expect_geq(c.n_fired, 450);
	cr_expect_leq(c.n_fired, 1000);
}

Test(timer, a_long_sleep_does_not_loop_for_ever)
{
	struct chain c = {.timer.fn = on_chain, .act = SET_SELF};
	begin(0);
	timer_set(&wheel, &c.timer, TICK);
	run_at(100000 * TICK);
	cr_expect_eq(c.n_fired, 1, "set again at the present, it is for the next look");
}

/* Both in one slot: whichever comes first takes the other one out. */
static unsigned pair_fires(unsigned act, uint64_t a_due, uint64_t b_due)
{
	struct chain a = {.timer.fn = on_chain, .act = act, .again = 50 * TICK};
	struct chain b = a;
	a.other = &b;
	b.other = &a;
	begin(0);
	timer_set(&wheel, &a.timer, a_due);
	timer_set(&wheel, &b.timer, b_due);
	run_at(40 * TICK);
	unsigned n = a.n_fired + b.n_fired;
	cr_assert_leq(a.n_fired, 1);
	cr_assert_leq(b.n_fired, 1);
	timer_del(&a.timer);
	timer_del(&b.timer);
	return n;
}

Test(timer, callbacks_that_touch_others_of_their_slot)
{
	cr_expect_eq(pair_fires(CLEAR_OTHER, 10 * TICK, 10 * TICK + 1), 1);
	cr_expect_eq(pair_fires(DELETE_OTHER, 10 * TICK, 10 * TICK + 1), 1);
	cr_expect_eq(pair_fires(SET_OTHER, 10 * TICK, 10 * TICK + 1), 1);
	cr_expect_eq(pair_fires(CLEAR_OTHER, 10 * TICK, 30 * TICK), 1);
	cr_expect_eq(pair_fires(DELETE_OTHER, 10 * TICK, 30 * TICK), 1);
	cr_expect_eq(pair_fires(SET_OTHER, 10 * TICK, 30 * TICK), 1);
}

/* ---- against a naive model ---- */

#define N 3000

static struct probe probes[N];
static uint64_t model[N]; /* deadline, 0: none */

static uint64_t random_delay(struct rng *rng)
{
	return rng_next(rng) >> (64 - 10 - rng_below(rng, 32)); /* 1 ms to 2^41 us, all sizes */
}

static void check_fired(uint64_t from, uint64_t to)
{
	for (int i = 0; i < N; i++) {
		if (probes[i].n_fired) {
			cr_assert_eq(probes[i].n_fired, 1);
			cr_assert_neq(model[i], 0, "timer %d was cleared", i);
			cr_assert_geq(probes[i].fired_at, model[i], "timer %d is early", i);
			probes[i].n_fired = 0;
			model[i] = 0;
		} else {
			/* one tick of grace, and a tick for what was set in the past */
			cr_assert(model[i] == 0 || model[i] + TICK > to ||
				      (from >> TIMER_TICK_SHIFT) == (to >> TIMER_TICK_SHIFT),
				  "timer %d is late: due %llu, now %llu", i,
				  (unsigned long long)model[i], (unsigned long long)to);
		}
	}
}

Test(timer, thousands_of_random_timers)
{
	struct rng rng;
	rng_init(&rng, 7);
	begin(rng_next(&rng) >> 20);
	for (int i = 0; i < N; i++)
		probes[i] = probe();
	for (int round = 0; round < 3000; round++) {
		for (int k = 0; k < 40; k++) {
			uint32_t i = rng_below(&rng, N), what = rng_below(&rng, 8);
			if (what == 0) {
				timer_clear(&probes[i].timer);
				model[i] = 0;
			} else if (what == 1) {
				timer_del(&probes[i].timer);
				model[i] = 0;
			} else {
				model[i] = now + 1 + random_delay(&rng);
				timer_set(&wheel, &probes[i].timer, model[i]);
			}
		}
		uint64_t next = timer_wheel_next(&wheel), from = now;
		uint64_t least = UINT64_MAX;
		for (int i = 0; i < N; i++)
			if (model[i] && model[i] < least)
				least = model[i];
		/* the wheel may look earlier than needed, never later than a tick after */
		cr_assert(least == UINT64_MAX || next <= least + TICK);
		run_at(now + random_delay(&rng) / (1 + rng_below(&rng, 1000)));
		check_fired(from, now);
	}
}
