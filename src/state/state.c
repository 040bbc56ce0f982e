/* SPDX-License-Identifier: MIT */
/* The queue to the thread that reads and writes the files, and the thread. */
#include "weir/state/state.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "weir/base/file.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/base/list.h"
#include "weir/base/log.h"
#include "weir/base/pack.h"
#include "weir/base/thread.h"

#ifdef WEIR_SQLITE

#include "db.h"

/* Bytes that may wait for the thread. */
#define QUEUE_BYTES ((size_t)64 << 20)
#define QUERIES_MAX 64
#define STOP_JOIN_S 2
#define PRUNE_S 600

enum job_kind { JOB_ROWS, JOB_FILE, JOB_QUERY };

/*
 *   put --> queue --> taken by the thread --> freed by it
 */
struct job {
	struct list link;
	enum job_kind kind;
	struct str bytes; /* owns */
	uint32_t n;       /* rows in them */
	const char *name; /* of a file; static */
	struct state_query *query;
};

struct state {
	pthread_t thread;
	char *directory, *path; /* own; const */
	void (*enter)(void *arg);
	void *arg;
	/* the control thread's: what state_send sends */
	struct str rows;
	uint32_t n_rows;
	/* under `lock`, which nobody keeps for longer than it takes to move a link */
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct list queue;
	size_t queued;
	unsigned n_queries;
	bool stop;
	/* any thread */
	_Atomic(const char *) trouble;
	_Atomic uint64_t n_written, n_lost, bytes, n_file_failures;
	_Atomic bool moved_aside;
	/* the thread's own */
	struct db db;
	uint64_t pruned_s;
};

enum row_kind { ROW_MINUTE, ROW_EVENT };

/* ---- the thread: trouble ---- */

static void note(struct state *s, int rc)
{
	const char *before = atomic_load(&s->trouble), *now = rc ? sqlite3_errstr(rc) : NULL;
	atomic_store(&s->trouble, now);
	if (now && (!before || strcmp(now, before) != 0))
		log_warn("%s cannot be used: %s; what cannot be kept is lost", s->path, now);
	else if (!now && before)
		log_info("%s can be used again", s->path);
}

/* Open, if that can be: the code says why not. */
static int ready(struct state *s)
{
	if (s->db.handle)
		return SQLITE_OK;
	int rc = db_open(&s->db);
	if (!db_is_broken(rc))
		return rc;
	db_move_aside(&s->db);
	atomic_store(&s->moved_aside, true);
	log_warn("%s is damaged, or none of weir's: it is %s.broken now, and a new history begins",
		 s->path, s->path);
	return db_open(&s->db);
}

/* After a failure: true when it is worth another try with another file. */
static bool recover(struct state *s, int rc)
{
	if (!rc || rc == SQLITE_BUSY)
		return false;
	if (!db_is_broken(rc)) {
		if ((rc & 0xff) != SQLITE_FULL)
			db_close(&s->db);
		return false;
	}
	db_move_aside(&s->db);
	atomic_store(&s->moved_aside, true);
	log_warn("%s is damaged: it is %s.broken now, and a new history begins", s->path, s->path);
	return ready(s) == SQLITE_OK;
}

/* ---- the thread: jobs ---- */

static int write_row(struct db *db, struct unpack *in)
{
	uint64_t kind = unpack_u64(in), at = unpack_u64(in);
	struct view a = unpack_view(in), b = unpack_view(in), c = unpack_view(in);
	if (kind == ROW_MINUTE)
		return db_add_minute(db, at, a, b, c);
	struct view message = unpack_view(in);
	return db_add_event(db, at, a, b, c, message);
}

/* All of them, or none. */
static int write_rows(struct state *s, const struct job *job)
{
	struct unpack in = unpack_of(str_as_view(&job->bytes));
	uint64_t now_s = clock_wall_us() / 1000000;
	int rc = db_run(&s->db, DB_BEGIN);
	if (rc)
		return rc;
	while (!rc && in.left && !in.bad)
		rc = write_row(&s->db, &in);
	if (!rc && now_s >= s->pruned_s + PRUNE_S) {
		rc = db_prune(&s->db, now_s);
		s->pruned_s = now_s;
	}
	if (!rc)
		rc = db_run(&s->db, DB_COMMIT);
	if (rc)
		db_run(&s->db, DB_ROLLBACK);
	/* there is no room left: another time it is looked for at once */
	if ((rc & 0xff) == SQLITE_FULL)
		s->pruned_s = 0;
	return rc;
}

