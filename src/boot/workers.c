/* SPDX-License-Identifier: MIT */
/* Worker threads: start, letters to all of them, stop. */
#include <stdlib.h>
#include <sys/resource.h>

#include "control.h"
#include "sandbox.h"

#include "weir/base/check.h"
#include "weir/base/thread.h"

static struct worker_limits limits_of_process(uint32_t pipes)
{
	struct rlimit fds;
	uint32_t n = 65536;
	if (getrlimit(RLIMIT_NOFILE, &fds) == 0 && fds.rlim_cur < UINT32_MAX / 4)
		n = (uint32_t)fds.rlim_cur;
	/* a connection or upstream connection needs a descriptor, and at most two
	 * buffers each: waiting bytes and a kept request */
	return (struct worker_limits){
	    .conns = n,
	    .upconns = n,
	    .bufs = 2 * n,
	    .pipes = pipes,
	    .fds = (int)descriptors_for_clients(n),
	};
}

enum err workers_start(struct control *control, const struct conf *conf,
		       void (*released)(struct gen_local *gl), struct str *why)
{
	struct worker_limits limits = limits_of_process(conf->splice_pipes);
	unsigned n = conf->workers;
	control->workers = calloc(n, sizeof(*control->workers));
	control->pool_workers = calloc(n, sizeof(*control->pool_workers));
	check(control->workers && control->pool_workers);
	for (unsigned i = 0; i < n; i++) {
		struct worker *w = aligned_alloc(WEIR_CACHE_LINE, sizeof(*w));
		check(w != NULL);
		control->workers[i] = w;
		control->n_workers = i + 1;
		enum err err = worker_init(w, i, &limits);
		if (err) {
			str_printf(why, "cannot start worker %u: %s\n", i, err_text(err));
			workers_free(control);
			return err;
		}
		w->control = &control->loop;
		w->on_gen_released = released;
		w->peers = control->workers;
		w->n_peers = n;
		control->pool_workers[i] = &w->pool;
	}
	return ERR_OK;
}

void workers_confine(struct control *control)
{
	if (control->sandbox)
		atomic_fetch_and(&control->confined, sandbox_enter(control->sandbox));
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	pthread_setname_np(pthread_self(), w->loop.name);
	workers_confine(w->control->owner);
	loop_run(&w->loop);
	return NULL;
}

enum err workers_run(struct control *control)
{
	enum err err = ERR_OK;
	for (unsigned i = 0; i < control->n_workers && !err; i++) {
		struct worker *w = control->workers[i];
		w->running = thread_start(&w->thread, worker_main, w);
		err = w->running ? ERR_OK : ERR_NOMEM;
	}
	return err;
}

struct call {
	struct mail mail;
	void (*fn)(struct worker *w, void *arg);
	void *arg;
};

static void on_call(struct loop *loop, struct mail *mail)
{
	struct call *call = container_of(mail, struct call, mail);
	call->fn(loop->owner, call->arg);
	free(call);
}

void workers_call(struct control *control, void (*fn)(struct worker *w, void *arg), void *arg)
{
	for (unsigned i = 0; i < control->n_workers; i++) {
		struct call *call = malloc(sizeof(*call));
		check(call != NULL);
		*call = (struct call){.mail.fn = on_call, .fn = fn, .arg = arg};
		loop_post(&control->workers[i]->loop, &call->mail);
	}
}

struct barrier {
	struct mail mail;
	struct control *control;
	void (*fn)(struct control *control);
	_Atomic unsigned n_left;
};

static void on_barrier(struct loop *loop, struct mail *mail)
{
	struct barrier *b = container_of(mail, struct barrier, mail);
	(void)loop;
	b->fn(b->control);
	free(b);
}

static void pass_barrier(struct worker *w, void *arg)
{
	struct barrier *b = arg;
	if (atomic_fetch_sub(&b->n_left, 1) == 1)
		loop_post(w->control, &b->mail);
}

void workers_barrier(struct control *control, void (*fn)(struct control *control))
{
	struct barrier *b = malloc(sizeof(*b));
	check(b != NULL);
	*b = (struct barrier){
	    .mail.fn = on_barrier, .control = control, .fn = fn, .n_left = control->n_workers};
	workers_call(control, pass_barrier, b);
}

struct workers_have workers_have(const struct control *control)
{
	struct workers_have have = {0};
	for (unsigned i = 0; i < control->n_workers; i++) {
		have.conns += atomic_load(&control->workers[i]->n_conns);
		have.exchanges += atomic_load(&control->workers[i]->n_exchanges);
	}
	return have;
}

static void stop_one(struct worker *w, void *arg)
{
	(void)arg;
	worker_abort_all(w);
	worker_leave(w);
	loop_stop(&w->loop);
}

void workers_stop(struct control *control)
{
	workers_call(control, stop_one, NULL);
	for (unsigned i = 0; i < control->n_workers; i++)
		if (control->workers[i]->running)
			pthread_join(control->workers[i]->thread, NULL);
	/* letters that crossed with the end: they own memory and descriptors */
	bool any;
	do {
		any = loop_read_mail(&control->loop);
		for (unsigned i = 0; i < control->n_workers; i++)
			any |= loop_read_mail(&control->workers[i]->loop);
	} while (any);
}

void workers_free(struct control *control)
{
	for (unsigned i = 0; i < control->n_workers; i++) {
		worker_fini(control->workers[i]);
		free(control->workers[i]);
	}
	free(control->workers);
	free(control->pool_workers);
	control->n_workers = 0;
}
