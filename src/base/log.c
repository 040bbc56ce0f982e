/* SPDX-License-Identifier: MIT */
/*
 * Lines wait in a queue of slots (many put, one takes; Vyukov's bounded queue):
 * a slot's turn says whose it is.
 *
 *   turn == position          free for the one that claims this position
 *   turn == position + 1      holds a line for the writer
 *   turn == position + SLOTS  free again, a round later
 */
#include "weir/base/log.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "weir/base/clock.h"
#include "weir/base/sink.h"
#include "weir/base/text.h"
#include "weir/base/thread.h"

#define SLOTS 256 /* a power of two */
#define SLOT_BYTES 2048
#define DIRECT_WAIT_MS 1000
#define WAIT_MS 200
/* What is left at the end has so long to go. */
#define STOP_WAIT_MS 500
#define STOP_JOIN_S 2

static const struct {
	const char *name;
	int syslog_priority;
} levels[] = {
    [LOG_LEVEL_DEBUG] = {"debug", 7},
    [LOG_LEVEL_INFO] = {"info", 6},
    [LOG_LEVEL_WARN] = {"warn", 4},
    [LOG_LEVEL_ERROR] = {"error", 3},
};

static _Atomic int min_level = LOG_LEVEL_INFO;

/*
 *   DIRECT --log_start--> QUEUED --log_stop--> DIRECT
 *                                      |
 *                                      +-----> LOST   its thread hangs in a write
 */
enum log_mode { LOG_DIRECT, LOG_QUEUED, LOG_LOST };

struct slot {
	_Atomic uint32_t turn; /* put: released with the line; taken: released without */
	uint16_t len;
	char text[SLOT_BYTES - 8];
};

static struct log {
	struct slot slots[SLOTS];
	_Atomic uint32_t put; /* next position; claimed by whoever puts */
	uint32_t taken;       /* the writer's */
	_Atomic int mode;
	_Atomic bool stop;
	_Atomic uint64_t full; /* lines that found no free slot */
	uint64_t told;         /* losses that a line of the log admits; the writer's */
	sem_t ready;           /* counts lines in slots, and once the end */
	pthread_t thread;
	struct sink sink;
} queue = {.sink = {.fd = STDERR_FILENO, .piece = true}};

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&min_level, (int)level, memory_order_relaxed);
}

enum log_level log_level(void)
{
	return (enum log_level)atomic_load_explicit(&min_level, memory_order_relaxed);
}

bool log_level_parse(struct view name, enum log_level *level)
{
	for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
		if (view_eq(name, view_str(levels[i].name))) {
			*level = (enum log_level)i;
			return true;
		}
	}
	return false;
}

const char *log_level_name(enum log_level level)
{
	return (size_t)level < ARRAY_LEN(levels) ? levels[level].name : "?";
}

uint64_t log_dropped(void)
{
	return atomic_load_explicit(&queue.full, memory_order_relaxed) +
	       atomic_load_explicit(&queue.sink.dropped, memory_order_relaxed);
}

const char *log_trouble(void)
{
	return sink_trouble(&queue.sink);
}

/* ---- putting ---- */

static bool push(struct view line)
{
	uint32_t at = atomic_load_explicit(&queue.put, memory_order_relaxed);
	struct slot *slot;
	for (;;) {
		slot = &queue.slots[at % SLOTS];
		uint32_t turn = atomic_load_explicit(&slot->turn, memory_order_acquire);
		if (turn != at && (int32_t)(turn - at) < 0)
			return false; /* the writer has not come round yet */
		if (turn != at)
			at = atomic_load_explicit(&queue.put, memory_order_relaxed);
		else if (atomic_compare_exchange_weak_explicit(
			     &queue.put, &at, at + 1, memory_order_relaxed, memory_order_relaxed))
			break;
	}
	slot->len = (uint16_t)line.len;
	memcpy(slot->text, line.ptr, line.len);
	atomic_store_explicit(&slot->turn, at + 1, memory_order_release);
	sem_post(&queue.ready);
	return true;
}

/* A whole line of at most a slot's size. */
static void put(struct view line)
{
	static pthread_mutex_t direct = PTHREAD_MUTEX_INITIALIZER;
	int mode = atomic_load_explicit(&queue.mode, memory_order_acquire);
	if (mode == LOG_QUEUED && push(line))
		return;
	if (mode != LOG_DIRECT) {
		atomic_fetch_add_explicit(&queue.full, 1, memory_order_relaxed);
		return;
	}
	pthread_mutex_lock(&direct);
	sink_drop(&queue.sink, view_skip(line, sink_write(&queue.sink, line, DIRECT_WAIT_MS)));
	pthread_mutex_unlock(&direct);
}

