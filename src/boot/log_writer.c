/* SPDX-License-Identifier: MIT */
/* The thread that writes the access log out of the workers' rings: it alone waits for the disk. */
#include "log_writer.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "control.h"
#include "log_file.h"
#include "log_syslog.h"

#include "weir/base/check.h"
#include "weir/base/file.h"
#include "weir/base/sink.h"
#include "weir/base/thread.h"
#include "weir/net/socket.h"

/* A line is at most this old when it is written. */
#define FLUSH_MS 200
/* Rings that fill at this rate are looked at more often. */
#define BUSY_BYTES (LOG_RING_BYTES / 16)
/* Written at the most before somebody may say that another file is wanted. */
#define BATCHES 64
#define BUSY_FLUSH_MS 5
/* Room for the longest line, and for enough of the others. */
#define WRITE_BYTES (128 * 1024)
/* Without a reader, how often what is left at the end is tried. */
#define STOP_TRIES 3
#define STOP_JOIN_S 2

struct log_writer {
	struct control *control; /* workers do not change while it runs */
	pthread_t thread;
	int wake_fd;
	/* the control thread's: what a reload has made ready */
	struct prepared {
		char *path; /* owned; NULL: nothing changes */
		int fd;
		bool created; /* the file was not there before */
	} prepared;
	pthread_mutex_t lock; /* guards path and next_fd; nobody blocks while he holds it */
	char *path;           /* "off", "stdout" or a file */
	int next_fd;          /* to switch to, -1: none */
	bool has_next;
	_Atomic bool stop, reopen;
	_Atomic int reopen_error; /* errno, 0: the last time it went well */
	_Atomic uint64_t reopen_failures;
	/* the thread's own */
	struct sink sink;
	char *syslog; /* the path where sink is a socket of syslog, else NULL; owns */
	uint64_t syslog_tried_us;
	size_t from, len;    /* lines in `lines` that are still to be written */
	_Atomic size_t held; /* their bytes, for whoever asks what waits */
	char lines[WRITE_BYTES];
};

static bool is_off(const char *path)
{
	return strcmp(path, "off") == 0;
}

/* ---- the thread ---- */

/* Whole lines of one ring, as many as there is room for. */
static size_t take_lines(struct log_writer *w, struct ring *ring)
{
	size_t n = ring_len(ring), room = sizeof(w->lines) - w->len;
	n = n < room ? n : room;
	ring_copy(ring, w->lines + w->len, n);
	const char *end = n ? memrchr(w->lines + w->len, '\n', n) : NULL;
	n = end ? (size_t)(end + 1 - (w->lines + w->len)) : 0;
	ring_took(ring, n);
	w->len += n;
	return n;
}

/* Adds to *most what came out of the fullest ring; false: there is nothing. */
static bool fill(struct log_writer *w, size_t *most)
{
	w->from = w->len = 0;
	for (unsigned i = 0; i < w->control->n_workers; i++) {
		size_t n = take_lines(w, &w->control->workers[i]->log.ring);
		*most = n > *most ? n : *most;
	}
	return w->len > 0;
}

static void note_trouble(struct log_writer *w, int before)
{
	int now = atomic_load(&w->sink.error);
	if (now && now != before)
		log_error("cannot write the access log: %s", strerror(now));
}

static void note_held(struct log_writer *w)
{
	atomic_store_explicit(&w->held, w->len - w->from, memory_order_relaxed);
}

static size_t write_some(struct log_writer *w, struct view lines)
{
	if (w->syslog && w->sink.fd >= 0)
		return log_syslog_write(
		    &w->sink, &(struct log_syslog){w->syslog, &w->syslog_tried_us, FLUSH_MS},
		    lines);
	return sink_write(&w->sink, lines, FLUSH_MS);
}

/*
 * Writes what there is, as far as it goes now and `batches` at most: lines may come as fast
 * as they go.  The bytes of the fullest ring.
 */
static size_t drain(struct log_writer *w, unsigned batches)
{
	size_t most = 0;
	while (batches-- && (w->from < w->len || fill(w, &most))) {
		int before = atomic_load(&w->sink.error);
		note_held(w);
		w->from += write_some(w, view_of(w->lines + w->from, w->len - w->from));
		note_trouble(w, before);
		if (w->from < w->len)
			break;
	}
	note_held(w);
	return most;
}

