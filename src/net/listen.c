/* SPDX-License-Identifier: MIT */
/* Sockets that listen: taken over from the process before, or bound, owned before they can be seen.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "weir/base/file.h"
#include "weir/net/inherit.h"
#include "weir/net/socket.h"

#define BACKLOG 16384 /* the kernel cuts it to net.core.somaxconn */
#define SOCK_FLAGS (SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)

static void set_flag(int fd, int level, int option)
{
	int one = 1;
	setsockopt(fd, level, option, &one, sizeof(one));
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
	int error = errno;
	struct file_id id = file_identify(addr->un.sun_path);
	if (error != EADDRINUSE || !unix_is_stale(addr)) {
		errno = error; /* not what looking at the file has left there */
		return -1;
	}
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

static bool is_our_socket(int dir, const char *name)
{
	struct stat st;
	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(st.st_mode) &&
	       st.st_uid == geteuid();
}

/*
 * Root stays root, and the way may be another's: bind(2) takes a path (one by way of a
 * descriptor would be the socket's name for good), so where the file appeared is looked at
 * afterwards.  A socket that a link led elsewhere is one that nobody listens on.
 */
static int bind_unix_by_path(int fd, const struct addr *addr, unsigned mode)
{
	const char *name;
	uid_t uid;
	gid_t gid;
	if (geteuid() != 0 || file_owner(&uid, &gid))
		return bind_for_owner(fd, addr, mode);
	int dir = file_open_directory(addr->un.sun_path, &name);
	if (dir < 0)
		return -1;
	int result = bind_for_owner(fd, addr, mode), error = errno;
	if (!result && !is_our_socket(dir, name)) {
		result = -1;
		error = EPERM;
	}
	close(dir);
	errno = error;
	return result;
}

static int bind_to(int fd, const struct addr *addr, unsigned mode)
{
	return addr_is_unix(addr) ? bind_unix_by_path(fd, addr, mode)
				  : bind(fd, &addr->sa, addr->len);
}

enum err socket_listen(const struct addr *addr, bool share, unsigned mode, int *out_fd)
{
	*out_fd = inherit_take(addr);
	if (*out_fd >= 0) { /* its owner may have had another queue in mind */
		socket_set_no_delay(*out_fd, addr);
		return listen(*out_fd, BACKLOG) ? err_from_errno(errno) : ERR_OK;
	}
	int fd = socket(addr->sa.sa_family, SOCK_FLAGS, 0);
	if (fd < 0)
		return err_from_errno(errno);
	set_flag(fd, SOL_SOCKET, SO_REUSEADDR);
	if (share)
		set_flag(fd, SOL_SOCKET, SO_REUSEPORT);
	set_only6(fd, addr);
	socket_set_no_delay(fd, addr);
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

static int try_unix(const struct addr *addr)
{
	struct stat st;
	bool free = lstat(addr->un.sun_path, &st) != 0 || unix_is_stale(addr);
	return free ? 0 : EADDRINUSE;
}

int socket_try(const struct addr *addr)
{
	if (addr_is_unix(addr))
		return try_unix(addr);
	int fd = socket(addr->sa.sa_family, SOCK_FLAGS, 0);
	if (fd < 0)
		return errno;
	set_flag(fd, SOL_SOCKET, SO_REUSEADDR);
	set_only6(fd, addr);
	int error = bind(fd, &addr->sa, addr->len) ? errno : 0;
	close(fd);
	return error;
}
