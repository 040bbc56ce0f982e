/* SPDX-License-Identifier: MIT */
/* Lines into a descriptor that may hang, fill up or vanish: a line goes whole or not at all. */
#include "weir/base/sink.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Ends what a process before this one could not write to its end. */
static void end_last_line(struct sink *sink, const struct stat *st)
{
	char last;
	sink->cut = S_ISREG(st->st_mode) && st->st_size > 0 &&
		    pread(sink->fd, &last, 1, st->st_size - 1) == 1 && last != '\n';
}

void sink_open(struct sink *sink, int fd)
{
	struct stat st;
	sink->fd = fd;
	sink->piece = sink->mid = sink->cut = false;
	atomic_store_explicit(&sink->error, 0, memory_order_relaxed);
	atomic_store_explicit(&sink->stalled, false, memory_order_relaxed);
	if (fd < 0 || fstat(fd, &st))
		return;
	sink->piece = !S_ISREG(st.st_mode);
	end_last_line(sink, &st);
}

void sink_close(struct sink *sink)
{
	if (sink->fd >= 0)
		close(sink->fd);
	sink->fd = -1;
}

void sink_drop(struct sink *sink, struct view lines)
{
	uint64_t n = 0;
	for (size_t i = 0; i < lines.len; i++)
		n += lines.ptr[i] == '\n';
	atomic_fetch_add_explicit(&sink->dropped, n, memory_order_relaxed);
}

/* A pipe that has room at all takes PIPE_BUF bytes at once: whole lines if it can be. */
static struct view next_piece(const struct sink *sink, struct view lines)
{
	if (!sink->piece || lines.len <= PIPE_BUF)
		return lines;
	const char *end = memrchr(lines.ptr, '\n', PIPE_BUF);
	return view_head(lines, end ? (size_t)(end - lines.ptr) + 1 : PIPE_BUF);
}

static bool has_room(struct sink *sink, int wait_ms)
{
	struct pollfd p = {.fd = sink->fd, .events = POLLOUT};
	bool room = !sink->piece || poll(&p, 1, wait_ms) > 0;
	atomic_store_explicit(&sink->stalled, !room, memory_order_relaxed);
	return room;
}

/* The bytes that went; -1 and errno otherwise, EAGAIN when there is no room. */
static ssize_t write_piece(struct sink *sink, struct view lines, int wait_ms)
{
	if (!has_room(sink, wait_ms)) {
		errno = EAGAIN;
		return -1;
	}
	if (sink->cut) {
		if (write(sink->fd, "\n", 1) != 1)
			return -1;
		sink->cut = sink->mid = false;
		if (!has_room(sink, wait_ms))
			return 0;
	}
	struct view piece = next_piece(sink, lines);
	return write(sink->fd, piece.ptr, piece.len);
}

static size_t give_up(struct sink *sink, struct view lines, size_t done)
{
	sink->cut |= sink->mid;
	sink_drop(sink, view_skip(lines, done));
	return lines.len;
}

size_t sink_write(struct sink *sink, struct view lines, int wait_ms)
{
	size_t done = 0;
	if (sink->fd < 0)
		return lines.len;
	while (done < lines.len) {
		ssize_t n = write_piece(sink, view_skip(lines, done), wait_ms);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return done;
		atomic_store_explicit(&sink->error, n < 0 ? errno : 0, memory_order_relaxed);
		if (n < 0)
			return give_up(sink, lines, done);
		if (n > 0)
			sink->mid = lines.ptr[done + (size_t)n - 1] != '\n';
		done += (size_t)n;
	}
	return done;
}

const char *sink_trouble(const struct sink *sink)
{
	int error = atomic_load_explicit(&sink->error, memory_order_relaxed);
	if (error)
		return strerror(error);
	return atomic_load_explicit(&sink->stalled, memory_order_relaxed)
		   ? "nobody reads what is written"
		   : NULL;
}
