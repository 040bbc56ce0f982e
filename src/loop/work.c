/* SPDX-License-Identifier: MIT */
/* A job on a thread of its own, which comes back by the mailbox. */
#include "weir/loop/work.h"

#include <stdlib.h>

#include "weir/base/check.h"
#include "weir/base/defs.h"
#include "weir/base/thread.h"

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

struct work *work_begin(struct loop *loop, const struct work_job *job)
{
	struct work *w = calloc(1, sizeof(*w));
	pthread_t thread;
	check(w != NULL);
	w->mail.fn = on_mail;
	w->loop = loop;
	w->job = *job;
	pthread_mutex_init(&w->lock, NULL);
	if (!thread_start(&thread, work_main, w)) {
		work_free(w);
		return NULL;
	}
	pthread_detach(thread);
	return w;
}

void work_cancel(struct work *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->cancelled = true;
	pthread_mutex_unlock(&w->lock);
}
