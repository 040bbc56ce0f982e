/* SPDX-License-Identifier: MIT */
#include "work.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "weir/base/check.h"
#include "weir/base/defs.h"

struct work {
	struct mail mail;
	struct loop *loop;
	struct work_job job;
	/* guards the rest: who is last frees it */
	pthread_mutex_t lock;
	bool cancelled;
};

static void work_free(struct work *w)
{
	pthread_mutex_destroy(&w->lock);
	free(w);
}

static void *work_main(void *arg)
{
	struct work *w = arg;
	w->job.run(w->job.arg);
	pthread_mutex_lock(&w->lock);
	bool cancelled = w->cancelled;
	if (!cancelled) /* under the lock: the loop is there until work_cancel returns */
		loop_post(w->loop, &w->mail);
	pthread_mutex_unlock(&w->lock);
	if (cancelled) {
		w->job.drop(w->job.arg);
		work_free(w);
	}
	return NULL;
}

static void on_mail(struct loop *loop, struct mail *mail)
{
	struct work *w = container_of(mail, struct work, mail);
	(void)loop;
	pthread_mutex_lock(&w->lock); /* the thread has let go of it */
	bool cancelled = w->cancelled;
	pthread_mutex_unlock(&w->lock);
	if (cancelled)
		w->job.drop(w->job.arg);
	else
		w->job.done(w->job.arg);
	work_free(w);
}

/* Signals are the control thread's. */
static int start(pthread_t *thread, struct work *w)
{
	pthread_attr_t attr;
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	int error = pthread_create(thread, &attr, work_main, w);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return error;
}

struct work *work_begin(struct loop *loop, const struct work_job *job)
{
	struct work *w = calloc(1, sizeof(*w));
	pthread_t thread;
	check(w != NULL);
	w->mail.fn = on_mail;
	w->loop = loop;
	w->job = *job;
	pthread_mutex_init(&w->lock, NULL);
	if (start(&thread, w) == 0)
		return w;
	work_free(w);
	return NULL;
}

void work_cancel(struct work *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->cancelled = true;
	pthread_mutex_unlock(&w->lock);
}
