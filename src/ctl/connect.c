/* SPDX-License-Identifier: MIT */
/* Connections to weir's unix socket and to its status port. */
#include "connect.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "weir/base/clock.h"
#include "weir/base/file.h"

bool socket_wait(int fd, short events, unsigned timeout_s)
{
	struct pollfd p = {.fd = fd, .events = events};
	uint64_t end_us = clock_us() + (uint64_t)timeout_s * 1000000;
	for (;;) {
		uint64_t now_us = clock_us();
		uint64_t left_us = end_us > now_us ? end_us - now_us : 0;
		int n = poll(&p, 1, (int)((left_us + 999) / 1000));
		if (n >= 0 || errno != EINTR)
			return n > 0;
	}
}

/* ---- a unix socket ---- */

/* Whether everybody may make what is in this directory, or somebody else made a part of its path
 * where everybody may. */
static bool others_may_put(const char *dir)
{
	char path[PATH_MAX] = "";
	struct stat st;
	bool open_to_all = false;
	if (dir[0] != '/' && !getcwd(path, sizeof(path)))
		return true;
	size_t len = strlen(path);
	if (snprintf(path + len, sizeof(path) - len, "/%s", dir) >= (int)(sizeof(path) - len))
		return true;
	for (char *end = path; *end;) {
		end += strspn(end, "/");
		end += strcspn(end, "/");
		char rest = *end;
		*end = '\0';
		if (lstat(path, &st) || (open_to_all && st.st_uid != 0 && st.st_uid != geteuid()) ||
		    stat(path, &st))
			return true;
		open_to_all = (st.st_mode & 002) != 0;
		*end = rest;
	}
	return open_to_all;
}

/*
 * Where everybody may put a socket, the one who answers has to be us or root: he sees
 * what we ask for, and what we are told is his.
 */
static bool is_trusted(int fd, const char *path, struct str *why)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	char dir[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	file_directory(path, dir, sizeof(dir));
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) || peer.uid == 0 ||
	    peer.uid == geteuid())
		return true;
	if (!others_may_put(dir))
		return true;
	str_printf(
	    why,
	    "%s is answered by user %u, who is neither you nor root, and everybody may put a "
	    "socket there: it may not be weir's",
	    path, (unsigned)peer.uid);
	return false;
}

static enum client_result say_unreachable(const char *path, int error, struct str *why)
{
	struct stat st;
	if (stat(path, &st) == 0 && !S_ISSOCK(st.st_mode)) {
		str_printf(why, "%s is no socket: name weir's status.socket with -s", path);
		return CLIENT_UNREACHABLE;
	}
	switch (error) {
	case ENOENT:
		str_printf(why,
			   "no socket at %s: is weir running? 'systemctl status weir' tells, 'weir "
			   "-c FILE' starts it. Its socket is status.socket in the configuration; "
			   "name another with -s or $WEIR_SOCKET",
			   path);
		return CLIENT_UNREACHABLE;
	case ECONNREFUSED:
		str_printf(why, "nobody listens on %s: weir is not running; its log says why",
			   path);
		return CLIENT_UNREACHABLE;
	case EACCES:
	case EPERM:
		str_printf(why,
			   "no permission to use %s: run weirctl as root, as its owner or, where "
			   "status.mode lets them, as a member of its group",
			   path);
		return CLIENT_FORBIDDEN;
	default:
		str_printf(why, "cannot connect to %s: %s", path, strerror(error));
		return CLIENT_UNREACHABLE;
	}
}

/* The connected socket, or -1 with errno set. */
static int connect_to(const char *path, unsigned timeout_s)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = (time_t)timeout_s};
	if (strlen(path) >= sizeof(un.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(un.sun_path, path, strlen(path));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	int failed;
	do
		failed = connect(fd, (struct sockaddr *)&un, sizeof(un));
	while (failed && errno == EINTR);
	if (failed) {
		int error = errno;
		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

enum client_result connect_socket(const char *path, unsigned timeout_s, int *fd, struct str *why)
{
	*fd = connect_to(path, timeout_s);
	if (*fd < 0)
		return say_unreachable(path, errno, why);
	if (is_trusted(*fd, path, why))
		return CLIENT_OK;
	close(*fd);
	return CLIENT_FORBIDDEN;
}

/* ---- TCP ---- */

/* Host and port of "a:8404" or "[::1]:8404". */
static bool split_node(const char *node, char host[NI_MAXHOST], const char **port)
{
	const char *colon = strrchr(node, ':');
	size_t len = colon ? (size_t)(colon - node) : 0;
	bool bracketed = len > 2 && node[0] == '[' && node[len - 1] == ']';
	if (bracketed) {
		node++;
		len -= 2;
	}
	if (!len || len >= NI_MAXHOST || !colon[1] || (!bracketed && memchr(node, ':', len)))
		return false;
	memcpy(host, node, len);
	host[len] = '\0';
	*port = colon + 1;
	return true;
}

/* errno says why not.  One that a signal interrupts goes on. */
static bool connects(int fd, const struct addrinfo *to, unsigned timeout_s)
{
	int error = ETIMEDOUT;
	if (connect(fd, to->ai_addr, to->ai_addrlen) == 0)
		return true;
	if (errno != EINTR)
		return false;
	if (socket_wait(fd, POLLOUT, timeout_s))
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof(error)});
	errno = error;
	return error == 0;
}

/* The first address that takes the connection, or -1 with errno set; `at` gets it as text. */
static int connect_first(const struct addrinfo *list, unsigned timeout_s, struct str *at)
{
	struct timeval limit = {.tv_sec = (time_t)timeout_s};
	char ip[NI_MAXHOST], port[NI_MAXSERV];
	int error = ENOENT;
	for (const struct addrinfo *a = list; a; a = a->ai_next) {
		int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd < 0)
			continue;
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
		if (connects(fd, a, timeout_s) &&
		    getnameinfo(a->ai_addr, a->ai_addrlen, ip, sizeof(ip), port, sizeof(port),
				NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
			str_printf(at, a->ai_family == AF_INET6 ? "[%s]:%s" : "%s:%s", ip, port);
			return fd;
		}
		error = errno == EINPROGRESS ? ETIMEDOUT : errno;
		close(fd);
	}
	errno = error;
	return -1;
}

int connect_node(const char *node, unsigned timeout_s, struct str *at, struct str *why)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
	char host[NI_MAXHOST];
	const char *port = NULL;
	if (!split_node(node, host, &port)) {
		str_printf(why, "%s is not of the form HOST:PORT", node);
		return -1;
	}
	int wrong = getaddrinfo(host, port, &hints, &list);
	if (wrong) {
		str_printf(why, "cannot find %s: %s", node, gai_strerror(wrong));
		return -1;
	}
	int fd = connect_first(list, timeout_s, at);
	if (fd < 0)
		str_printf(why, "cannot connect to %s: %s", node, strerror(errno));
	freeaddrinfo(list);
	return fd;
}
