/* SPDX-License-Identifier: MIT */
/*
 * What takes its time, on a thread of its own: keys of RSA, disks, the system's resolver.
 *
 *   work = work_begin(&loop, &(struct work_job){.run = r, .done = d, .drop = x, .arg = mine});
 *   ... run(mine) there; then done(mine) here, once, or after work_cancel drop(mine), there or here
 *
 * Thread: that of the loop.
 */
#ifndef WEIR_LOOP_WORK_H
#define WEIR_LOOP_WORK_H

#include "weir/loop/loop.h"

struct work;

struct work_job {
	void (*run)(void *arg);
	void (*done)(void *arg);
	void (*drop)(void *arg);
	void *arg;
};

/* NULL: no thread can be had, and nothing is called. */
struct work *work_begin(struct loop *loop, const struct work_job *job);
void work_cancel(struct work *work); /* NULL is fine */

#endif
