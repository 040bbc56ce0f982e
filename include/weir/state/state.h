/* SPDX-License-Identifier: MIT */
/*
 * What outlives the process, in one directory:
 *
 *   history.db   rows by minute and hour and events, SQLite in WAL mode
 *   NAME         files that state_file replaces as a whole
 *   lock         who has the directory
 *
 * A thread of its own writes and reads them.  Who calls only puts something into a queue
 * of bounded size, and never waits: for a full disk, a locked or a broken file rows are
 * lost, counted, and said in state_status.  A broken history.db is moved aside, to
 * history.db.broken, one of a newer weir to history.db.newer, and a new one begun.  A
 * process has the directory for itself (lock): another one waits for ten seconds, as for a
 * hand-over, and then keeps nothing for as long as it is not let in.
 *
 *   struct state *s = state_new(&options, &why);
 *   state_minute(s, at_s, pool, VIEW_NONE, packed);   // stats/minute.h
 *   state_send(s);
 *   state_ask(s, query);                              // query->done is called on the thread
 *   state_free(s);                                    // what was put is written first
 *
 * All functions are the control thread's.
 */
#ifndef WEIR_STATE_STATE_H
#define WEIR_STATE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/base/str.h"
#include "weir/base/view.h"

struct state;

struct state_options {
	struct view directory;    /* is there */
	uint64_t history_s;       /* rows of an hour and events are kept so long */
	uint64_t bytes_max;       /* of the history's file */
	void (*enter)(void *arg); /* called first on the thread; may be NULL */
	void *arg;
};

/* Rows of a minute are kept so long. */
#define STATE_MINUTES_S (2 * 86400)
/* The most rows of one query for one pool or backend. */
#define STATE_ROWS_MAX 3000

/* For -V: a name and a version, NULL when weir was built without. */
const char *state_library(void);

/* Copies the options.  NULL with a sentence in `why`. */
struct state *state_new(const struct state_options *options, struct str *why);
/*
 * Writes what is left, for two seconds at most: false when the thread hangs in the kernel,
 * and then nothing of it is freed.  NULL is fine.
 */
bool state_free(struct state *state);

/*
 * One minute, from at_s on (seconds since 1970), of a backend, or of a pool when `backend`
 * is empty; `sums` is what minute_pack gave.  What comes for the same minute is added.
 */
void state_minute(struct state *state, uint64_t at_s, struct view pool, struct view backend,
		  struct view sums);
void state_event(struct state *state, uint64_t at_us, const char *kind, struct view pool,
		 struct view backend, struct view message);
/* What was put since the last time goes to the thread; whole minutes arrive together. */
void state_send(struct state *state);

/*
 * Takes the bytes and puts them into a file of this name (static text), whole or not at
 * all, for the owner alone.  The latest counts when several wait.
 */
void state_file(struct state *state, const char *name, struct str *bytes);

/* ---- asking ---- */

struct state_query {
	uint64_t since_s, until_s, step_s; /* step: whole minutes; of hours, hours are read */
	struct str pool, backend;          /* own; pool empty: all pools */
	/* owns; minutes that are not stored yet, as state_minute would put them: state_put_row */
	struct str rows;
	void (*done)(struct state_query *query); /* on the state thread, exactly once */
	/* the answer: JSON members "pools" or "rows", and "markers"; its head is the asker's */
	struct str json; /* owns */
	const char *why; /* NULL: all is well; else the history could not be read */
};

void state_put_row(struct str *rows, uint64_t at_s, struct view pool, struct view backend,
		   struct view sums);
/* False when too much waits: then `done` is not called. */
bool state_ask(struct state *state, struct state_query *query);
void state_query_fini(struct state_query *query);

/* ---- how it goes ---- */

struct state_status {
	const char *trouble; /* NULL, or why the last write failed; static text */
	/* NULL, or what has befallen the history: goes on after "the history"; for an hour, or
	 * until a file that was moved aside for it is gone */
	const char *harm;
	uint64_t rows, lost; /* since the start */
	uint64_t bytes;      /* of history.db */
	uint64_t file_failures;
};

void state_status(const struct state *state, struct state_status *out);

#endif
