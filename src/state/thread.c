/* SPDX-License-Identifier: MIT */
/* Jobs, one after another: rows into the file, files, questions; and what goes wrong with them. */
#ifdef WEIR_SQLITE

#include "thread.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hold.h"

#include "weir/base/clock.h"
#include "weir/base/file.h"
#include "weir/base/log.h"
#include "weir/base/pack.h"

#define TOLD_US UINT64_C(3600000000)
#define PRUNE_US UINT64_C(600000000)
/* The file is looked through once an hour, unless that takes longer than a thousandth of it. */
#define CHECK_US UINT64_C(3600000000)
#define CHECK_SHARE 1000
/* A process that hands over has the directory so long. */
#define HOLD_TRIES 100
#define HOLD_TRY_US 100000
/* Minutes that begin later than this are of a time to come. */
#define AHEAD_S 120

/* ---- trouble ---- */

static const char *text_of(const struct state *s, int rc)
{
	if (rc == SQLITE_LOCKED)
		return "another weir keeps its own there";
	return rc && s->db.why ? s->db.why : sqlite3_errstr(rc);
}

static void note(struct state *s, int rc)
{
	const char *before = atomic_load(&s->trouble), *now = rc ? text_of(s, rc) : NULL;
	atomic_store(&s->trouble, now);
	if (now && (!before || strcmp(now, before) != 0))
		log_warn("%s cannot be used: %s; what cannot be kept is lost", s->path, now);
	else if (!now && before)
		log_info("%s can be used again", s->path);
}

/* Static text, which goes on after "the history". */
static void tell(struct state *s, const char *harm)
{
	s->told_us = clock_us();
	s->aside = NULL;
	if (atomic_exchange(&s->harm, harm) != harm)
		log_warn("the history in %s %s", s->directory, harm);
}

static bool is_gone(const struct state *s)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s%s", s->path, s->aside);
	return access(path, F_OK) && errno == ENOENT;
}

/* Told for an hour; of a file that was kept until somebody has taken that away. */
static void forget_harm(struct state *s)
{
	if (!atomic_load(&s->harm) || (s->aside ? !is_gone(s) : clock_us() < s->told_us + TOLD_US))
		return;
	atomic_store(&s->harm, NULL);
}

static void move_aside(struct state *s)
{
	bool newer = s->db.newer;
	db_move_aside(&s->db);
	tell(s, newer
		    ? "was written by a newer weir: it is history.db.newer now, and a new one was "
		      "begun"
		    : "was damaged: it is history.db.broken now, and a new one was begun");
	s->aside = newer ? ".newer" : ".broken";
}

/* 0, or errno. */
static int hold(struct state *s)
{
	if (hold_is_of(s->hold, s->directory))
		return 0;
	db_close(&s->db);
	if (s->hold >= 0)
		close(s->hold);
	return hold_take(&s->hold, s->directory);
}

static int open_file(struct state *s)
{
	int rc = db_open(&s->db);
	if (db_is_broken(rc)) {
		move_aside(s);
		rc = db_open(&s->db);
	}
	if (!rc && s->db.newest_s > clock_wall_us() / 1000000 + AHEAD_S)
		tell(s, "has rows of a time to come, as the clock has gone back: they show once it "
			"is there");
	return rc;
}

/* Open, if that can be: the code says why not. */
static int ready(struct state *s)
{
	int error = hold(s);
	s->db.why = NULL;
	forget_harm(s);
	if (error) {
		s->db.why = error == EWOULDBLOCK ? NULL : strerrordesc_np(error);
		return error == EWOULDBLOCK ? SQLITE_LOCKED : SQLITE_CANTOPEN;
	}
	if (s->db.handle && db_is_there(&s->db))
		return SQLITE_OK;
	if (s->db.handle)
		tell(s, "was removed while weir ran: a new one was begun");
	db_close(&s->db);
	return open_file(s);
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
	move_aside(s);
	return ready(s) == SQLITE_OK;
}

