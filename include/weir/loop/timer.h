/* SPDX-License-Identifier: MIT */
/*
 * Timeouts by the million: a hierarchical timing wheel (Varghese and Lauck,
 * SOSP 1987) with lazy re-arming.  Setting a deadline later than the one a
 * timer is filed under is one store; the wheel looks again when the filed time
 * comes and files it anew.  Clearing is one store, too.  A connection that is
 * busy therefore costs no list operation at all.
 *
 * Timers live inside type-stable objects (slabs).  A cleared timer may stay
 * filed while its object lies in the free list: the object's memory must not be
 * overwritten there, other than by its next owner through timer_set.  Memory
 * that goes back to the heap needs timer_del first.
 *
 * Resolution is one tick of 4.096 ms; a timer never fires early.  One thread.
 */
#ifndef WEIR_LOOP_TIMER_H
#define WEIR_LOOP_TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TIMER_TICK_SHIFT 12
#define TIMER_LEVELS 7
#define TIMER_SLOTS 64

struct timer {
	struct timer *next; /* NULL: not filed */
	struct timer **pprev;
	uint64_t filed;       /* tick the wheel looks at it */
	uint64_t deadline_us; /* 0: cleared */
	/* Called with the deadline already cleared; may set it again and may free the object. */
	void (*fn)(struct timer *timer);
};

struct timer_wheel {
	uint64_t tick; /* all timers filed up to here have been looked at */
	uint64_t used[TIMER_LEVELS];
	struct timer *slots[TIMER_LEVELS][TIMER_SLOTS];
	bool dirty; /* something was filed since timer_wheel_next */
};

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_us);

/* Looks at everything due; calls back what has expired. */
void timer_wheel_run(struct timer_wheel *wheel, uint64_t now_us);

/* When to run it next, or UINT64_MAX; clears `dirty`. */
uint64_t timer_wheel_next(struct timer_wheel *wheel);

void timer_file(struct timer_wheel *wheel, struct timer *timer, uint64_t tick);

/* Tick at or after which the deadline has certainly passed. */
static inline uint64_t timer_tick_of(uint64_t deadline_us)
{
	return (deadline_us >> TIMER_TICK_SHIFT) + 1;
}

static inline void timer_set(struct timer_wheel *wheel, struct timer *timer, uint64_t deadline_us)
{
	uint64_t tick = timer_tick_of(deadline_us);
	timer->deadline_us = deadline_us;
	if (timer->pprev == NULL || timer->filed > tick)
		timer_file(wheel, timer, tick);
}

static inline void timer_clear(struct timer *timer)
{
	timer->deadline_us = 0;
}

static inline bool timer_is_set(const struct timer *timer)
{
	return timer->deadline_us != 0;
}

/* Clears it and takes it out of the wheel. */
void timer_del(struct timer *timer);

#endif
