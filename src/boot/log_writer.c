/* SPDX-License-Identifier: MIT */
/*
 * The access log's second half: one thread takes lines out of the workers'
 * rings and writes them.  It may block on a disk; nobody waits for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "control.h"

#include "weir/base/check.h"
#include "weir/net/socket.h"

/* A line is at most this old when it is written. */
#define FLUSH_MS 200
/* Rings that fill at this rate are looked at more often. */
#define BUSY_BYTES (LOG_RING_BYTES / 16)
#define BUSY_FLUSH_MS 5

struct log_writer {
	struct control *control; /* workers do not change while it runs */
	pthread_t thread;
	int wake_fd;
	pthread_mutex_t lock; /* guards path and next_fd; never taken by a worker */
	char *path;           /* "off", "stdout" or a file */
	int next_fd;          /* to switch to, -1: none */
	_Atomic bool stop, reopen;
	int fd; /* the thread's own */
	bool failed;
};

static int open_path(const char *path)
{
	if (strcmp(path, "off") == 0)
		return -1;
	if (strcmp(path, "stdout") == 0)
		return fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
}

static bool write_all(struct log_writer *writer, struct view bytes)
{
	while (bytes.len) {
		ssize_t n = write(writer->fd, bytes.ptr, bytes.len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			if (!writer->failed)
				log_error("cannot write the access log: %s", strerror(errno));
			writer->failed = true;
			return false;
		}
		bytes = view_skip(bytes, (size_t)n);
	}
	writer->failed = false;
	return true;
}

/* Bytes of the fullest ring. */
static size_t drain_rings(struct log_writer *writer)
{
	size_t most = 0;
	for (unsigned i = 0; i < writer->control->n_workers; i++) {
		struct ring *ring = &writer->control->workers[i]->log.ring;
		struct view run;
		size_t n = 0;
		while ((run = ring_peek(ring)).len) {
			if (writer->fd >= 0)
				write_all(writer, run);
			ring_took(ring, run.len);
			n += run.len;
		}
		most = n > most ? n : most;
	}
	return most;
}

static void switch_file(struct log_writer *writer)
{
	pthread_mutex_lock(&writer->lock);
	int fd = writer->next_fd;
	writer->next_fd = -1;
	if (atomic_exchange(&writer->reopen, false) && fd < 0)
		fd = open_path(writer->path);
	bool off = strcmp(writer->path, "off") == 0;
	pthread_mutex_unlock(&writer->lock);
	if (fd < 0 && !off)
		return;
	socket_close(writer->fd);
	writer->fd = fd;
}

static void *writer_main(void *arg)
{
	struct log_writer *writer = arg;
	pthread_setname_np(pthread_self(), "access log");
	int wait_ms = FLUSH_MS;
	for (;;) {
		struct pollfd p = {.fd = writer->wake_fd, .events = POLLIN};
		bool stop = atomic_load(&writer->stop);
		if (!stop && poll(&p, 1, wait_ms) > 0) {
			uint64_t n;
			ssize_t ignored = read(writer->wake_fd, &n, sizeof(n));
			(void)ignored;
		}
		wait_ms = drain_rings(writer) > BUSY_BYTES ? BUSY_FLUSH_MS : FLUSH_MS;
		if (stop)
			return NULL;
		switch_file(writer);
	}
}

static void wake(struct log_writer *writer)
{
	uint64_t one = 1;
	ssize_t ignored = write(writer->wake_fd, &one, sizeof(one));
	(void)ignored;
}

enum err log_writer_follow(struct log_writer *writer, const struct conf *conf, struct str *why)
{
	const char *path = conf->log.access.path.ptr;
	if (writer->path && strcmp(path, writer->path) == 0)
		return ERR_OK;
	int fd = open_path(path);
	if (fd < 0 && strcmp(path, "off") != 0) {
		str_printf(why, "cannot open the access log %s: %s\n", path, strerror(errno));
		return ERR_IO;
	}
	char *copy = strdup(path);
	check(copy != NULL);
	pthread_mutex_lock(&writer->lock);
	free(writer->path);
	writer->path = copy;
	socket_close(writer->next_fd);
	writer->next_fd = fd;
	pthread_mutex_unlock(&writer->lock);
	wake(writer);
	return ERR_OK;
}

void log_writer_reopen(struct log_writer *writer)
{
	atomic_store(&writer->reopen, true);
	wake(writer);
}

struct log_writer *log_writer_new(struct control *control, const struct conf *conf, struct str *why)
{
	struct log_writer *writer = calloc(1, sizeof(*writer));
	check(writer != NULL);
	writer->control = control;
	writer->fd = writer->next_fd = -1;
	pthread_mutex_init(&writer->lock, NULL);
	writer->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (writer->wake_fd < 0 || log_writer_follow(writer, conf, why)) {
		socket_close(writer->wake_fd);
		free(writer);
		return NULL;
	}
	writer->fd = writer->next_fd; /* no line may be lost before the thread's first turn */
	writer->next_fd = -1;
	check(pthread_create(&writer->thread, NULL, writer_main, writer) == 0);
	return writer;
}

void log_writer_free(struct log_writer *writer)
{
	if (!writer)
		return;
	atomic_store(&writer->stop, true);
	wake(writer);
	pthread_join(writer->thread, NULL);
	socket_close(writer->fd);
	socket_close(writer->next_fd);
	socket_close(writer->wake_fd);
	pthread_mutex_destroy(&writer->lock);
	free(writer->path);
	free(writer);
}
