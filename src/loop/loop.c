/* SPDX-License-Identifier: MIT */
/*
 * A turn of the loop: time once, letters, events, what was put off, then the ends that were
 * marked.
 */
#include "weir/loop/loop.h"

#include <stddef.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "weir/base/check.h"
#include "weir/base/defs.h"

/* What was put off may take so long in a turn: all others have theirs in between. */
#define DUE_US 250

/* First in a turn: priority above all I/O. */
static void on_turn_start(struct ev_loop *ev, ev_check *w, int revents)
{
	struct loop *loop = w->data;
	(void)ev;
	(void)revents;
	loop->now_us = loop->turn_began_us = clock_us();
	loop->n_turns++;
}

static void note_lag(struct loop *loop)
{
	uint64_t now = clock_us(), second = now / 1000000;
	uint64_t busy = loop->turn_began_us ? now - loop->turn_began_us : 0;
	if (second != loop->lag_second) {
		uint64_t last = atomic_load_explicit(&loop->lag_us, memory_order_relaxed);
		atomic_store_explicit(&loop->lag_max_us, last, memory_order_relaxed);
		atomic_store_explicit(&loop->lag_us, busy, memory_order_relaxed);
		loop->lag_second = second;
	} else if (busy > atomic_load_explicit(&loop->lag_us, memory_order_relaxed)) {
		atomic_store_explicit(&loop->lag_us, busy, memory_order_relaxed);
	}
}

static void set_wheel_timer(struct loop *loop)
{
	uint64_t next = timer_wheel_next(&loop->timers);
	if (next == loop->wake_us)
		return;
	loop->wake_us = next;
	ev_timer_stop(loop->ev, &loop->wheel_timer);
	if (next == UINT64_MAX)
		return;
	uint64_t now = clock_us();
	double after = next > now ? (double)(next - now) / 1e6 : 0;
	ev_now_update(loop->ev);
	ev_timer_set(&loop->wheel_timer, after, 0);
	ev_timer_start(loop->ev, &loop->wheel_timer);
}

/* ---- the next turn ---- */

void loop_next_turn(struct loop *loop, struct deferred *deferred)
{
	if (!deferred_is_set(deferred))
		list_push_back(&loop->put_off, &deferred->link);
}

static void on_unblock(struct ev_loop *ev, ev_idle *w, int revents)
{
	(void)ev;
	(void)w;
	(void)revents;
}

/* What is put off meanwhile is not due yet; what takes too long waits for one more turn. */
static void run_due(struct loop *loop)
{
	if (list_is_empty(&loop->due))
		return;
	uint64_t until = clock_us() + DUE_US;
	loop->running_due = true;
	do {
		struct deferred *d = list_first(&loop->due, struct deferred, link);
		list_del(&d->link);
		d->fn(d);
	} while (!list_is_empty(&loop->due) && clock_us() < until);
	loop->running_due = false;
}

/* What this turn put off is due in the next one, which must not wait for anybody. */
static void pass_on(struct loop *loop)
{
	while (!list_is_empty(&loop->put_off)) {
		struct list *link = loop->put_off.next;
		list_del(link);
		list_push_back(&loop->due, link);
	}
	bool any = !list_is_empty(&loop->due);
	if (any && !ev_is_active(&loop->unblock))
		ev_idle_start(loop->ev, &loop->unblock);
	else if (!any && ev_is_active(&loop->unblock))
		ev_idle_stop(loop->ev, &loop->unblock);
}

/* Last in a turn, before the loop blocks. */
static void on_turn_end(struct ev_loop *ev, ev_prepare *w, int revents)
{
	struct loop *loop = w->data;
	(void)ev;
	(void)revents;
	run_due(loop);
	if (loop->on_turn_end)
		loop->on_turn_end(loop);
	pass_on(loop);
	if (loop->timers.dirty)
		set_wheel_timer(loop);
	note_lag(loop);
}

static void on_wheel_timer(struct ev_loop *ev, ev_timer *w, int revents)
{
	struct loop *loop = w->data;
	(void)ev;
	(void)revents;
	loop->now_us = clock_us();
	timer_wheel_run(&loop->timers, loop->now_us);
	loop->wake_us = 0; /* whatever comes next differs */
	loop->timers.dirty = true;
}

bool loop_read_mail(struct loop *loop)
{
	/* the stack holds the newest first: turn it round */
	struct mail *stack = atomic_exchange_explicit(&loop->mailbox, NULL, memory_order_acquire);
	struct mail *first = NULL;
	while (stack) {
		struct mail *next = stack->next;
		stack->next = first;
		first = stack;
		stack = next;
	}
	bool any = first != NULL;
	while (first) {
		struct mail *mail = first;
		first = mail->next;
		mail->fn(loop, mail);
	}
	return any;
}

static void on_mail(struct ev_loop *ev, ev_async *w, int revents)
{
	(void)ev;
	(void)revents;
	loop_read_mail(w->data);
}

void loop_post(struct loop *loop, struct mail *mail)
{
	struct mail *head = atomic_load_explicit(&loop->mailbox, memory_order_relaxed);
	do {
		mail->next = head;
	} while (!atomic_compare_exchange_weak_explicit(
	    &loop->mailbox, &head, mail, memory_order_release, memory_order_relaxed));
	if (head == NULL) /* otherwise the one before has rung the bell */
		ev_async_send(loop->ev, &loop->mail_async);
}

enum err loop_init(struct loop *loop, const char *name)
{
	*loop = (struct loop){.name = name};
	/* NOENV: LIBEV_FLAGS of the environment must not choose the backend */
	loop->ev = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV | EVFLAG_NOTIMERFD);
	/* without one for the mailbox libev ends the process */
	int spare = loop->ev ? eventfd(0, EFD_CLOEXEC) : -1;
	if (spare < 0) {
		loop_fini(loop);
		return ERR_FDS;
	}
	close(spare);
	loop->now_us = clock_us();
	timer_wheel_init(&loop->timers, loop->now_us);
	loop->wake_us = UINT64_MAX;
	ev_check_init(&loop->turn_start, on_turn_start);
	ev_set_priority(&loop->turn_start, EV_MAXPRI);
	ev_prepare_init(&loop->turn_end, on_turn_end);
	ev_timer_init(&loop->wheel_timer, on_wheel_timer, 0, 0);
	ev_set_priority(&loop->wheel_timer, EV_MINPRI); /* below all I/O */
	ev_idle_init(&loop->unblock, on_unblock);
	list_init(&loop->put_off);
	list_init(&loop->due);
	ev_async_init(&loop->mail_async, on_mail);
	loop->turn_start.data = loop->turn_end.data = loop->wheel_timer.data = loop;
	loop->mail_async.data = loop;
	ev_check_start(loop->ev, &loop->turn_start);
	ev_prepare_start(loop->ev, &loop->turn_end);
	ev_async_start(loop->ev, &loop->mail_async);
	return ERR_OK;
}

void loop_fini(struct loop *loop)
{
	if (!loop->ev)
		return;
	ev_loop_destroy(loop->ev);
	loop->ev = NULL;
}

void loop_run(struct loop *loop)
{
	ev_run(loop->ev, 0);
}

void loop_stop(struct loop *loop)
{
	ev_break(loop->ev, EVBREAK_ALL);
}
