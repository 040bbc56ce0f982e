/* SPDX-License-Identifier: MIT */
/* Pipes for bodies that are moved and not copied (splice), kept for the next one. */
#include "weir/net/pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "weir/base/check.h"

void pipe_pool_init(struct pipe_pool *pool, unsigned max)
{
	*pool = (struct pipe_pool){.max = max};
}

static unsigned count(const struct pipe_pool *pool)
{
	return atomic_load_explicit(&pool->n, memory_order_relaxed);
}

/* One writer: no locked instruction is needed. */
static void set_count(struct pipe_pool *pool, unsigned n)
{
	atomic_store_explicit(&pool->n, n, memory_order_relaxed);
}

static void pipe_close(struct pipe *pipe)
{
	set_count(pipe->pool, count(pipe->pool) - 1);
	close(pipe->read_fd);
	close(pipe->write_fd);
	free(pipe);
}

void pipe_pool_fini(struct pipe_pool *pool)
{
	while (pool->free) {
		struct pipe *pipe = pool->free;
		pool->free = pipe->next;
		pipe_close(pipe);
	}
	check(count(pool) == 0);
}

static struct pipe *pipe_new(struct pipe_pool *pool)
{
	int fds[2];
	if (count(pool) >= pool->max)
		return NULL;
	struct pipe *pipe = malloc(sizeof(*pipe));
	if (!pipe || pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0) {
		free(pipe);
		return NULL;
	}
	set_count(pool, count(pool) + 1);
	*pipe = (struct pipe){.pool = pool, .read_fd = fds[0], .write_fd = fds[1]};
	return pipe;
}

struct pipe *pipe_get(struct pipe_pool *pool)
{
	struct pipe *pipe = pool->free;
	if (!pipe)
		return pipe_new(pool);
	pool->free = pipe->next;
	return pipe;
}

void pipe_put(struct pipe *pipe)
{
	if (!pipe)
		return;
	if (pipe->held) {
		pipe_close(pipe);
		return;
	}
	pipe->next = pipe->pool->free;
	pipe->pool->free = pipe;
}

static enum io result(ssize_t moved)
{
	if (moved > 0)
		return IO_OK;
	if (moved == 0)
		return IO_EOF;
	return errno == EAGAIN ? IO_WAIT : IO_ERR;
}

/* Of an empty pipe EAGAIN says that the socket is empty, never that the pipe is full. */
enum io pipe_fill(struct pipe *pipe, int fd, size_t max, size_t *n)
{
	ssize_t moved;
	check(pipe->held == 0);
	if (max > PIPE_BYTES)
		max = PIPE_BYTES;
	do
		moved =
		    splice(fd, NULL, pipe->write_fd, NULL, max, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	while (moved < 0 && errno == EINTR);
	*n = pipe->held = moved > 0 ? (size_t)moved : 0;
	return result(moved);
}

enum io pipe_drain(struct pipe *pipe, int fd)
{
	while (pipe->held) {
		ssize_t moved = splice(pipe->read_fd, NULL, fd, NULL, pipe->held,
				       SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
		if (moved < 0 && errno == EINTR)
			continue;
		if (moved <= 0)
			return moved < 0 ? result(moved) : IO_ERR;
		pipe->held -= (size_t)moved;
	}
	return IO_OK;
}
