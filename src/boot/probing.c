/* SPDX-License-Identifier: MIT */
/*
 * Health on a thread of its own.  Readers of the API, reloads and slow disks keep the
 * control thread busy; what they must not do is to make checks late, or to keep a verdict
 * from the workers.  So everything between a check's answer and the workers' next look
 * happens on this thread.
 *
 * The control thread speaks to it by calls: it waits until they are done, some
 * microseconds, since nothing on this thread ever blocks.  The other way there are only
 * letters: this thread never waits for the control thread.
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

#include "control.h"

#include "weir/base/check.h"
#include "weir/base/thread.h"

/* A refresh looks at every backend: a flapping pool must not ask for one at each
 * flap.  So much time for each backend, 100 ms at most, lies between two. */
#define ANNOUNCE_BACKEND_US 100
#define ANNOUNCE_MAX_US 100000

struct probing {
	struct control *control;
	struct health *health; /* owns */
	pthread_t thread;
	bool running; /* the thread is there; control thread */
	/* health thread */
	struct loop loop;
	struct timer announce_timer; /* changes of state that workers do not know yet */
	uint64_t announced_us, announce_gap_us;
	uint64_t n_announced;
};

/* What one announcement is to each worker; the last of them frees it. */
struct announcement {
	struct control *control;
	uint64_t number;
	_Atomic unsigned n_left;
};

/* ---- workers hear of it ---- */

static void refresh_views(struct worker *w, void *arg)
{
	struct announcement *a = arg;
	worker_refresh(w);
	if (atomic_fetch_sub(&a->n_left, 1) > 1)
		return;
	atomic_store(&a->control->n_announced_to_all, a->number);
	free(a);
}

static void announce(struct probing *p)
{
	timer_clear(&p->announce_timer);
	p->announced_us = p->loop.now_us;
	struct announcement *a = malloc(sizeof(*a));
	check(a != NULL);
	*a = (struct announcement){p->control, ++p->n_announced, p->control->n_workers};
	workers_call(p->control, refresh_views, a);
}

static void on_announce_timer(struct timer *timer)
{
	announce(container_of(timer, struct probing, announce_timer));
}

/* A little later, at most 100 ms: many backends may change at a time. */
static void announce_soon(void *ctx)
{
	struct probing *p = ctx;
	uint64_t now = p->loop.now_us, next = p->announced_us + p->announce_gap_us;
	if (next <= now)
		announce(p);
	else if (!timer_is_set(&p->announce_timer))
		loop_timer(&p->loop, &p->announce_timer, next - now);
}

static uint64_t said(void *ctx)
{
	const struct probing *p = ctx;
	return p->n_announced + timer_is_set(&p->announce_timer);
}

static uint64_t seen_by_all(void *ctx)
{
	const struct probing *p = ctx;
	return atomic_load(&p->control->n_announced_to_all);
}

static uint64_t announce_gap_us(const struct generation *gen)
{
	uint64_t n = 0;
	for (uint32_t i = 0; i < gen->n_pools; i++)
		n += gen->pools[i].n;
	n *= ANNOUNCE_BACKEND_US;
	return n < ANNOUNCE_MAX_US ? n : ANNOUNCE_MAX_US;
}

/* ---- people hear of it: control thread ---- */

static void on_change(void *ctx, struct backend *b, const struct health_change *change)
{
	const char *name = backend_state_name(change->now);
	bool worse = backend_state_takes_new(change->was) && !backend_state_takes_new(change->now);
	(void)ctx;
	event_add(EVENT_STATE, b->pool_name, b->name, "%s: %s", name, change->why);
	log_line(worse ? LOG_LEVEL_WARN : LOG_LEVEL_INFO,
		 "backend " VIEW_FMT "/" VIEW_FMT " (" VIEW_FMT "): %s: %s", VIEW_ARG(b->pool_name),
		 VIEW_ARG(b->name), VIEW_ARG(b->address_text), name, change->why);
}

static void on_note(void *ctx, struct backend *b, const char *what)
{
	(void)ctx;
	event_add(EVENT_STATE, b->pool_name, b->name, "%s", what);
	log_info("backend " VIEW_FMT "/" VIEW_FMT " (" VIEW_FMT "): %s", VIEW_ARG(b->pool_name),
		 VIEW_ARG(b->name), VIEW_ARG(b->address_text), what);
}

/* ---- calls ---- */

