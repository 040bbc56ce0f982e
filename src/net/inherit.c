/* SPDX-License-Identifier: MIT */
/* Listening sockets that were there before: systemd's, or those of the weir before this one. */
#include "weir/net/inherit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "weir/base/check.h"
#include "weir/net/socket.h"

#define SYSTEMD_FIRST_FD 3
/* More than any configuration has: a bound on what the environment may ask for. */
#define INHERITED_MAX 65536

static struct inherited {
	struct addr addr;
	int fd; /* -1: not to be had any more */
	bool taken, of_manager;
} *rows;
static size_t n_rows, n_allocated;

static bool is_listening(int fd)
{
	int on = 0;
	socklen_t len = sizeof(on);
	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) == 0 && on;
}

/* What is no listening socket is none of our business and stays as it is. */
static void add(long fd, bool of_manager)
{
	if (fd < 0 || fd > INHERITED_MAX || n_rows == INHERITED_MAX || !is_listening((int)fd))
		return;
	if (n_rows == n_allocated) {
		n_allocated = n_allocated ? 2 * n_allocated : 16;
		rows = reallocarray(rows, n_allocated, sizeof(*rows));
		check(rows != NULL);
	}
	struct inherited *row = &rows[n_rows];
	*row = (struct inherited){.fd = (int)fd, .of_manager = of_manager};
	if (!socket_local_addr(row->fd, &row->addr))
		return;
	fcntl(row->fd, F_SETFD, FD_CLOEXEC);
	fcntl(row->fd, F_SETFL, O_NONBLOCK);
	n_rows++;
}

static void from_weir(void)
{
	const char *at = getenv(INHERIT_ENV);
	while (at && *at) {
		char *end;
		long fd = strtol(at, &end, 10);
		if (end == at)
			break;
		add(fd, false);
		at = *end == ',' ? end + 1 : end;
	}
	unsetenv(INHERIT_ENV);
}

static void from_systemd(void)
{
	const char *n = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID");
	if (n && pid && strtol(pid, NULL, 10) == getpid())
		for (long i = 0; i < strtol(n, NULL, 10) && i < INHERITED_MAX; i++)
			add(SYSTEMD_FIRST_FD + i, true);
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDNAMES");
}

void inherit_init(void)
{
	from_weir();
	from_systemd();
}

/* The kernel may count the 0 behind a unix path or not. */
static bool is_same(const struct addr *a, const struct addr *b)
{
	if (addr_is_unix(a) && addr_is_unix(b))
		return strcmp(a->un.sun_path, b->un.sun_path) == 0;
	return addr_eq(a, b);
}

int inherit_take(const struct addr *addr)
{
	const struct inherited *same = NULL;
	for (size_t i = 0; i < n_rows; i++) {
		if (rows[i].fd < 0 || !is_same(&rows[i].addr, addr))
			continue;
		if (!rows[i].taken) {
			rows[i].taken = true;
			return rows[i].fd;
		}
		same = &rows[i];
	}
	return same ? fcntl(same->fd, F_DUPFD_CLOEXEC, 0) : -1;
}

bool inherit_has(const struct addr *addr)
{
	for (size_t i = 0; i < n_rows; i++)
		if (is_same(&rows[i].addr, addr))
			return true;
	return false;
}

bool inherit_has_port(uint16_t port)
{
	for (size_t i = 0; i < n_rows; i++)
		if (!addr_is_unix(&rows[i].addr) && addr_port(&rows[i].addr) == port)
			return true;
	return false;
}

void inherit_done(void)
{
	size_t kept = 0;
	for (size_t i = 0; i < n_rows; i++) {
		if (!rows[i].taken)
			socket_close(rows[i].fd);
		rows[i].fd = -1;
		if (rows[i].of_manager)
			rows[kept++] = rows[i];
	}
	n_rows = kept;
	if (kept)
		return;
	free(rows);
	rows = NULL;
	n_allocated = 0;
}
