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
 * A turn:   poll --> letters, what is readable or writable --> timers
 *             ^                                                  |
 *             |                                                  v
 *             +-- on_turn_end <-- what the turn before put off --+
 *
 * Timers come after what has arrived: whoever answered in time, while this thread was
 * busy, is heard before anybody finds it late.
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
#include "weir/base/list.h"
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

/*
 * Work put off to the next turn: embedded in what it concerns.  Events that are fed to
 * libev inside a callback come in the same turn, the last one first: whoever goes on that
 * way lets nobody else have a turn.
 */
struct deferred {
	struct list link;
	void (*fn)(struct deferred *deferred);
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
	struct list put_off, due; /* struct deferred: in this turn, in the one before */
	bool running_due;         /* what is called now was put off, or follows from it */
	ev_idle unblock;          /* runs while something is due: the loop does not block */
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

/*
 * Calls deferred->fn once in the next turn, after everything that arrived by then; no
 * matter how often it is asked for meanwhile.
 */
void loop_next_turn(struct loop *loop, struct deferred *deferred);

static inline void deferred_init(struct deferred *deferred, void (*fn)(struct deferred *deferred))
{
	list_init(&deferred->link);
	deferred->fn = fn;
}

static inline bool deferred_is_set(const struct deferred *deferred)
{
	return list_is_linked(&deferred->link);
}

static inline void deferred_clear(struct deferred *deferred)
{
	list_del(&deferred->link);
}

/* Sets or moves a timer relative to the turn's time. */
static inline void loop_timer(struct loop *loop, struct timer *timer, uint64_t after_us)
{
	timer_set(&loop->timers, timer, loop->now_us + after_us);
}

#endif
