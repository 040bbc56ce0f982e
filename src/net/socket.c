/* SPDX-License-Identifier: MIT */
/* Sockets: non-blocking, close-on-exec, owned before they can be seen. */
#include "weir/net/socket.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <unistd.h>

#include "weir/base/file.h"
#include "weir/net/inherit.h"

#define BACKLOG 16384 /* the kernel cuts it to net.core.somaxconn */
/* Connections that died before they were accepted, in a row. */
#define ABORTED_MAX 16
#define SOCK_FLAGS (SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)

static void set_flag(int fd, int level, int option)
{
	int one = 1;
	setsockopt(fd, level, option, &one, sizeof(one));
}

/* What is accepted from a socket inherits it on Linux: nothing to do for each. */
static void set_no_delay(int fd, const struct addr *addr)
{
	if (!addr_is_unix(addr))
		set_flag(fd, IPPROTO_TCP, TCP_NODELAY);
}

/* "[::]" takes IPv4 as well, any other address does not. */
static void set_only6(int fd, const struct addr *addr)
{
	if (addr->sa.sa_family != AF_INET6)
		return;
	int only6 = !IN6_IS_ADDR_UNSPECIFIED(&addr->in6.sin6_addr);
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only6, sizeof(only6));
}

/* A unix socket file that nobody listens on any more. */
static bool unix_is_stale(const struct addr *addr)
{
	struct stat st;
	if (stat(addr->un.sun_path, &st) || !S_ISSOCK(st.st_mode))
		return false;
	int fd = socket(AF_UNIX, SOCK_FLAGS, 0);
	if (fd < 0)
		return false;
	bool stale = connect(fd, &addr->sa, addr->len) && errno == ECONNREFUSED;
	close(fd);
	return stale;
}

static int bind_unix(int fd, const struct addr *addr)
{
	if (bind(fd, &addr->sa, addr->len) == 0)
		return 0;
	struct file_id id = file_identify(addr->un.sun_path);
	if (errno != EADDRINUSE || !unix_is_stale(addr))
		return -1;
	file_remove_socket(addr->un.sun_path, id);
	return bind(fd, &addr->sa, addr->len);
}

/* In a directory of root's where the owner may make nothing: no path there is anybody else's. */
static int bind_as_root(int fd, const struct addr *addr)
{
	char dir[sizeof(addr->un.sun_path)];
	uid_t uid;
	gid_t gid;
	int error = errno;
	file_directory(addr->un.sun_path, dir, sizeof(dir));
	if (!file_owner(&uid, &gid) || error != EACCES || !file_is_roots(dir)) {
		errno = error;
		return -1;
	}
	return bind_unix(fd, addr) ? -1 : lchown(addr->un.sun_path, uid, gid);
}

/*
 * The file has its owner and its mode from the first moment: to set them by path
 * afterwards would be to set them for whatever somebody has put there meanwhile.
 */
static int bind_for_owner(int fd, const struct addr *addr, unsigned mode)
{
	mode_t before = umask(mode ? 0777 & ~mode : 0);
	if (!mode)
		umask(before);
	file_owner_begin();
	int result = bind_unix(fd, addr), error = errno;
	file_owner_end();
	errno = error;
	if (result)
		result = bind_as_root(fd, addr);
	error = errno;
	umask(before);
	errno = error;
	return result;
}

static int bind_to(int fd, const struct addr *addr, unsigned mode)
{
	return addr_is_unix(addr) ? bind_for_owner(fd, addr, mode) : bind(fd, &addr->sa, addr->len);
}

enum err socket_listen(const struct addr *addr, bool share, unsigned mode, int *out_fd)
{
	*out_fd = inherit_take(addr);
	if (*out_fd >= 0) { /* its owner may have had another queue in mind */
		set_no_delay(*out_fd, addr);
		return listen(*out_fd, BACKLOG) ? err_from_errno(errno) : ERR_OK;
	}
	int fd = socket(addr->sa.sa_family, SOCK_FLAGS, 0);
	if (fd < 0)
		return err_from_errno(errno);
	set_flag(fd, SOL_SOCKET, SO_REUSEADDR);
	if (share)
		set_flag(fd, SOL_SOCKET, SO_REUSEPORT);
	set_only6(fd, addr);
	set_no_delay(fd, addr);
	if (bind_to(fd, addr, mode) || listen(fd, BACKLOG))
		goto fail;
	*out_fd = fd;
	return ERR_OK;
fail:;
	int why = errno;
	close(fd);
	errno = why; /* callers print strerror */
	return why == EADDRINUSE ? ERR_EXISTS : err_from_errno(why);
}

int socket_try(const struct addr *addr)
{
	int fd = socket(addr->sa.sa_family, SOCK_FLAGS, 0);
	if (fd < 0)
		return errno;
	set_flag(fd, SOL_SOCKET, SO_REUSEADDR);
	set_only6(fd, addr);
	int error = bind(fd, &addr->sa, addr->len) ? errno : 0;
	close(fd);
	return error;
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

enum err socket_connect(const struct addr *addr, int *out_fd, bool *done)
{
	*done = false;
	*out_fd = socket(addr->sa.sa_family, SOCK_FLAGS, 0);
	if (*out_fd < 0)
		return err_from_errno(errno);
	set_no_delay(*out_fd, addr);
	if (connect(*out_fd, &addr->sa, addr->len) == 0) {
		*done = true;
		return ERR_OK;
	}
	if (errno == EINPROGRESS)
		return ERR_OK;
	/* no local port is free: we lack something, the backend does not */
	bool no_port = errno == EADDRNOTAVAIL || (errno == EAGAIN && !addr_is_unix(addr));
	enum err err = no_port ? ERR_FDS : err_from_errno(errno);
	close(*out_fd);
	*out_fd = -1;
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
