/* SPDX-License-Identifier: MIT */
/*
 * Members that sources name, between discover/ and the generations: a change of them makes a
 * new generation, a little later so that many become one; who is gone leaves when nothing is
 * in flight there any more.
 *
 * Thread: control.
 */
#ifndef WEIR_BOOT_MEMBERS_H
#define WEIR_BOOT_MEMBERS_H

#include "weir/discover/discover.h"

struct control;
struct members;

/* `rebuild` makes a generation of the configuration and the members of now, and publishes it. */
struct members *members_new(struct control *control,
			    enum err (*rebuild)(struct control *control, struct str *why));
void members_free(struct members *m); /* NULL is fine */

void members_prepare(struct members *m, const struct conf *conf);
void members_cancel(struct members *m);
void members_commit(struct members *m);
/* The first configuration: prepared, and perhaps inherited.  Gives the sources a moment to
 * answer, so that the first requests find somebody; signals wait that long. */
void members_begin(struct members *m);

const struct conf_pool *members_pool(struct members *m, const struct conf_pool *conf,
				     struct arena *arena);
/* Once a second. */
void members_tick(struct members *m);

struct discover *members_discover(struct members *m);
struct fetcher *members_fetcher(struct members *m);
/* Why the members of now are not in force; empty: they are. */
struct view members_trouble(const struct members *m);

#endif
