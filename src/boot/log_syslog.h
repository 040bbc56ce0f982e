/* SPDX-License-Identifier: MIT */
/*
 * The access log to syslog: each line is a datagram of RFC 5424 to a unix socket, sent
 * without waiting.  A daemon that is not there, or goes and comes back, costs lines and
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

/*
 * As sink_write: the bytes that are done with.  Connects again when the daemon was away, at
 * most once a second (`tried_us`, of clock_us).
 */
size_t log_syslog_write(struct sink *sink, const char *path, uint64_t *tried_us, struct view lines);

#endif
