/* SPDX-License-Identifier: MIT */
/* The transport without encryption: recv and send. */
#include <errno.h>
#include <sys/socket.h>

#include "weir/net/transport.h"

static enum io plain_read(int fd, void *state, void *ptr, size_t cap, size_t *n)
{
	(void)state;
	ssize_t got;
	do
		got = recv(fd, ptr, cap, 0);
	while (got < 0 && errno == EINTR);
	*n = got > 0 ? (size_t)got : 0;
	if (got > 0)
		return IO_OK;
	if (got == 0)
		return IO_EOF;
	return errno == EAGAIN ? IO_WAIT : IO_ERR;
}

static enum io plain_write(int fd, void *state, const void *ptr, size_t len, size_t *n)
{
	(void)state;
	ssize_t put;
	do
		put = send(fd, ptr, len, MSG_NOSIGNAL);
	while (put < 0 && errno == EINTR);
	*n = put > 0 ? (size_t)put : 0;
	if (put >= 0)
		return IO_OK;
	return errno == EAGAIN ? IO_WAIT : IO_ERR;
}

static void plain_shutdown(int fd, void *state)
{
	(void)state;
	shutdown(fd, SHUT_WR);
}

static void plain_fini(void *state)
{
	(void)state;
}

const struct transport transport_plain = {
    .name = "plain",
    .read = plain_read,
    .write = plain_write,
    .shutdown = plain_shutdown,
    .fini = plain_fini,
};
