/* SPDX-License-Identifier: MIT */
/* The loop: letters, timers on the real clock, lag. */
#include <criterion/criterion.h>
#include <poll.h>
#include <unistd.h>

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

/* ---- the next turn ---- */

static struct {
	struct deferred again, other;
	ev_io io;
	char order[32];
	size_t n;
} next;

static void next_note(char c)
{
	if (next.n < sizeof(next.order) - 1)
		next.order[next.n++] = c;
}

/* For ever: in each turn it asks for the next one. */
static void on_next_again(struct deferred *d)
{
	next_note('a');
	loop_next_turn(&loop, d);
	loop_next_turn(&loop, d);
}

static void on_next_other(struct deferred *d)
{
	(void)d;
	next_note('o');
}

static void on_next_io(struct ev_loop *ev, ev_io *io, int revents)
{
	(void)ev;
	(void)io;
	(void)revents;
	next_note('i');
	loop_next_turn(&loop, &next.other);
}

static int pipe_fds[2];

static void next_begin(void)
{
	memset(&next, 0, sizeof(next));
	cr_assert_eq(loop_init(&loop, "test"), ERR_OK);
	cr_assert_eq(pipe(pipe_fds), 0);
	cr_assert_eq(write(pipe_fds[1], "x", 1), 1);
	deferred_init(&next.again, on_next_again);
	deferred_init(&next.other, on_next_other);
	ev_io_init(&next.io, on_next_io, pipe_fds[0], EV_READ);
}

static void next_end(void)
{
	loop_fini(&loop);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

static void one_turn(void)
{
	ev_run(loop.ev, EVRUN_NOWAIT); /* it begins with the end of the turn before */
}

Test(loop, what_is_put_off_comes_once_a_turn_and_after_what_arrived)
{
	next_begin();
	loop_next_turn(&loop, &next.again);
	ev_io_start(loop.ev, &next.io);
	for (int i = 0; i < 4; i++)
		one_turn();
	cr_expect_str_eq(next.order, "iaioaiai");
	cr_expect(deferred_is_set(&next.again));
	deferred_clear(&next.again);
	deferred_clear(&next.other);
	ev_io_stop(loop.ev, &next.io);
	for (int i = 0; i < 3; i++)
		one_turn();
	cr_expect_eq(next.n, 8, "what was taken back does not come: %s", next.order);
	next_end();
}

static void on_next_stop(struct deferred *d)
{
	(void)d;
	loop_stop(&loop);
}

Test(loop, it_does_not_block_while_something_is_put_off, .timeout = 10)
{
	struct deferred stop;
	deferred_init(&stop, on_next_stop);
	cr_assert_eq(loop_init(&loop, "test"), ERR_OK);
	loop_next_turn(&loop, &stop);
	loop_run(&loop);
	cr_expect(!ev_is_active(&loop.unblock), "and blocks again afterwards");
	loop_fini(&loop);
}

static struct deferred slow[3];

static void on_slow(struct deferred *d)
{
	uint64_t until = clock_us() + 1000;
	(void)d;
	while (clock_us() < until)
		;
	next_note('s');
}

Test(loop, what_takes_long_leaves_a_turn_to_others)
{
	next_begin();
	for (size_t i = 0; i < ARRAY_LEN(slow); i++) {
		deferred_init(&slow[i], on_slow);
		loop_next_turn(&loop, &slow[i]);
	}
	ev_io_start(loop.ev, &next.io);
	for (int i = 0; i < 4; i++)
		one_turn();
	cr_expect_str_eq(next.order, "isisisi");
	deferred_clear(&next.other);
	next_end();
}

static void on_late(struct timer *timer)
{
	(void)timer;
	next_note('t');
}

/* The thread was busy past a deadline: what came in time is heard first. */
Test(loop, timers_come_after_what_has_arrived)
{
	struct timer late = {.fn = on_late};
	next_begin();
	one_turn();
	ev_io_start(loop.ev, &next.io);
	loop_timer(&loop, &late, 1000);
	one_turn();
	next.n = 0;
	poll(NULL, 0, 5);
	one_turn();
	next.order[next.n] = '\0';
	cr_expect_str_eq(next.order, "it");
	deferred_clear(&next.other);
	next_end();
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
