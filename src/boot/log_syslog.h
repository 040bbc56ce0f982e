/* SPDX-License-Identifier: MIT */
/*
 * The access log to syslog: each line is a datagram of RFC 5424 to a unix socket.
 * A daemon that is not there, or goes and comes back, costs lines and
 * nothing else.
 *
 * Thread: that of the log, but for log_syslog_open.
 */
#ifndef WEIR_BOOT_LOG_SYSLOG_H
#define WEIR_BOOT_LOG_SYSLOG_H

#include "weir/base/sink.h"

/* How a path of the log says that it is a socket of syslog: "syslog:/dev/log". */
#define SYSLOG_PREFIX "syslog:"

bool log_syslog_is(const char *path);

/* A socket for it, connected if that is possible now; -1 and errno when there is none. */
int log_syslog_open(const char *path);

struct log_syslog {
	const char *path;
	uint64_t *tried_us; /* the caller's, 0 at first: when it was connected again, of clock_us */
	int wait_ms;        /* at most, for a daemon that is there and does not read */
};

/* As sink_write: the bytes that are done with.  Connects again when the daemon was away, at
 * most once a second. */
size_t log_syslog_write(struct sink *sink, const struct log_syslog *to, struct view lines);

#endif
