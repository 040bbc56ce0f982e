/* SPDX-License-Identifier: MIT */
/*
 * The event loop of one thread: libev on epoll, a timer wheel, and a mailbox
 * through which other threads speak to it.
 *
 *   struct loop loop;
 *   loop_init(&loop, "worker 1");
 *   loop_run(&loop);            // until loop_stop
 *   loop_fini(&loop);
 *
 * Everything but loop_post belongs to the loop's own thread.
 */
#ifndef WEIR_LOOP_LOOP_H
#define WEIR_LOOP_LOOP_H

#include <ev.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "weir/base/clock.h"
#include "weir/base/err.h"
#include "weir/loop/timer.h"

struct loop;

/*
 * A letter: embedded in what it carries.  The receiver owns it from the moment
 * of posting; `fn` runs in the receiver's thread.
 */
struct mail {
	struct mail *next;
	void (*fn)(struct loop *loop, struct mail *mail);
};

struct loop {
	struct ev_loop *ev; /* owns */
	const char *name;
	uint64_t now_us; /* monotonic, read once per turn */
	struct timer_wheel timers;
	uint64_t wake_us; /* what the libev timer is set to */
	ev_check turn_start;
	ev_prepare turn_end;
	ev_timer wheel_timer;
	ev_async mail_async;
	/* called before the loop blocks; NULL: nothing */
	void (*on_turn_end)(struct loop *loop);
	void *owner; /* the worker or control this loop belongs to */
	/* readers in other threads, relaxed: for status only */
	_Atomic uint64_t lag_us;     /* longest turn of the current second */
	_Atomic uint64_t lag_max_us; /* longest turn of the last full second */
	uint64_t lag_second;
	uint64_t turn_began_us;
	uint64_t n_turns; /* begun since the start */
	/* writers: any thread, reader: this one */
	_Atomic(struct mail *) mailbox __attribute__((aligned(64)));
};

enum err loop_init(struct loop *loop, const char *name);
void loop_fini(struct loop *loop);
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/* Any thread: hands over a letter.  Letters of one sender arrive in order. */
void loop_post(struct loop *loop, struct mail *mail);

/*
 * Reads the letters that are there now; true when there were any.  The loop does
 * so by itself: this is for what is left when a loop has ended, by whoever
 * cleans up after its thread.
 */
bool loop_read_mail(struct loop *loop);

/* Sets or moves a timer relative to the turn's time. */
static inline void loop_timer(struct loop *loop, struct timer *timer, uint64_t after_us)
{
	timer_set(&loop->timers, timer, loop->now_us + after_us);
}

#endif
