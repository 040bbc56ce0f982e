/* SPDX-License-Identifier: MIT */
/* The queue to the thread that reads and writes the files. */
#include "weir/state/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "weir/base/check.h"
#include "weir/base/log.h"
#include "weir/base/pack.h"
#include "weir/base/thread.h"

#ifdef WEIR_SQLITE

#include "thread.h"

/* Bytes that may wait for the thread. */
#define QUEUE_BYTES ((size_t)64 << 20)
#define QUERIES_MAX 64
#define STOP_TRIES 50
#define STOP_TRY_NS 100000000

/* ---- the queue ---- */

/* Takes the bytes; NULL when there is no room for them. */
static struct job *job_new(struct state *s, enum job_kind kind, struct str *bytes)
{
	struct job *job = bytes->overflow ? NULL : calloc(1, sizeof(*job));
	(void)s;
	if (job) {
		job->kind = kind;
		job->bytes = *bytes;
	} else {
		str_fini(bytes);
	}
	*bytes = STR_INIT;
	return job;
}

static void drop_older_file(struct state *s, const char *name)
{
	list_each_safe (it, tmp, &s->queue) {
		struct job *job = list_entry(it, struct job, link);
		if (job->kind != JOB_FILE || job->name != name)
			continue;
		list_del(&job->link);
		s->queued -= job->bytes.len;
		job_free(job);
	}
}

static bool put_job(struct state *s, struct job *job)
{
	pthread_mutex_lock(&s->lock);
	if (job->kind == JOB_FILE)
		drop_older_file(s, job->name);
	bool fits = s->queued + job->bytes.len <= QUEUE_BYTES &&
		    (job->kind != JOB_QUERY || s->n_queries < QUERIES_MAX);
	if (fits) {
		list_push_back(&s->queue, &job->link);
		s->queued += job->bytes.len;
		s->n_queries += job->kind == JOB_QUERY;
		pthread_cond_signal(&s->more);
	}
	pthread_mutex_unlock(&s->lock);
	if (!fits)
		job_free(job);
	return fits;
}

void state_minute(struct state *s, uint64_t at_s, struct view pool, struct view backend,
		  struct view sums)
{
	pack_u64(&s->rows, ROW_MINUTE);
	state_put_row(&s->rows, at_s, pool, backend, sums);
	s->n_rows++;
}

void state_event(struct state *s, uint64_t at_us, const char *kind, struct view pool,
		 struct view backend, struct view message)
{
	pack_u64(&s->rows, ROW_EVENT);
	pack_u64(&s->rows, at_us);
	pack_view(&s->rows, view_str(kind));
	pack_view(&s->rows, pool);
	pack_view(&s->rows, backend);
	pack_view(&s->rows, message);
	s->n_rows++;
}

void state_send(struct state *s)
{
	uint32_t n = s->n_rows;
	if (!n)
		return;
	struct job *job = job_new(s, JOB_ROWS, &s->rows);
	s->n_rows = 0;
	if (job)
		job->n = n;
	if (!job || !put_job(s, job))
		atomic_fetch_add(&s->n_lost, n);
}

void state_file(struct state *s, const char *name, struct str *bytes)
{
	struct job *job = job_new(s, JOB_FILE, bytes);
	if (job)
		job->name = name;
	if (!job || !put_job(s, job))
		atomic_fetch_add(&s->n_file_failures, 1);
}

bool state_ask(struct state *s, struct state_query *query)
{
	struct str none = STR_INIT;
	struct job *job = job_new(s, JOB_QUERY, &none);
	if (!job)
		return false;
	job->query = query;
	return put_job(s, job);
}

/* ---- life ---- */

const char *state_library(void)
{
	static char text[32];
	snprintf(text, sizeof(text), "SQLite %s", sqlite3_libversion());
	return text;
}

static void release(struct state *s)
{
	pthread_cond_destroy(&s->more);
	pthread_mutex_destroy(&s->lock);
	str_fini(&s->rows);
	free(s->directory);
	free(s->path);
	free(s);
}

struct state *state_new(const struct state_options *options, struct str *why)
{
	struct state *s = calloc(1, sizeof(*s));
	check(s != NULL);
	s->enter = options->enter;
	s->arg = options->arg;
	s->hold = -1;
	s->directory = strndup(options->directory.ptr, options->directory.len);
	check(s->directory && asprintf(&s->path, "%s/history.db", s->directory) > 0);
	s->db = (struct db){.path = s->path,
			    .directory = -1,
			    .bytes_max = options->bytes_max,
			    .history_s = options->history_s};
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->more, NULL);
	list_init(&s->queue);
	if (thread_start(&s->thread, state_main, s))
		return s;
	str_printf(why, "cannot start the thread that keeps the history: %s", strerror(errno));
	release(s);
	return NULL;
}

/* More than once: a look that was about to begin does not see that it is interrupted. */
static void tell_to_stop(struct state *s)
{
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	if (s->checked)
		sqlite3_interrupt(s->checked);
	pthread_cond_signal(&s->more);
	pthread_mutex_unlock(&s->lock);
}

static bool has_ended(struct state *s)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += STOP_TRY_NS;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	return pthread_timedjoin_np(s->thread, NULL, &until) == 0;
}

bool state_free(struct state *s)
{
	bool ended = false;
	if (!s)
		return true;
	state_send(s);
	for (int i = 0; i < STOP_TRIES && !ended; i++) {
		tell_to_stop(s);
		ended = has_ended(s);
	}
	if (!ended) {
		log_warn("%s hangs: what was left for it is lost", s->directory);
		return false;
	}
	release(s);
	return true;
}

void state_status(const struct state *s, struct state_status *out)
{
	*out = (struct state_status){
	    .trouble = atomic_load(&s->trouble),
	    .harm = atomic_load(&s->harm),
	    .rows = atomic_load(&s->n_written),
	    .lost = atomic_load(&s->n_lost),
	    .bytes = atomic_load(&s->bytes),
	    .file_failures = atomic_load(&s->n_file_failures),
	};
}

#endif

void state_put_row(struct str *rows, uint64_t at_s, struct view pool, struct view backend,
		   struct view sums)
{
	pack_u64(rows, at_s);
	pack_view(rows, pool);
	pack_view(rows, backend);
	pack_view(rows, sums);
}

void state_query_fini(struct state_query *q)
{
	str_fini(&q->pool);
	str_fini(&q->backend);
	str_fini(&q->rows);
	str_fini(&q->json);
}
