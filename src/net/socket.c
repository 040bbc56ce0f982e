/* SPDX-License-Identifier: MIT */
/* Sockets: non-blocking and close-on-exec; listen.c makes those that listen. */
#include "weir/net/socket.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "weir/base/defs.h"

/* Connections that died before they were accepted, in a row. */
#define ABORTED_MAX 16
#define SOCK_FLAGS (SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)

void socket_set_no_delay(int fd, const struct addr *addr)
{
	int one = 1;
	if (!addr_is_unix(addr))
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

void socket_set_keepalive(int fd, const struct addr *addr)
{
	static const struct {
		int level, option, value;
	} options[] = {
	    {IPPROTO_TCP, TCP_KEEPIDLE, 30}, /* seconds */
	    {IPPROTO_TCP, TCP_KEEPINTVL, 10},
	    {IPPROTO_TCP, TCP_KEEPCNT, 3},
	    {SOL_SOCKET, SO_KEEPALIVE, 1},
	};
	for (size_t i = 0; !addr_is_unix(addr) && i < ARRAY_LEN(options); i++)
		setsockopt(fd, options[i].level, options[i].option, &options[i].value, sizeof(int));
}

bool socket_local_addr(int fd, struct addr *out)
{
	*out = (struct addr){.len = sizeof(*out) - offsetof(struct addr, sa)};
	return getsockname(fd, &out->sa, &out->len) == 0;
}

enum err socket_accept(int listen_fd, struct addr *peer, int *out_fd)
{
	for (unsigned tries = 0;; tries++) {
		peer->len = sizeof(*peer) - offsetof(struct addr, sa);
		int fd = accept4(listen_fd, &peer->sa, &peer->len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		*out_fd = fd;
		if (fd >= 0)
			return ERR_OK;
		switch (errno) {
		case EAGAIN:
			return ERR_OK;
		case EMFILE:
		case ENFILE:
		case ENOBUFS:
		case ENOMEM:
			return ERR_FDS;
		case EBADF:
		case EINVAL:
		case ENOTSOCK:
			return ERR_IO;
		default: /* the connection died in the queue: take the next, but not for ever */
			if (tries == ABORTED_MAX)
				return ERR_IO;
			break;
		}
	}
}

enum err socket_connect_again(int fd, const struct addr *addr, bool *done)
{
	*done = connect(fd, &addr->sa, addr->len) == 0;
	if (*done || errno == EINPROGRESS)
		return ERR_OK;
	if (errno == EAGAIN && addr_is_unix(addr))
		return ERR_BUSY;
	/* no local port is free: we lack something, the backend does not */
	return errno == EADDRNOTAVAIL || errno == EAGAIN ? ERR_FDS : err_from_errno(errno);
}

enum err socket_connect_or_wait(const struct addr *addr, int *out_fd, bool *done)
{
	*done = false;
	*out_fd = socket(addr->sa.sa_family, SOCK_FLAGS, 0);
	if (*out_fd < 0)
		return err_from_errno(errno);
	socket_set_no_delay(*out_fd, addr);
	enum err err = socket_connect_again(*out_fd, addr, done);
	if (err && err != ERR_BUSY) {
		close(*out_fd);
		*out_fd = -1;
	}
	return err;
}

enum err socket_connect(const struct addr *addr, int *out_fd, bool *done)
{
	enum err err = socket_connect_or_wait(addr, out_fd, done);
	if (err == ERR_BUSY) {
		close(*out_fd);
		*out_fd = -1;
	}
	return err;
}

enum err socket_connect_result(int fd)
{
	int why = 0;
	socklen_t len = sizeof(why);
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &len))
		why = errno;
	return err_from_errno(why);
}

void socket_reset_on_close(int fd)
{
	struct linger hard = {.l_onoff = 1, .l_linger = 0};
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
}

void socket_close(int fd)
{
	if (fd >= 0)
		close(fd);
}
