/* SPDX-License-Identifier: MIT */
/* Lines of the access log as datagrams of syslog (RFC 5424, RFC 5426 without its port). */
#include "log_syslog.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "weir/base/clock.h"

/* Facility local0 (16), severity informational (6): 16 * 8 + 6. */
#define PRIORITY 134
#define RETRY_US 1000000

bool log_syslog_is(const char *path)
{
	return strncmp(path, SYSLOG_PREFIX, strlen(SYSLOG_PREFIX)) == 0;
}

static bool plug(int fd, const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path + strlen(SYSLOG_PREFIX));
	return connect(fd, (struct sockaddr *)&un, sizeof(un)) == 0;
}

int log_syslog_open(const char *path)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0)
		(void)plug(fd, path); /* the thread tries again */
	return fd;
}

/* "<134>1 TIME HOST weir PID access - ", RFC 5424 section 6. */
static int put_header(char *out, size_t size)
{
	static char host[256];
	char stamp[CLOCK_RFC3339_LEN + 1];
	if (!host[0] && (gethostname(host, sizeof(host) - 1) || !host[0]))
		strcpy(host, "-");
	clock_rfc3339(stamp, clock_wall_us());
	return snprintf(out, size, "<%d>1 %s %s weir %d access - ", PRIORITY, stamp, host,
			(int)getpid());
}

static bool send_line(int fd, struct view line)
{
	char header[384];
	int len = put_header(header, sizeof(header));
	struct iovec parts[2] = {{header, (size_t)len}, {(char *)line.ptr, line.len}};
	struct msghdr msg = {.msg_iov = parts, .msg_iovlen = 2};
	return sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

static bool may_plug(int error, uint64_t *tried_us)
{
	bool away = error == ENOTCONN || error == ECONNREFUSED || error == ECONNRESET ||
		    error == EDESTADDRREQ || error == ENOENT;
	if (!away || (*tried_us && clock_us() - *tried_us < RETRY_US))
		return false;
	*tried_us = clock_us();
	return true;
}

static bool is_full(int error)
{
	return error == EAGAIN || error == ENOBUFS;
}

static bool has_room(int fd, uint64_t until_us)
{
	uint64_t now = clock_us();
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	return now < until_us && poll(&p, 1, (int)((until_us - now) / 1000 + 1)) > 0;
}

/* Again where the reader has gone and is back, and where it has read until then; else errno. */
static bool send_or_wait(struct sink *sink, const struct log_syslog *to, struct view line,
			 uint64_t until_us)
{
	bool sent = send_line(sink->fd, line);
	if (!sent && may_plug(errno, to->tried_us) && plug(sink->fd, to->path))
		sent = send_line(sink->fd, line);
	while (!sent && is_full(errno)) {
		if (!has_room(sink->fd, until_us)) {
			errno = EAGAIN;
			return false;
		}
		sent = send_line(sink->fd, line);
	}
	return sent;
}

size_t log_syslog_write(struct sink *sink, const struct log_syslog *to, struct view lines)
{
	uint64_t until_us = clock_us() + (uint64_t)to->wait_ms * 1000;
	size_t done = 0;
	while (done < lines.len) {
		struct view rest = view_skip(lines, done);
		struct view line = view_head(rest, (size_t)view_chr(rest, '\n') + 1);
		struct view text = view_head(line, line.len - 1);
		bool sent = send_or_wait(sink, to, text, until_us);
		bool full = !sent && is_full(errno);
		atomic_store_explicit(&sink->stalled, full, memory_order_relaxed);
		if (full)
			return done;
		atomic_store_explicit(&sink->error, sent ? 0 : errno, memory_order_relaxed);
		if (!sent)
			sink_drop(sink, line);
		done += line.len;
	}
	return done;
}
