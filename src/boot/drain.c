/* SPDX-License-Identifier: MIT */
/* The end of the process, and how long it waits for exchanges under way. */
#include "control.h"
#include "tracer.h"

#include "weir/base/clock.h"

#define DRAIN_POLL_S 0.02
/* The last spans get two seconds. */
#define FLUSH_POLLS 100

static bool all_done(const struct control *control)
{
	/* who took over hears from this process of the one before it */
	if (control->handover.state == HANDOVER_DONE && control->before.state != BEFORE_GONE)
		return false;
	return workers_have(control).conns == 0;
}

void control_stop(struct control *control)
{
	control->state = CONTROL_STOPPING;
	handover_cancel(control);
	loop_stop(&control->loop);
}

static void on_drain_timer(struct ev_loop *ev, ev_timer *w, int revents)
{
	struct control *control = w->data;
	(void)ev;
	(void)revents;
	bool late = clock_us() >= control->drain_deadline_us;
	if (late)
		log_warn("shutdown_timeout is over: cutting what is left");
	/* twice in a row: a connection may be on its way between two workers */
	bool quiet = control->drain_heard && all_done(control);
	control->quiet_polls = quiet ? control->quiet_polls + 1 : 0;
	bool sent = tracer_is_done(control->tracer) || control->quiet_polls > FLUSH_POLLS;
	if (late || (control->quiet_polls > 2 && sent))
		control_stop(control);
}

static void drain_one(struct worker *w, void *arg)
{
	(void)arg;
	worker_drain(w);
}

static void drain_heard(struct control *control)
{
	control->drain_heard = true;
	listeners_close(control); /* from now on the kernel refuses */
}

void control_drain(struct control *control)
{
	if (control->state != CONTROL_RUNNING)
		return;
	control->state = CONTROL_DRAINING;
	handover_cancel(control);
	if (control->handover.state != HANDOVER_DONE) /* else the service goes on */
		notify_state("STOPPING=1");
	uint64_t timeout = control->current->conf->shutdown_timeout_us;
	log_info("draining: no new connections, waiting up to %llu s for exchanges to finish",
		 (unsigned long long)(timeout / 1000000));
	event_add(EVENT_DRAIN, VIEW_NONE, VIEW_NONE, "draining before the stop");
	control->drain_deadline_us = clock_us() + timeout;
	workers_call(control, drain_one, NULL);
	workers_barrier(control, drain_heard);
	ev_timer_init(&control->drain_timer, on_drain_timer, DRAIN_POLL_S, DRAIN_POLL_S);
	control->drain_timer.data = control;
	ev_timer_start(control->loop.ev, &control->drain_timer);
}
