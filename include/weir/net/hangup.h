/* SPDX-License-Identifier: MIT */
/*
 * Peers of which nothing is to be read any more, while something is still done for them:
 * one that has ended its direction (and may wait for an answer), or has sent ahead as much
 * as is taken.  Who waits to read would be told of that end over and over; who does not
 * would not be told that the connection is gone.  These are asked for that alone: a reset,
 * or the end of both directions.
 *
 *   hangups_watch(&w->hangups, fd, client);      // `gone` comes once, if it does
 *   hangups_forget(&w->hangups, fd);             // before the descriptor is closed
 *
 * One descriptor (an epoll instance) a worker, a system call for each of the two.  Thread:
 * the loop's.
 */
#ifndef WEIR_NET_HANGUP_H
#define WEIR_NET_HANGUP_H

#include <ev.h>
#include <stdbool.h>

#include "weir/base/err.h"
#include "weir/loop/loop.h"

struct hangups {
	int fd;
	ev_io io;
	struct loop *loop;
	void (*gone)(void *obj); /* may forget and close anybody */
};

enum err hangups_init(struct hangups *hangups, struct loop *loop, void (*gone)(void *obj));
void hangups_fini(struct hangups *hangups);

/* Both do nothing when that is so already. */
void hangups_watch(struct hangups *hangups, int fd, void *obj);
void hangups_forget(struct hangups *hangups, int fd);

#endif
