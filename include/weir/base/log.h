/* SPDX-License-Identifier: MIT */
/*
 * The daemon's own log: one line per call on standard error.  With a journal on
 * the other side (JOURNAL_STREAM) lines carry the "<N>" priority prefix instead
 * of a time stamp.  Not for the request path: per-request facts go to the access
 * log.  Any thread.
 *
 *   log_start();               from now on a thread of its own writes
 *   log_line(...);             never waits: a line without room is dropped and counted
 *   log_stop();                writes what is left, for a while
 *
 * Before log_start and after log_stop the caller writes, and waits a second at most.
 */
#ifndef WEIR_BASE_LOG_H
#define WEIR_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/defs.h"
#include "weir/base/view.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

void log_set_level(enum log_level level);
enum log_level log_level(void);
/* "debug", "info", "warn", "error"; false when unknown. */
bool log_level_parse(struct view name, enum log_level *level);
const char *log_level_name(enum log_level level);

void log_line(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Lines as they are, without time and level. */
void log_text(struct view lines);

#define log_debug(...)                                          \
	do {                                                    \
		if (log_level() <= LOG_LEVEL_DEBUG)             \
			log_line(LOG_LEVEL_DEBUG, __VA_ARGS__); \
	} while (0)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warn(...) log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)

/* False without a thread: then callers go on writing themselves. */
bool log_start(void);
/* One thread, the one that called log_start; no other may write a line meanwhile. */
void log_stop(void);

/* How often a warning about the same thing is written: to be seen, and too little to fill a disk.
 */
#define LOG_EVERY_US 60000000

/* Whether it is time for the next; `last_us` is the caller's, and 0 at first. */
static inline bool log_due(uint64_t *last_us, uint64_t now_us)
{
	if (*last_us && now_us - *last_us <= LOG_EVERY_US)
		return false;
	*last_us = now_us;
	return true;
}

/* Lines that were dropped since the start, and why lines do not go now (NULL: they do). */
uint64_t log_dropped(void);
const char *log_trouble(void);

#endif
