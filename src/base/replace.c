/* SPDX-License-Identifier: MIT */
/*
 * A file is written beside the one it replaces, then takes its name: both in the directory that
 * was found first, whoever changes the path meanwhile.
 */
#include "weir/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

static int write_in(int dir, const char *name, const char *next, struct view bytes)
{
	unlinkat(dir, next, 0);
	int fd = openat(dir, next, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno;
	int error = file_write_at(fd, bytes, 0) && fdatasync(fd) == 0 ? 0 : errno;
	if (close(fd) && !error)
		error = errno;
	if (!error && renameat(dir, next, dir, name))
		error = errno;
	if (error)
		unlinkat(dir, next, 0);
	return error;
}

int file_replace(const char *directory, const char *name, struct view bytes)
{
	char path[PATH_MAX], next[NAME_MAX + 1];
	const char *last;
	if (snprintf(path, sizeof(path), "%s/%s", directory, name) >= (int)sizeof(path) ||
	    snprintf(next, sizeof(next), "%s.new", name) >= (int)sizeof(next))
		return ENAMETOOLONG;
	int dir = file_open_directory(path, &last);
	if (dir < 0)
		return errno;
	int error = write_in(dir, last, next, bytes);
	close(dir);
	return error;
}

void file_remove(const char *path)
{
	const char *name;
	int dir = file_open_directory(path, &name);
	if (dir < 0)
		return;
	unlinkat(dir, name, 0);
	close(dir);
}