/* ---- jobs ---- */

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
	int rc = db_run(&s->db, DB_BEGIN);
	if (rc)
		return rc;
	while (!rc && in.left && !in.bad)
		rc = write_row(&s->db, &in);
	if (!rc && clock_us() >= s->prune_us) {
		rc = db_prune(&s->db, clock_wall_us() / 1000000);
		s->prune_us = clock_us() + PRUNE_US;
	}
	if (!rc)
		rc = db_run(&s->db, DB_COMMIT);
	if (rc)
		db_run(&s->db, DB_ROLLBACK);
	/* there is no room left: another time it is looked for at once */
	if ((rc & 0xff) == SQLITE_FULL)
		s->prune_us = 0;
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

static void tell_damaged_rows(struct state *s)
{
	if (s->db.bad_rows)
		tell(s, "has damaged rows, which are left out");
	s->db.bad_rows = false;
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
	tell_damaged_rows(s);
}

static void do_query(struct state *s, struct job *job)
{
	struct state_query *q = job->query;
	int rc = ready(s), answered = db_answer(&s->db, q);
	if (!rc)
		rc = answered;
	q->why = rc ? text_of(s, rc) : NULL;
	recover(s, rc);
	tell_damaged_rows(s);
	q->done(q);
}

static void do_file(struct state *s, struct job *job)
{
	int error = hold(s);
	if (!error)
		error = file_replace(s->directory, job->name, str_as_view(&job->bytes));
	if (error && atomic_fetch_add(&s->n_file_failures, 1) == 0)
		log_warn("%s/%s cannot be written: %s", s->directory, job->name,
			 error == EWOULDBLOCK ? "another weir keeps its own there"
					      : strerror(error));
	explicit_bzero(job->bytes.ptr, job->bytes.len); /* keys */
	if (!error)
		atomic_store(&s->n_file_failures, 0);
}

void job_free(struct job *job)
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

static bool is_stopping(struct state *s)
{
	pthread_mutex_lock(&s->lock);
	bool stop = s->stop;
	pthread_mutex_unlock(&s->lock);
	return stop;
}

/* It may be about to leave. */
static void wait_for_process_before(struct state *s)
{
	for (int i = 0; i < HOLD_TRIES && hold(s) == EWOULDBLOCK && !is_stopping(s); i++)
		usleep(HOLD_TRY_US);
}

static int stop_check(void *arg)
{
	return is_stopping(arg);
}

/* Pages are looked through within one step of SQLite's, which asks nobody: state_free ends it. */
static void set_checked(struct state *s, sqlite3 *handle)
{
	pthread_mutex_lock(&s->lock);
	s->checked = handle;
	pthread_mutex_unlock(&s->lock);
}

/* What nobody has read for long may be damaged for long. */
static void check_file(struct state *s)
{
	uint64_t now_us = clock_us();
	if (!s->db.handle || now_us < s->check_us)
		return;
	set_checked(s, s->db.handle);
	sqlite3_progress_handler(s->db.handle, 10000, stop_check, s);
	int rc = db_check(&s->db);
	sqlite3_progress_handler(s->db.handle, 0, NULL, NULL);
	set_checked(s, NULL);
	if (db_is_broken(rc))
		recover(s, rc);
	tell_damaged_rows(s);
	uint64_t took_us = clock_us() - now_us;
	s->check_us =
	    now_us + (took_us * CHECK_SHARE > CHECK_US ? took_us * CHECK_SHARE : CHECK_US);
}

static void do_job(struct state *s, struct job *job)
{
	switch (job->kind) {
	case JOB_ROWS:
		do_rows(s, job);
		check_file(s);
		break;
	case JOB_FILE:
		do_file(s, job);
		break;
	case JOB_QUERY:
		do_query(s, job);
		break;
	}
}

void *state_main(void *arg)
{
	struct state *s = arg;
	struct job *job;
	pthread_setname_np(pthread_self(), "state");
	if (s->enter)
		s->enter(s->arg);
	wait_for_process_before(s);
	note(s, ready(s));
	while ((job = take_job(s))) {
		do_job(s, job);
		job_free(job);
	}
	db_close(&s->db);
	if (s->hold >= 0)
		close(s->hold);
	return NULL;
}

#endif
