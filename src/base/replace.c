/* SPDX-License-Identifier: MIT */
/* A file is written beside the one it replaces, then takes its name. */
#include "weir/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

static int write_whole(int fd, struct view bytes)
{
	while (bytes.len) {
		ssize_t n = write(fd, bytes.ptr, bytes.len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? errno : EIO;
		bytes = view_skip(bytes, (size_t)n);
	}
	return fdatasync(fd) ? errno : 0;
}

int file_replace(const char *directory, const char *name, struct view bytes)
{
	char path[PATH_MAX], next[PATH_MAX];
	if (snprintf(path, sizeof(path), "%s/%s", directory, name) >= (int)sizeof(path) - 4)
		return ENAMETOOLONG;
	snprintf(next, sizeof(next), "%.*s.new", (int)sizeof(next) - 5, path);
	unlink(next);
	int fd = open(next, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno;
	int error = write_whole(fd, bytes);
	if (close(fd) && !error)
		error = errno;
	if (!error && rename(next, path))
		error = errno;
	if (error)
		unlink(next);
	return error;
}