static bool is_same_file(int a, int b)
{
	struct stat x, y;
	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

/* What of a line has not been written stays away: its beginning is in the other file. */
static void drop_rest_of_line(struct log_writer *w)
{
	struct view rest = view_of(w->lines + w->from, w->len - w->from);
	struct view line = view_head(rest, (size_t)(view_chr(rest, '\n') + 1));
	sink_drop(&w->sink, line);
	w->from += line.len;
}

static char *current_path(struct log_writer *w)
{
	pthread_mutex_lock(&w->lock);
	char *path = strdup(w->path);
	pthread_mutex_unlock(&w->lock);
	check(path != NULL);
	return path;
}

/* Whether what is written to is a socket of syslog. */
static void note_syslog(struct log_writer *w)
{
	char *path = current_path(w);
	free(w->syslog);
	w->syslog = log_syslog_is(path) ? path : NULL;
	w->syslog_tried_us = 0;
	if (!w->syslog)
		free(path);
}

static void switch_to(struct log_writer *w, int fd)
{
	bool cut = w->sink.mid && is_same_file(w->sink.fd, fd);
	if (w->sink.mid && !w->sink.cut)
		drop_rest_of_line(w);
	sink_close(&w->sink);
	sink_open(&w->sink, fd);
	w->sink.cut |= cut;
	note_syslog(w);
}

/* True when there is a descriptor to go on with, perhaps -1 for none. */
static bool take_next(struct log_writer *w, int *fd)
{
	pthread_mutex_lock(&w->lock);
	bool has = w->has_next;
	*fd = w->next_fd;
	w->next_fd = -1;
	w->has_next = false;
	pthread_mutex_unlock(&w->lock);
	return has;
}

/* To open may take its time: not under the lock. */
static void reopen(struct log_writer *w)
{
	char *path = current_path(w);
	bool created;
	int fd = is_off(path) ? -1 : log_file_open(path, &created), error = errno;
	if (fd >= 0) {
		switch_to(w, fd);
		atomic_store(&w->reopen_error, 0);
	} else if (!is_off(path)) {
		atomic_fetch_add(&w->reopen_failures, 1);
		atomic_store(&w->reopen_error, error);
		log_error("cannot reopen the access log %s: %s; lines go where they went before",
			  path, strerror(error));
	}
	free(path);
}

static void follow(struct log_writer *w)
{
	int fd;
	if (atomic_exchange(&w->reopen, false))
		reopen(w);
	if (!take_next(w, &fd))
		return;
	switch_to(w, fd);
	atomic_store(&w->reopen_error, 0);
}

static void finish_lines(struct log_writer *w)
{
	uint64_t before = atomic_load(&w->sink.dropped);
	for (unsigned i = 0; i < STOP_TRIES; i++) {
		drain(w, UINT_MAX);
		if (w->from == w->len)
			break;
	}
	do
		sink_drop(&w->sink, view_of(w->lines + w->from, w->len - w->from));
	while (fill(w, &(size_t){0}));
	/* nobody can ask any more */
	uint64_t lost = atomic_load(&w->sink.dropped) - before;
	if (lost)
		log_error("the last %llu line%s of the access log went nowhere",
			  (unsigned long long)lost, lost == 1 ? "" : "s");
}

static void *writer_main(void *arg)
{
	struct log_writer *w = arg;
	pthread_setname_np(pthread_self(), "access log");
	int wait_ms = FLUSH_MS;
	while (!atomic_load(&w->stop)) {
		struct pollfd p = {.fd = w->wake_fd, .events = POLLIN};
		if (poll(&p, 1, wait_ms) > 0) {
			uint64_t n;
			ssize_t ignored = read(w->wake_fd, &n, sizeof(n));
			(void)ignored;
		}
		wait_ms = drain(w, BATCHES) > BUSY_BYTES ? BUSY_FLUSH_MS : FLUSH_MS;
		follow(w);
	}
	finish_lines(w);
	return NULL;
}

static void wake(struct log_writer *w)
{
	uint64_t one = 1;
	ssize_t ignored = write(w->wake_fd, &one, sizeof(one));
	(void)ignored;
}

/* ---- configuration ---- */

/* "syslog:SOCKET" tells one socket from another. */
static const char *path_of(const struct conf *conf, char room[PATH_MAX])
{
	const struct conf_access_log *log = &conf->log.access;
	if (!view_eq(log->path, VIEW("syslog")))
		return log->path.ptr;
	snprintf(room, PATH_MAX, SYSLOG_PREFIX "%s", log->socket.ptr);
	return room;
}

enum err log_writer_prepare(struct log_writer *w, const struct conf *conf, struct str *why)
{
	char room[PATH_MAX];
	const char *path = path_of(conf, room);
	w->prepared = (struct prepared){.fd = -1};
	if (w->path && strcmp(path, w->path) == 0)
		return ERR_OK;
	if (!is_off(path) && (w->prepared.fd = log_file_open(path, &w->prepared.created)) < 0) {
		str_printf(why, "cannot open the access log %s: %s\n", path, strerror(errno));
		return ERR_IO;
	}
	w->prepared.path = strdup(path);
	check(w->prepared.path != NULL);
	return ERR_OK;
}

void log_writer_cancel(struct log_writer *w)
{
	if (w->prepared.created)
		file_remove(w->prepared.path);
	socket_close(w->prepared.fd);
	free(w->prepared.path);
	w->prepared = (struct prepared){.fd = -1};
}

void log_writer_commit(struct log_writer *w)
{
	if (!w->prepared.path)
		return;
	pthread_mutex_lock(&w->lock);
	free(w->path);
	w->path = w->prepared.path;
	socket_close(w->next_fd);
	w->next_fd = w->prepared.fd;
	w->has_next = true;
	pthread_mutex_unlock(&w->lock);
	w->prepared = (struct prepared){.fd = -1};
	wake(w);
}

void log_writer_reopen(struct log_writer *w)
{
	atomic_store(&w->reopen, true);
	wake(w);
}

/* ---- life ---- */

static void release(struct log_writer *w)
{
	socket_close(w->next_fd);
	socket_close(w->wake_fd);
	pthread_mutex_destroy(&w->lock);
	free(w->path);
	free(w->syslog);
	free(w);
}

struct log_writer *log_writer_new(struct control *control, const struct conf *conf, struct str *why)
{
	struct log_writer *w = calloc(1, sizeof(*w));
	int fd;
	check(w != NULL);
	w->control = control;
	w->next_fd = -1;
	pthread_mutex_init(&w->lock, NULL);
	w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->wake_fd < 0 || log_writer_prepare(w, conf, why)) {
		release(w);
		return NULL;
	}
	log_writer_commit(w);
	take_next(w, &fd); /* no line may be lost before the thread's first turn */
	sink_open(&w->sink, fd);
	note_syslog(w);
	check(thread_start(&w->thread, writer_main, w));
	return w;
}

