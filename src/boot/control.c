/* SPDX-License-Identifier: MIT */
/* The control thread: start and end of the process, signals, and what it does each second. */
#include "control.h"
#include "issued.h"
#include "log_writer.h"
#include "members.h"
#include "sandbox.h"
#include "shared.h"
#include "stop.h"
#include "tracer.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "weir/base/check.h"
#include "weir/base/file.h"
#include "weir/boot/boot.h"
#include "weir/filter/passwords.h"
#include "weir/net/inherit.h"

/* ---- signals and time ---- */

static void on_signal(struct ev_loop *ev, ev_signal *w, int revents)
{
	struct control *control = w->data;
	(void)ev;
	(void)revents;
	struct str why = STR_INIT;
	switch (w->signum) {
	case SIGHUP:
		control_reload(control, &why);
		break;
	case SIGUSR1:
		log_info("reopening logs");
		log_writer_reopen(control->log_writer);
		break;
	case SIGUSR2:
		handover_begin(control);
		break;
	case SIGTERM:
		if (control->state == CONTROL_RUNNING)
			control_drain(control);
		else
			control_stop(control);
		break;
	default: /* INT, QUIT */
		control_stop(control);
	}
	str_fini(&why);
}

/* As process 1, which starts no other: those that lost their parent are ours to reap. */
static void reap_orphans(void)
{
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

static void on_orphan(struct ev_loop *ev, ev_signal *w, int revents)
{
	(void)ev;
	(void)w;
	(void)revents;
	reap_orphans();
}

static void watch_signals(struct control *control)
{
	static const int numbers[] = {SIGHUP, SIGUSR1, SIGUSR2, SIGTERM, SIGINT, SIGQUIT};
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		ev_signal_init(&control->signals[i], on_signal, numbers[i]);
		control->signals[i].data = control;
		ev_signal_start(control->loop.ev, &control->signals[i]);
	}
	stop_watch();
	if (getpid() != 1)
		return;
	ev_signal *orphans = &control->signals[ARRAY_LEN(numbers)];
	ev_signal_init(orphans, on_orphan, SIGCHLD);
	ev_signal_start(control->loop.ev, orphans);
	reap_orphans(); /* who ended before: what a shell left that became this process */
}

#define LOOK_US 200000

/* A verdict that has changed is an event, with the sentence that says why. */
static void tell_verdict(const struct pool *pool)
{
	struct pool_state *s = pool->state;
	enum verdict now = scaling_verdict(s->scaling);
	if (now == s->told)
		return;
	event_add(EVENT_VERDICT, pool->conf->name, VIEW_NONE, "%s: %s", verdict_name(now),
		  scaling_sentence(s->scaling));
	s->told = now;
}

static enum err rebuild(void *ctx, struct str *why)
{
	return runtime_rebuild(ctx, why);
}

/* Judges each pool, every insight.interval. */
static void look_at_pools(struct control *control)
{
	const struct generation *gen = control->current;
	uint64_t now = clock_us(), lag = 0;
	/* ticks come late by a little: half a second less makes no difference but that */
	if (!control->look_at && now + 500000 < control->looked_us + gen->conf->insight.interval_us)
		return;
	if (!control->look_at)
		control->looked_us = now;
	for (unsigned i = 0; i < control->n_workers; i++) {
		uint64_t of = atomic_load_explicit(&control->workers[i]->loop.lag_max_us,
						   memory_order_relaxed);
		if (of > lag)
			lag = of;
	}
	/* some milliseconds each: of a thousand the rest is for the next tick */
	while (control->look_at < gen->n_pools && clock_us() < now + LOOK_US) {
		pool_look(&gen->pools[control->look_at], lag, now);
		tell_verdict(&gen->pools[control->look_at++]);
	}
	if (control->look_at >= gen->n_pools)
		control->look_at = 0;
}

static void on_limits_tick(struct ev_loop *ev, ev_timer *w, int revents)
{
	struct control *control = w->data;
	(void)revents;
	if (control->registry.n_limiters)
		pool_registry_limits(&control->registry, clock_us());
	else
		ev_timer_stop(ev, w);
}

static void watch_files(struct control *control)
{
	tls_watch_tick(&control->tls_watch, control->current->conf, control->current->tls_mark,
		       rebuild, control);
	tls_watch_tick(&control->users_watch, control->current->conf, control->current->users_mark,
		       rebuild, control);
}

