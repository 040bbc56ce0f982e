/* SPDX-License-Identifier: MIT */
/*
 * The access log's file: opened as the user that will open it again, without following links of
 * others.
 */
#include "log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log_syslog.h"

#include "weir/base/file.h"

#define MODE 0640

/* Also for reading: to see whether the last line has its end, and so that a FIFO needs no
 * reader, now or at any time. */
static int open_at(int dir, const char *name, int more, bool *created)
{
	const int flags = O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | more;
	int fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | flags, MODE), error = errno;
	*created = fd >= 0;
	if (fd >= 0)
		return fd;
	fd = openat(dir, name, O_RDWR | flags);
	if (fd < 0 && errno == EACCES)
		fd = openat(dir, name, O_WRONLY | flags);
	if (fd >= 0 || errno != ENOENT)
		return fd;
	errno = error;
	/* a link to nothing yet */
	return error == EEXIST ? openat(dir, name, O_RDWR | O_CREAT | flags, MODE) : -1;
}

/*
 * As root in a directory that others may change: what was not there before, or was the
 * owner's already, and has no other name.  Links are out of the question.
 */
static bool is_acceptable(int fd, bool trusted, bool created)
{
	struct stat st;
	uid_t uid;
	gid_t gid;
	bool on = file_owner(&uid, &gid);
	if (fstat(fd, &st))
		return false;
	if (!on)
		return trusted || created || (st.st_nlink == 1 && !S_ISDIR(st.st_mode));
	if (created || (trusted && S_ISREG(st.st_mode) && st.st_nlink == 1))
		return st.st_uid == uid || fchown(fd, uid, gid) == 0;
	return trusted || (st.st_uid == uid && st.st_nlink == 1);
}

static int open_as_root(const char *path, bool *created)
{
	char dir[PATH_MAX];
	const char *name;
	file_directory(path, dir, sizeof(dir));
	bool trusted = file_is_roots(dir);
	int at = file_open_directory(path, &name);
	int fd = at < 0 ? -1 : open_at(at, name, trusted ? 0 : O_NOFOLLOW, created);
	int error = errno;
	if (at >= 0)
		close(at);
	if (fd >= 0 && !is_acceptable(fd, trusted, *created)) {
		close(fd);
		fd = -1;
		error = EPERM;
	}
	errno = error;
	return fd;
}

static int open_file(const char *path, bool *created)
{
	uid_t uid;
	gid_t gid;
	bool on = file_owner(&uid, &gid);
	if (geteuid() != 0)
		return open_at(AT_FDCWD, path, 0, created);
	if (!on)
		return open_as_root(path, created);
	file_owner_begin();
	int fd = open_at(AT_FDCWD, path, 0, created), error = errno;
	file_owner_end();
	errno = error;
	return fd >= 0 || error != EACCES ? fd : open_as_root(path, created);
}

int log_file_open(const char *path, bool *created)
{
	*created = false;
	if (log_syslog_is(path))
		return log_syslog_open(path);
	if (strcmp(path, "stdout") == 0 || strcmp(path, "/dev/stdout") == 0)
		return fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	if (strcmp(path, "/dev/stderr") == 0)
		return fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	return open_file(path, created);
}
