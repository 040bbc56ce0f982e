/* SPDX-License-Identifier: MIT */
#include "weir/base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "weir/base/clock.h"

#define LINE_MAX_LEN 2048

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
	char line[LINE_MAX_LEN];
	int n = line_prefix(line, sizeof(line), level);
	va_list ap;
	va_start(ap, fmt);
	int m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	size_t len = (size_t)n + (m < 0 ? 0 : (size_t)m);
	if (len > sizeof(line) - 2)
		len = sizeof(line) - 2;
	/* what a peer sent must not forge lines or drive the terminal */
	for (size_t i = (size_t)n; i < len; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = line[i] == '\t' ? ' ' : '?';
	line[len++] = '\n';
	ssize_t ignored = write(STDERR_FILENO, line, len);
	(void)ignored;
}