static void on_tick(struct ev_loop *ev, ev_timer *w, int revents)
{
	struct control *control = w->data;
	(void)revents;
	host_watch_logs(control);
	pool_registry_tick(&control->registry, clock_us());
	for (uint32_t i = 0; i < control->current->n_pools; i++)
		pool_typical(&control->current->pools[i]);
	meters_tick(control, clock_us());
	shared_tick(control);
	look_at_pools(control);
	if (control->registry.n_limiters && !ev_is_active(&control->limits_tick))
		ev_timer_again(ev, &control->limits_tick);
	tls_tick(control);
	if (control->state == CONTROL_RUNNING)
		watch_files(control);
	heap_tick(&control->heap);
	listeners_tick(control);
	runtime_tick(control);
	keep_tick(control);
	members_tick(control->members);
	if (control->state == CONTROL_RUNNING)
		acme_tick(control->acme);
}

/* ---- start ---- */

/*
 * /run/weir does not outlive a boot, and listeners may have sockets there, too.  What is
 * wrong with it is said by those who need it.
 */
static void make_run_directory(const struct conf *conf)
{
	struct str why = STR_INIT;
	enum err err = ERR_OK;
	if (conf->status.socket.len)
		err = file_make_directory(conf->status.socket.ptr, &why);
	if (err)
		log_debug("%s", why.ptr);
	str_fini(&why);
}

static void confine(void *arg)
{
	workers_confine(arg);
}

/* After privileges are dropped, before the threads that it is for; the one that checks passwords
 * may be there already, and has seen none. */
static void make_sandbox(struct control *control, const struct conf *conf)
{
	struct str why = STR_INIT;
	if (conf->sandbox == CONF_SANDBOX_OFF)
		return;
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	atomic_store(&control->confined, SANDBOX_SECCOMP | SANDBOX_LANDLOCK);
	control->sandbox = sandbox_new(&why);
	if (!control->sandbox)
		log_info("no sandbox: " VIEW_FMT, VIEW_ARG(str_as_view(&why)));
	passwords_enter(confine, control);
	str_fini(&why);
}

static enum err start(struct control *control, struct conf *conf, struct str *why)
{
	struct admin_host host = host_of(control);
	struct shared_conf *shared = shared_conf_new(conf, why);
	if (!shared) {
		conf_free(conf);
		return ERR_SYNTAX;
	}
	enum err err = privileges_prepare(conf, why);
	if (!err)
		err = workers_start(control, conf, generation_released, why);
	if (err)
		goto out;
	pool_registry_init(&control->registry, control->n_workers, control->pool_workers);
	control->members = members_new(control, runtime_rebuild);
	members_prepare(control->members, conf);
	control->cluster = shared_new(control);
	handover_inherit_early(control);
	keep_inherit_early(control);
	tls_tick(control);
	control->tracer = tracer_new(control);
	err = tracer_prepare(control->tracer, conf, why);
	if (err)
		goto out;
	tracer_commit(control->tracer);
	err = shared_prepare(control, conf, why);
	if (err)
		goto out;
	control->acme = issued_new(control);
	err = acme_prepare(control->acme, conf, why);
	if (err)
		goto out;
	make_run_directory(conf);
	members_begin(control->members);
	struct generation *gen = generation_new(control, shared, why);
	if (!gen) {
		err = ERR_IO;
		goto out;
	}
	control->current = gen;
	control->shared = control->first = gen->shared;
	control->first->refs++;
	control->probing = probing_new(control, why);
	control->admin = control->probing ? admin_new(&control->loop, conf, &host, why) : NULL;
	control->log_writer = control->admin ? log_writer_new(control, conf, why) : NULL;
	err = control->log_writer ? privileges_drop(conf, why) : ERR_IO;
	if (err)
		goto out;
	make_sandbox(control, conf);
	bool inherited = handover_inherit(control);
	keep_inherit(control);
	keep_run(control);
	err = workers_run(control);
	if (!err)
		err = probing_run(control->probing);
	if (err) {
		str_printf(why, "cannot start threads: %s\n", err_text(err));
		goto out;
	}
	generation_publish(control, gen);
	runtime_settle(control);
	runtime_tell(control);
	shared_commit(control);
	acme_commit(control->acme);
	if (inherited) {
		handover_inherit_health(control);
		look_at_pools(control);
	}
out:
	shared_conf_put(shared);
	return err;
}

static void announce_start(struct control *control)
{
	const struct generation *gen = control->current;
	for (uint32_t i = 0; i < gen->n_listeners; i++)
		log_info("listening on %s (" VIEW_FMT ")", gen->listeners[i].listener->text,
			 VIEW_ARG(gen->listeners[i].conf->name));
	struct view socket = gen->conf->status.socket;
	log_info("weir %s ready: %u worker%s, status socket " VIEW_FMT, WEIR_VERSION,
		 control->n_workers, control->n_workers == 1 ? "" : "s",
		 VIEW_ARG(socket.len ? socket : VIEW("off")));
	event_add(EVENT_START, VIEW_NONE, VIEW_NONE, "weir %s started", WEIR_VERSION);
	handover_ready(control);
}

