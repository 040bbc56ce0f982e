/* SPDX-License-Identifier: MIT */
/*
 * Pipes by which the kernel passes bytes from one plain socket to another without
 * copying them (splice(2)).
 *
 *   pipe = pipe_get(&pool);                   NULL: none is left, copy instead
 *   pipe_fill(pipe, from, max, &n);           an empty one only
 *   pipe_drain(pipe, to);                     IO_WAIT: some are left in it, again when writable
 *   pipe_put(pipe);
 *
 * One pool a worker, bounded: a pipe takes two descriptors and, while a slow peer is
 * behind it, memory of the kernel.  One thread.
 */
#ifndef WEIR_NET_PIPE_H
#define WEIR_NET_PIPE_H

#include <stdatomic.h>

#include "weir/net/transport.h"

/* Bytes in a pipe at most; what a connection may buffer in one direction. */
#define PIPE_BYTES (64 * 1024)

struct pipe_pool;

struct pipe {
	struct pipe_pool *pool; /* outlives it */
	struct pipe *next;      /* while it is free */
	int read_fd, write_fd;
	size_t held; /* bytes in it */
};

struct pipe_pool {
	struct pipe *free; /* owns; the last one used first */
	unsigned max;
	atomic_uint n; /* that exist; other threads read it, relaxed, for status only */
};

void pipe_pool_init(struct pipe_pool *pool, unsigned max);
/* When no pipe is in use any more. */
void pipe_pool_fini(struct pipe_pool *pool);

/* NULL: `max` are in use, or descriptors or memory are out. */
struct pipe *pipe_get(struct pipe_pool *pool);
/* One that still holds bytes is closed with them.  NULL is fine. */
void pipe_put(struct pipe *pipe);

/* Up to `max` bytes, and PIPE_BYTES, out of the socket `fd`. */
enum io pipe_fill(struct pipe *pipe, int fd, size_t max, size_t *n);
/* IO_OK: it is empty. */
enum io pipe_drain(struct pipe *pipe, int fd);

#endif