static int line_prefix(char *line, size_t size, enum log_level level)
{
	if (getenv("JOURNAL_STREAM"))
		return snprintf(line, size, "<%d>weir: ", levels[level].syslog_priority);
	char stamp[CLOCK_RFC3339_LEN + 1];
	clock_rfc3339(stamp, clock_wall_us());
	return snprintf(line, size, "%s weir[%d] %s: ", stamp, (int)getpid(), levels[level].name);
}

void log_line(enum log_level level, const char *fmt, ...)
{
	if (level < log_level())
		return;
	char line[sizeof(queue.slots[0].text)];
	int n = line_prefix(line, sizeof(line), level);
	va_list ap;
	va_start(ap, fmt);
	int m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	size_t len = (size_t)n + (m < 0 ? 0 : (size_t)m);
	if (len > sizeof(line) - 2)
		len = sizeof(line) - 2;
	/* what a peer sent must not forge lines or drive the terminal */
	len = (size_t)n + text_clean(line + n, len - (size_t)n, "");
	line[len++] = '\n';
	put(view_of(line, len));
}

void log_text(struct view lines)
{
	char line[sizeof(queue.slots[0].text)];
	while (lines.len) {
		ptrdiff_t end = view_chr(lines, '\n');
		struct view one = view_head(lines, end < 0 ? lines.len : (size_t)end);
		size_t len = one.len < sizeof(line) - 1 ? one.len : sizeof(line) - 1;
		memcpy(line, one.ptr, len);
		len = text_clean(line, len, "\t");
		line[len++] = '\n';
		put(view_of(line, len));
		lines = view_skip(lines, one.len + 1);
	}
}

/* ---- writing ---- */

/* Until it went, or was dropped; at the end of the process only for a while. */
static void write_line(struct view line)
{
	int left_ms = STOP_WAIT_MS;
	while (line.len && left_ms > 0) {
		size_t n = sink_write(&queue.sink, line, WAIT_MS);
		line = view_skip(line, n);
		if (line.len && atomic_load(&queue.stop))
			left_ms -= WAIT_MS;
	}
	sink_drop(&queue.sink, line);
}

static void admit_losses(void)
{
	char text[160];
	uint64_t lost = log_dropped();
	if (lost == queue.told || atomic_load(&queue.sink.error))
		return;
	int n = line_prefix(text, sizeof(text), LOG_LEVEL_WARN);
	n += snprintf(text + n, sizeof(text) - (size_t)n,
		      "%llu lines of this log were dropped before this one\n",
		      (unsigned long long)(lost - queue.told));
	queue.told = lost;
	write_line(view_of(text, (size_t)n));
}

/* The next line, written or given up; false: there is none. */
static bool take(bool write)
{
	struct slot *slot = &queue.slots[queue.taken % SLOTS];
	if (atomic_load_explicit(&slot->turn, memory_order_acquire) != queue.taken + 1)
		return false;
	if (write)
		write_line(view_of(slot->text, slot->len));
	else
		sink_drop(&queue.sink, view_of(slot->text, slot->len));
	atomic_store_explicit(&slot->turn, queue.taken + SLOTS, memory_order_release);
	queue.taken++;
	if (write)
		admit_losses();
	return true;
}

static void *writer_main(void *arg)
{
	pthread_setname_np(pthread_self(), "messages");
	while (!atomic_load(&queue.stop))
		if (sem_wait(&queue.ready) == 0)
			/* all of them: a line that was told of while one before it was
			 * still being written is not told of again */
			while (take(true) && !atomic_load(&queue.stop))
				;
	while (take(!atomic_load(&queue.sink.stalled)))
		;
	return arg;
}

bool log_start(void)
{
	queue.put = queue.taken = 0;
	for (uint32_t i = 0; i < SLOTS; i++)
		atomic_init(&queue.slots[i].turn, i);
	atomic_store(&queue.stop, false);
	sem_init(&queue.ready, 0, 0);
	sink_open(&queue.sink, STDERR_FILENO);
	bool ok = thread_start(&queue.thread, writer_main, NULL);
	if (ok)
		atomic_store_explicit(&queue.mode, LOG_QUEUED, memory_order_release);
	return ok;
}

void log_stop(void)
{
	struct timespec until;
	if (atomic_load(&queue.mode) != LOG_QUEUED)
		return;
	atomic_store(&queue.stop, true);
	sem_post(&queue.ready);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += STOP_JOIN_S;
	bool ended = pthread_timedjoin_np(queue.thread, NULL, &until) == 0;
	atomic_store_explicit(&queue.mode, ended ? LOG_DIRECT : LOG_LOST, memory_order_release);
	if (ended)
		sem_destroy(&queue.ready);
}