/* Without room for anything new there may be room once something old is gone. */
static int make_room(struct state *s)
{
	int rc = db_run(&s->db, DB_BEGIN);
	if (!rc)
		rc = db_prune(&s->db, clock_wall_us() / 1000000);
	if (!rc)
		return db_run(&s->db, DB_COMMIT);
	db_run(&s->db, DB_ROLLBACK);
	return rc;
}

static void do_rows(struct state *s, struct job *job)
{
	uint64_t bytes;
	int rc = ready(s);
	if (!rc)
		rc = write_rows(s, job);
	if (recover(s, rc) || ((rc & 0xff) == SQLITE_FULL && make_room(s) == SQLITE_OK))
		rc = write_rows(s, job);
	note(s, rc);
	atomic_fetch_add(rc ? &s->n_lost : &s->n_written, job->n);
	if (!rc && db_bytes(&s->db, &bytes) == SQLITE_OK)
		atomic_store(&s->bytes, bytes);
}

static void do_query(struct state *s, struct job *job)
{
	struct state_query *q = job->query;
	int rc = ready(s), answered = db_answer(&s->db, q);
	if (!rc)
		rc = answered;
	q->why = rc ? sqlite3_errstr(rc) : NULL;
	recover(s, rc);
	q->done(q);
}

static void do_file(struct state *s, struct job *job)
{
	int error = file_replace(s->directory, job->name, str_as_view(&job->bytes));
	if (error && atomic_fetch_add(&s->n_file_failures, 1) == 0)
		log_warn("%s/%s cannot be written: %s", s->directory, job->name, strerror(error));
	explicit_bzero(job->bytes.ptr, job->bytes.len); /* keys */
	if (!error)
		atomic_store(&s->n_file_failures, 0);
}

static void job_free(struct job *job)
{
	str_fini(&job->bytes);
	free(job);
}

static struct job *take_job(struct state *s)
{
	struct job *job = NULL;
	pthread_mutex_lock(&s->lock);
	while (list_is_empty(&s->queue) && !s->stop)
		pthread_cond_wait(&s->more, &s->lock);
	if (!list_is_empty(&s->queue)) {
		job = list_first(&s->queue, struct job, link);
		list_del(&job->link);
		s->queued -= job->bytes.len;
		s->n_queries -= job->kind == JOB_QUERY;
	}
	pthread_mutex_unlock(&s->lock);
	return job;
}

static void *state_main(void *arg)
{
	struct state *s = arg;
	struct job *job;
	pthread_setname_np(pthread_self(), "state");
	if (s->enter)
		s->enter(s->arg);
	note(s, ready(s));
	while ((job = take_job(s))) {
		if (job->kind == JOB_ROWS)
			do_rows(s, job);
		else if (job->kind == JOB_FILE)
			do_file(s, job);
		else
			do_query(s, job);
		job_free(job);
	}
	db_close(&s->db);
	return NULL;
}

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

bool state_is_built(void)
{
	return true;
}

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

bool state_free(struct state *s)
{
	struct timespec until;
	if (!s)
		return true;
	state_send(s);
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_signal(&s->more);
	pthread_mutex_unlock(&s->lock);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += STOP_JOIN_S;
	if (pthread_timedjoin_np(s->thread, NULL, &until)) {
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
	    .moved_aside = atomic_load(&s->moved_aside),
	    .rows = atomic_load(&s->n_written),
	    .lost = atomic_load(&s->n_lost),
	    .bytes = atomic_load(&s->bytes),
	    .file_failures = atomic_load(&s->n_file_failures),
	};
}

#else

bool state_is_built(void)
{
	return false;
}

const char *state_library(void)
{
	return NULL;
}

struct state *state_new(const struct state_options *options, struct str *why)
{
	(void)options;
	str_text(why, "weir was built without SQLite");
	return NULL;
}

/* There is none that anybody could call these with. */
bool state_free(struct state *s)
{
	return !s;
}

void state_minute(struct state *s, uint64_t at_s, struct view pool, struct view backend,
		  struct view sums)
{
	(void)s, (void)at_s, (void)pool, (void)backend, (void)sums;
}

void state_event(struct state *s, uint64_t at_us, const char *kind, struct view pool,
		 struct view backend, struct view message)
{
	(void)s, (void)at_us, (void)kind, (void)pool, (void)backend, (void)message;
}

void state_send(struct state *s)
{
	(void)s;
}

void state_file(struct state *s, const char *name, struct str *bytes)
{
	(void)s, (void)name, (void)bytes;
}

bool state_ask(struct state *s, struct state_query *query)
{
	(void)s, (void)query;
	return false;
}

void state_status(const struct state *s, struct state_status *out)
{
	(void)s;
	*out = (struct state_status){0};
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
