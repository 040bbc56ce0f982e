/* SPDX-License-Identifier: MIT */
/* sd_notify(3)'s protocol: one datagram to $NOTIFY_SOCKET. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "control.h"

bool notify_wanted(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	return path && *path;
}

bool notify_state(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	if (!notify_wanted())
		return true;
	errno = EAFNOSUPPORT;
	if ((path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof(to.sun_path))
		return false;
	memcpy(to.sun_path, path, strlen(path));
	if (path[0] == '@')
		to.sun_path[0] = '\0';
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
	ssize_t n = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to, len);
	int error = errno;
	close(fd);
	errno = error;
	return n >= 0;
}