bool log_writer_free(struct log_writer *w)
{
	struct timespec until;
	if (!w)
		return true;
	atomic_store(&w->stop, true);
	wake(w);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += STOP_JOIN_S;
	if (pthread_timedjoin_np(w->thread, NULL, &until)) {
		log_warn("the access log hangs: what was left for it is lost");
		return false;
	}
	sink_close(&w->sink);
	release(w);
	return true;
}

void log_writer_status(struct log_writer *w, struct arena *arena, struct admin_log *out)
{
	const char *trouble = sink_trouble(&w->sink);
	int error = atomic_load(&w->reopen_error);
	*out = (struct admin_log){
	    .path = view_str(arena_strdup(arena, w->path)), /* changed by this thread only */
	    .dropped = atomic_load(&w->sink.dropped),
	    .waiting_bytes = atomic_load_explicit(&w->held, memory_order_relaxed),
	    .trouble = view_str(trouble),
	    .reopen_error = view_str(error ? arena_strdup(arena, strerror(error)) : NULL),
	    .reopen_failures = atomic_load(&w->reopen_failures),
	};
	for (unsigned i = 0; i < w->control->n_workers; i++) {
		struct worker *worker = w->control->workers[i];
		out->dropped += counter_get(&worker->log.dropped);
		out->waiting_bytes += ring_len(&worker->log.ring);
	}
}
