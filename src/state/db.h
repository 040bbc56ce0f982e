/* SPDX-License-Identifier: MIT */
/*
 * The history's file.  Results are SQLite's codes; SQLITE_OK is 0.  State thread.
 *
 *   series   id, pool, backend ('' for the pool itself)
 *   minute   series, at, sums       at: seconds since 1970; sums: stats/minute.h
 *   hour     the same
 *   event    at (microseconds since 1970), kind, pool, backend, message
 *   judged   at: by which time rows have grown old so far
 */
#ifndef WEIR_STATE_DB_H
#define WEIR_STATE_DB_H

#include <sqlite3.h>

#include "weir/base/file.h"
#include "weir/base/view.h"
#include "weir/stats/minute.h"

enum db_statement {
	DB_BEGIN,
	DB_COMMIT,
	DB_ROLLBACK,
	DB_SERIES_FIND,
	DB_SERIES_ADD,
	DB_MINUTE_GET,
	DB_MINUTE_PUT,
	DB_HOUR_GET,
	DB_HOUR_PUT,
	DB_EVENT_ADD,
	DB_MINUTE_PRUNE,
	DB_HOUR_PRUNE,
	DB_EVENT_PRUNE,
	DB_SERIES_PRUNE,
	DB_MINUTE_EIGHTH,
	DB_HOUR_EIGHTH,
	DB_NEWEST,
	DB_JUDGED_GET,
	DB_JUDGED_PUT,
	DB_PAGES,
	DB_MINUTES_READ,
	DB_HOURS_READ,
	DB_EVENTS_READ,
	N_DB_STATEMENTS
};

struct db {
	sqlite3 *handle; /* owns; NULL: closed */
	sqlite3_stmt *statements[N_DB_STATEMENTS];
	const char *path; /* borrows */
	int directory;    /* of the file, owns; -1: none */
	struct file_id id;
	uint64_t bytes_max, history_s;
	const char *why;   /* more than the code says of a failure, static; NULL: no more */
	bool newer;        /* the form of the file is not known yet */
	bool bad_rows;     /* some that were read are damaged */
	uint64_t newest_s; /* the latest minute, when it was opened */
	uint64_t prune_s;  /* the time by which rows grow old, see db_prune; 0: not known yet */
};

/* Opens the file, makes it when it is not there. */
int db_open(struct db *db);
void db_close(struct db *db);
/* It is damaged, or none of ours: whoever goes on needs another. */
bool db_is_broken(int rc);
/* Out of the way, as PATH.broken or PATH.newer; the latest one is kept. */
void db_move_aside(struct db *db);
/* The path still leads to the file that is open. */
bool db_is_there(const struct db *db);
/* Reads all of it. */
int db_check(struct db *db);

/* Ready to bind; NULL: the file is closed. */
sqlite3_stmt *db_use(struct db *db, enum db_statement which);
int db_run(struct db *db, enum db_statement which);
void db_bind_view(sqlite3_stmt *s, int at, struct view v);
struct view db_column_view(sqlite3_stmt *s, int at);

/* rows.c: in a transaction of the caller */
int db_add_minute(struct db *db, uint64_t at_s, struct view pool, struct view backend,
		  struct view sums);
int db_add_event(struct db *db, uint64_t at_us, struct view kind, struct view pool,
		 struct view backend, struct view message);
/*
 * What is too old, and what there is no room for.  A clock that jumps makes nothing old at once:
 * the time by which rows are judged begins at the latest of them, goes on by an hour a call, and
 * is kept over restarts.
 */
int db_prune(struct db *db, uint64_t now_s);
int db_bytes(struct db *db, uint64_t *bytes);

/* query.c */
struct state_query;
int db_answer(struct db *db, struct state_query *query);

#endif
