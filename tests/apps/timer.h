/* SPDX-License-Identifier: MIT */
/*
 * Timers with microsecond resolution.  libev on epoll rounds up to a
 * millisecond, too coarse for service times; here one timerfd serves a heap of
 * deadlines.  A timer lives inside its owner and fires once.
 */
#ifndef WEIR_APP_TIMER_H
#define WEIR_APP_TIMER_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

struct timer {
	uint64_t at_us;
	uint32_t pos; /* in the heap, from 1; 0: not running */
	void (*fire)(struct timer *timer);
};

bool timers_init(struct ev_loop *loop);

/* Starts, or moves when it runs already. */
void timer_start(struct timer *timer, uint64_t delay_us);
void timer_stop(struct timer *timer);

static inline bool timer_is_running(const struct timer *timer)
{
	return timer->pos != 0;
}

#endif
