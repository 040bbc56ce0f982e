/* SPDX-License-Identifier: MIT */
#include "timer.h"

#include <stdlib.h>
#include <sys/timerfd.h>

#include "weir/base/check.h"
#include "weir/base/clock.h"

static struct {
	struct timer **heap; /* [1..n], the earliest first */
	uint32_t n, cap;
	uint64_t armed_us; /* deadline the kernel knows; 0: none */
	ev_io io;
	int fd;
} timers;

static void place(struct timer *timer, uint32_t pos)
{
	timers.heap[pos] = timer;
	timer->pos = pos;
}

static void sift_up(struct timer *timer, uint32_t pos)
{
	while (pos > 1 && timers.heap[pos / 2]->at_us > timer->at_us) {
		place(timers.heap[pos / 2], pos);
		pos /= 2;
	}
	place(timer, pos);
}

static void sift_down(struct timer *timer, uint32_t pos)
{
	for (;;) {
		uint32_t child = pos * 2;
		if (child > timers.n)
			break;
		if (child < timers.n && timers.heap[child + 1]->at_us < timers.heap[child]->at_us)
			child++;
		if (timers.heap[child]->at_us >= timer->at_us)
			break;
		place(timers.heap[child], pos);
		pos = child;
	}
	place(timer, pos);
}

/*
 * A kernel timer that is too early only costs a wake-up, so it is armed anew
 * when an earlier deadline comes or when it has fired, never to move it back.
 */
static void arm(void)
{
	uint64_t at = timers.n ? timers.heap[1]->at_us : 0;
	if (at == 0 || (timers.armed_us && timers.armed_us <= at))
		return;
	timers.armed_us = at;
	struct itimerspec when = {
	    .it_value = {.tv_sec = (time_t)(at / 1000000), .tv_nsec = (long)(at % 1000000) * 1000},
	};
	check(timerfd_settime(timers.fd, TFD_TIMER_ABSTIME, &when, NULL) == 0);
}

static void on_timerfd(struct ev_loop *loop, ev_io *io, int events)
{
	(void)loop, (void)events;
	uint64_t n_expired;
	if (read(io->fd, &n_expired, sizeof(n_expired)) < 0)
		return;
	timers.armed_us = 0;
	uint64_t now = clock_us();
	while (timers.n && timers.heap[1]->at_us <= now) {
		struct timer *timer = timers.heap[1];
		timer_stop(timer);
		timer->fire(timer);
	}
	arm();
}

bool timers_init(struct ev_loop *loop)
{
	timers.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (timers.fd < 0)
		return false;
	ev_io_init(&timers.io, on_timerfd, timers.fd, EV_READ);
	ev_set_priority(&timers.io, EV_MAXPRI);
	ev_io_start(loop, &timers.io);
	return true;
}

void timer_start(struct timer *timer, uint64_t delay_us)
{
	timer_stop(timer);
	if (timers.n + 2 > timers.cap) {
		timers.cap = timers.cap ? timers.cap * 2 : 1024;
		timers.heap = realloc(timers.heap, timers.cap * sizeof(struct timer *));
		check(timers.heap != NULL);
	}
	timer->at_us = clock_us() + delay_us;
	sift_up(timer, ++timers.n);
	arm();
}

void timer_stop(struct timer *timer)
{
	uint32_t pos = timer->pos;
	if (pos == 0)
		return;
	timer->pos = 0;
	struct timer *last = timers.heap[timers.n--];
	if (last == timer)
		return;
	if (pos > 1 && timers.heap[pos / 2]->at_us > last->at_us)
		sift_up(last, pos);
	else
		sift_down(last, pos);
}
