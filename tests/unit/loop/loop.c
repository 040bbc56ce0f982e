/* SPDX-License-Identifier: MIT */
/* The loop: letters, timers on the real clock, lag. */
#include <criterion/criterion.h>
#include <poll.h>

#include "weir/base/defs.h"
#include "weir/loop/loop.h"

static struct loop loop;

/* ---- letters ---- */

struct letter {
	struct mail mail;
	unsigned number;
	struct letter *reply; /* posted out of the callback */
};

static unsigned seen[16], n_seen;

static void on_letter(struct loop *l, struct mail *mail)
{
	struct letter *letter = container_of(mail, struct letter, mail);
	cr_assert_eq(l, &loop);
	seen[n_seen++] = letter->number;
	if (letter->reply)
		loop_post(l, &letter->reply->mail);
}

static void turn(void)
{
	for (int i = 0; i < 4; i++)
		ev_run(loop.ev, EVRUN_NOWAIT);
}

Test(loop, letters_arrive_in_order)
{
	struct letter letters[8];
	cr_assert_eq(loop_init(&loop, "test"), ERR_OK);
	for (unsigned i = 0; i < 8; i++) {
		letters[i] = (struct letter){.mail.fn = on_letter, .number = i};
		loop_post(&loop, &letters[i].mail);
	}
	cr_expect_eq(n_seen, 0, "not in the sender's turn");
	turn();
	cr_assert_eq(n_seen, 8);
	for (unsigned i = 0; i < 8; i++)
		cr_expect_eq(seen[i], i);
	turn();
	cr_expect_eq(n_seen, 8);
	loop_fini(&loop);
}

Test(loop, letters_out_of_letters)
{
	struct letter c = {.mail.fn = on_letter, .number = 3};
	struct letter b = {.mail.fn = on_letter, .number = 2};
	struct letter a = {.mail.fn = on_letter, .number = 1, .reply = &c};
	cr_assert_eq(loop_init(&loop, "test"), ERR_OK);
	loop_post(&loop, &a.mail);
	loop_post(&loop, &b.mail);
	turn();
	cr_assert_eq(n_seen, 3);
	for (unsigned i = 0; i < 3; i++)
		cr_expect_eq(seen[i], i + 1);
	/* the same letter may travel again */
	c.number = 4;
	loop_post(&loop, &c.mail);
	turn();
	cr_expect_eq(seen[3], 4);
	loop_fini(&loop);
}

static void on_stop(struct loop *l, struct mail *mail)
{
	(void)mail;
	loop_stop(l);
}

Test(loop, letters_wake_a_loop_that_blocks)
{
	struct mail stop = {.fn = on_stop};
	cr_assert_eq(loop_init(&loop, "test"), ERR_OK);
	loop_post(&loop, &stop);
	loop_run(&loop); /* hangs when the bell was not heard */
	loop_fini(&loop);
}

/* ---- timers ---- */

struct probe {
	struct timer timer;
	uint64_t due, fired_at;
	bool last;
};

static void on_timer(struct timer *timer)
{
	struct probe *p = container_of(timer, struct probe, timer);
	p->fired_at = clock_us();
	if (p->last)
		loop_stop(&loop);
}

Test(loop, timers_on_the_real_clock)
{
	static struct probe probes[20];
	cr_assert_eq(loop_init(&loop, "test"), ERR_OK);
	uint64_t began = loop.now_us;
	for (unsigned i = 0; i < 20; i++) {
		unsigned k = (i * 7) % 20;
		probes[k] = (struct probe){.timer.fn = on_timer, .due = 1 + k * 7000};
		probes[k].last = k == 19;
		loop_timer(&loop, &probes[k].timer, probes[k].due);
	}
	loop_run(&loop);
	for (unsigned i = 0; i < 20; i++) {
		cr_expect_geq(probes[i].fired_at, began + probes[i].due, "timer %u", i);
		if (i)
			cr_expect_geq(probes[i].fired_at, probes[i - 1].fired_at);
	}
	cr_expect_lt(probes[19].fired_at, began + 19 * 7000 + 1000000);
	loop_fini(&loop);
}

/* Armed inside a callback for a moment before what the loop would wait for. */
static struct probe sooner;

static void on_arm_sooner(struct timer *timer)
{
	(void)timer;
	loop_timer(&loop, &sooner.timer, 5000);
}

Test(loop, a_timer_set_by_a_timer)
{
	struct probe far = {.timer.fn = on_timer, .last = true};
	struct timer arm = {.fn = on_arm_sooner};
	sooner = (struct probe){.timer.fn = on_timer, .last = true};
	cr_assert_eq(loop_init(&loop, "test"), ERR_OK);
	loop_timer(&loop, &far.timer, 20000000);
	loop_timer(&loop, &arm, 5000);
	uint64_t began = clock_us();
	loop_run(&loop);
	cr_expect_neq(sooner.fired_at, 0);
	cr_expect_lt(clock_us() - began, 5000000);
	timer_del(&far.timer);
	loop_fini(&loop);
}

/* ---- the rest ---- */

static unsigned n_turn_ends;

static void on_turn_end(struct loop *l)
{
	(void)l;
	n_turn_ends++;
}

Test(loop, the_end_of_a_turn_is_announced)
{
	cr_assert_eq(loop_init(&loop, "test"), ERR_OK);
	loop.on_turn_end = on_turn_end;
	ev_run(loop.ev, EVRUN_NOWAIT);
	cr_expect_eq(n_turn_ends, 1);
	uint64_t before = loop.now_us;
	poll(NULL, 0, 2);
	ev_run(loop.ev, EVRUN_NOWAIT);
	cr_expect_eq(n_turn_ends, 2);
	cr_expect_geq(loop.now_us, before + 2000, "the turn has the time of its begin");
	loop_fini(&loop);
}

static void on_busy(struct loop *l, struct mail *mail)
{
	uint64_t until = clock_us() + 20000;
	(void)l;
	(void)mail;
	while (clock_us() < until)
		;
}

Test(loop, a_long_turn_is_seen_as_lag)
{
	struct mail busy = {.fn = on_busy};
	cr_assert_eq(loop_init(&loop, "test"), ERR_OK);
	loop_post(&loop, &busy);
	turn();
	uint64_t lag = atomic_load(&loop.lag_us), past = atomic_load(&loop.lag_max_us);
	cr_expect(lag >= 20000 || past >= 20000, "lag %llu us", (unsigned long long)lag);
	/* a second later it is that of the last full second */
	bool seen = past >= 20000;
	for (int i = 0; i < 300 && !seen; i++) {
		poll(NULL, 0, 10);
		ev_run(loop.ev, EVRUN_NOWAIT);
		seen = atomic_load(&loop.lag_max_us) >= 20000;
	}
	cr_expect(seen);
	loop_fini(&loop);
}

Test(loop, ending_twice_is_harmless)
{
	cr_assert_eq(loop_init(&loop, "test"), ERR_OK);
	loop_fini(&loop);
	loop_fini(&loop);
}