/* After the threads have ended: their last letters are still unread. */
static void free_generations(struct control *control)
{
	while (!list_is_empty(&control->generations))
		generation_free(list_first(&control->generations, struct generation, link));
	control->current = NULL;
}

/* The writer of the access log hangs in the kernel: what it may still touch is not freed. */
static _Noreturn void leave_at_once(struct control *control)
{
	listeners_close(control);
	log_stop();
	_exit(1);
}

static void finish(struct control *control)
{
	handover_free(control);
	before_free(control);
	if (control->current)
		control->current->n_live++; /* health names its backends until probing_free */
	bool kept = keep_stop(control);     /* its letters are read with those of the workers */
	if (control->probing)
		probing_stop(control->probing);
	acme_free(control->acme);
	control->acme = NULL; /* letters about it may still come */
	members_free(control->members);
	shared_free(control);
	tracer_free(control->tracer); /* its letters are read with those of the workers */
	if (control->n_workers)
		workers_stop(control);
	passwords_stop();
	bool ended = log_writer_free(control->log_writer);
	if (control->admin)
		admin_free(control->admin);
	if (!ended || !kept)
		leave_at_once(control);
	keep_free(control->keep);
	runtime_free(control);
	if (control->probing)
		probing_free(control->probing);
	free_generations(control);
	if (control->first)
		shared_conf_put(control->first);
	listeners_free(control);
	if (control->n_workers) {
		pool_registry_fini(&control->registry);
		workers_free(control);
	}
	passwords_fini();
	tls_tickets_put(control->tickets);
	tls_watch_fini(&control->tls_watch);
	tls_watch_fini(&control->users_watch);
	str_fini(&control->last_reload.error);
	str_fini(&control->handover.error);
	sandbox_free(control->sandbox);
	loop_fini(&control->loop);
}

/* Another process has the sockets: what is kept is its own from now on. */
static void handed_over(struct control *control)
{
	keep_leave(control);
	acme_leave(control->acme);
	control_drain(control);
}

void control_init(struct control *control, struct options *options)
{
	*control = (struct control){
	    .options = options,
	    .started_us = clock_us(),
	    .started_wall_us = clock_wall_us(),
	    .last_reload = {.ok = true, .error = STR_INIT},
	    .handover = {.error = STR_INIT, .state_fd = -1, .done = handed_over},
	    .before = {.hear = runtime_hear},
	    .tls_watch = {.what = "certificates",
			  .mark = tls_mark,
			  .why = STR_INIT,
			  .error = STR_INIT},
	    .users_watch = {.what = "users",
			    .mark = users_mark,
			    .why = STR_INIT,
			    .error = STR_INIT},
	};
	list_init(&control->listeners);
	list_init(&control->generations);
	list_init(&control->overrides);
	list_init(&control->meters);
}

int control_run(struct options *options, struct conf *conf)
{
	struct str why = STR_INIT;
	struct control control;
	log_set_level(conf->log.level);
	struct keep *keep = keep_new(conf); /* before anybody asks for the time */
	control_init(&control, options);
	control.keep = keep;
	options->serving = true;
	privileges_raise_fds();
	log_start();
	if (loop_init(&control.loop, "control")) {
		fprintf(stderr, "weir: cannot start: %s\n", err_text(ERR_FDS));
		log_stop();
		keep_free(keep);
		conf_free(conf);
		return 1;
	}
	control.loop.owner = &control;
	watch_signals(&control);
	inherit_init();
	handover_init();
	enum err err = start(&control, conf, &why);
	if (err) {
		struct str text = STR_INIT;
		str_printf(&text, "weir: " VIEW_FMT, VIEW_ARG(str_as_view(&why)));
		log_text(str_as_view(&text));
		str_fini(&text);
	} else {
		ev_timer_init(&control.tick, on_tick, 1.0, 1.0);
		control.tick.data = &control;
		ev_timer_start(control.loop.ev, &control.tick);
		ev_timer_init(&control.limits_tick, on_limits_tick, 0.0, LIMIT_WINDOW_US / 1e6);
		control.limits_tick.data = &control;
		announce_start(&control);
		inherit_done();
		loop_run(&control.loop);
		handover_bye(&control);
		log_info("stopped");
	}
	finish(&control);
	if (err)
		inherit_done();
	str_fini(&why);
	log_stop();
	return err ? 1 : 0;
}