struct call {
	struct mail mail;
	void (*fn)(struct probing *p, struct call *call);
	const struct generation *gen;
	struct health_clients *clients;
	struct backend *backend;
	enum backend_state state;
	const char *why; /* static */
	struct str *out;
	struct unpack *in;
	sem_t done;
};

static void on_call(struct loop *loop, struct mail *mail)
{
	struct call *call = container_of(mail, struct call, mail);
	call->fn(loop->owner, call);
	sem_post(&call->done);
}

static void call_and_wait(struct probing *p, struct call *call)
{
	if (!p->running) {
		call->fn(p, call);
		return;
	}
	check(sem_init(&call->done, 0, 0) == 0);
	call->mail.fn = on_call;
	loop_post(&p->loop, &call->mail);
	while (sem_wait(&call->done)) /* a signal */
		;
	sem_destroy(&call->done);
}

static void follow(struct probing *p, struct call *call)
{
	const struct generation *gen = call->gen;
	p->announce_gap_us = announce_gap_us(gen);
	health_follow(p->health, gen->pools, gen->n_pools, call->clients);
}

static void show_all(const struct generation *gen)
{
	for (uint32_t i = 0; i < gen->n_pools; i++)
		for (uint32_t k = 0; k < gen->pools[i].n; k++)
			health_show(gen->pools[i].backends[k]);
}

void probing_follow(struct probing *p, const struct generation *gen)
{
	struct call call = {.fn = follow, .gen = gen};
	call.clients = health_clients_new(p->health, gen->pools, gen->n_pools);
	call_and_wait(p, &call);
	health_clients_free(call.clients);
	show_all(gen);
}

static void pack(struct probing *p, struct call *call)
{
	health_pack(p->health, call->out);
}

void probing_pack(struct probing *p, struct str *out)
{
	call_and_wait(p, &(struct call){.fn = pack, .out = out});
}

static void unpack(struct probing *p, struct call *call)
{
	health_unpack(call->in, p->health);
}

void probing_unpack(struct unpack *in, struct probing *p)
{
	call_and_wait(p, &(struct call){.fn = unpack, .in = in});
	show_all(p->control->current);
}

static void set_admin(struct probing *p, struct call *call)
{
	health_set_admin(p->health, call->backend, call->state, call->why);
	announce(p); /* at once: who drains a backend wants to see it drain */
}

void probing_set_admin(struct probing *p, struct backend *b, enum backend_state state,
		       const char *why)
{
	struct call call = {.fn = set_admin, .backend = b, .state = state, .why = why};
	call_and_wait(p, &call);
	health_show(b);
}

/* ---- life ---- */

struct probing *probing_new(struct control *control, struct str *why)
{
	struct probing *p = calloc(1, sizeof(*p));
	check(p != NULL);
	if (loop_init(&p->loop, "health")) {
		str_printf(why, "cannot start health checks: %s\n", err_text(ERR_FDS));
		free(p);
		return NULL;
	}
	p->control = control;
	p->loop.owner = p;
	p->announce_timer.fn = on_announce_timer;
	const struct health_host host = {
	    .ctx = p,
	    .loop = &control->loop,
	    .changed = on_change,
	    .noted = on_note,
	    .look = announce_soon,
	    .said = said,
	    .seen = seen_by_all,
	};
	p->health = health_new(&p->loop, &host);
	return p;
}

struct loop *probing_loop(struct probing *p)
{
	return &p->loop;
}

static void *run(void *arg)
{
	struct probing *p = arg;
	pthread_setname_np(pthread_self(), p->loop.name);
	workers_confine(p->control);
	loop_run(&p->loop);
	return NULL;
}

enum err probing_run(struct probing *p)
{
	p->running = thread_start(&p->thread, run, p);
	return p->running ? ERR_OK : ERR_NOMEM;
}

static void stop(struct probing *p, struct call *call)
{
	(void)call;
	loop_stop(&p->loop);
}

void probing_stop(struct probing *p)
{
	struct call call = {.fn = stop};
	if (!p->running)
		return;
	call_and_wait(p, &call);
	pthread_join(p->thread, NULL);
	p->running = false;
}

void probing_free(struct probing *p)
{
	/* letters that crossed with the end */
	bool any;
	do {
		any = loop_read_mail(&p->loop);
		any |= loop_read_mail(&p->control->loop);
	} while (any);
	health_free(p->health);
	loop_read_mail(&p->control->loop);
	loop_fini(&p->loop);
	free(p);
}
