/* SPDX-License-Identifier: MIT */
/* The thread that reads and writes the files, and what it shares with those who put jobs. */
#ifndef WEIR_STATE_THREAD_H
#define WEIR_STATE_THREAD_H

#include <pthread.h>
#include <stdatomic.h>

#include "db.h"

#include "weir/base/list.h"
#include "weir/state/state.h"

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
	sqlite3 *checked; /* is being looked through: whoever stops interrupts that; or NULL */
	/* any thread */
	_Atomic(const char *) trouble;
	_Atomic uint64_t n_written, n_lost, bytes, n_file_failures;
	_Atomic(const char *) harm; /* see state_status */
	/* the thread's own */
	struct db db;
	int hold;                    /* of the directory, -1: none */
	uint64_t prune_us, check_us; /* monotonic: when that is due */
	uint64_t told_us;            /* when `harm` was, the last time */
	const char *aside;           /* what a file that it is of is called now; NULL: of none */
};

enum row_kind { ROW_MINUTE, ROW_EVENT };

/* Until `stop` is set and no job is left; the argument is a struct state. */
void *state_main(void *arg);
void job_free(struct job *job);

#endif
