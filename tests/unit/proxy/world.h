/* SPDX-License-Identifier: MIT */
/*
 * The whole of weir's proxy in one thread: a control loop, one worker, a configuration,
 * listeners and backends on unix sockets, whose bytes arrive the moment they are sent.
 * With the clock stopped nothing happens that a script does not ask for.
 *
 *   struct world *w = world_new(yaml);
 *   ... connect to w->dir/web, listen on w->dir/b1 ...
 *   world_settle(w);            // until weir has nothing left to do
 *   world_pass(w, 500000);      // half a second
 *   world_free(w);              // checks that nothing is left over
 */
#ifndef TESTS_UNIT_PROXY_WORLD_H
#define TESTS_UNIT_PROXY_WORLD_H

#include "boot/control.h"

struct world {
	struct control control;
	struct worker *worker;
	char dir[64];
	struct options options;
};

/* `yaml`: $DIR in it is the world's folder.  NULL with a message on stderr. */
struct world *world_new(const char *yaml);
/* Another configuration, as control_reload has it, but for what follows files. */
enum err world_reload(struct world *w, const char *yaml, struct str *why);
/* One round of all loops; false: there is no more to do until somebody else moves something. */
bool world_turn(struct world *w);
void world_settle(struct world *w);
void world_pass(struct world *w, uint64_t us);
/* What is left over, or NULL. */
const char *world_leftover(struct world *w);
void world_free(struct world *w);
/* Where the sockets of a world of this process are. */
void world_folder(pid_t pid, char *dir, size_t cap);
/* Removes the folder of a process that ended without world_free; there may be none. */
void world_sweep(pid_t pid);
/* Those of all processes that have ended so. */
void world_sweep_dead(void);

/*
 * A counter by name: of the worker, outcome.NAME, pool.NAME, BACKEND.NAME, and BACKEND.streams
 * (open ones), BACKEND.measured (successes in its histogram), mirror.NAME of the first route.
 * -1: there is none.
 */
int64_t world_counter(const struct world *w, const char *name);

#endif
