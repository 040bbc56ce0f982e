/* SPDX-License-Identifier: MIT */
/* The lock is on an open file: whoever opens it anew asks anew. */
#ifdef WEIR_SQLITE

#include "hold.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "weir/base/file.h"

static const char *path_of(const char *directory, char room[PATH_MAX])
{
	return snprintf(room, PATH_MAX, "%s/lock", directory) < PATH_MAX ? room : "";
}

bool hold_is_of(int fd, const char *directory)
{
	char room[PATH_MAX];
	struct stat st;
	struct file_id there = file_identify(path_of(directory, room));
	return fd >= 0 && fstat(fd, &st) == 0 && there.ino == st.st_ino && there.dev == st.st_dev;
}

/* File systems without such locks have none to respect. */
static int lock(int fd)
{
	if (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
		return 0;
	return EWOULDBLOCK;
}

int hold_take(int *fd, const char *directory)
{
	char room[PATH_MAX];
	const char *name;
	int dir = file_open_directory(path_of(directory, room), &name);
	if (dir < 0)
		return errno;
	int made = openat(dir, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	int error = made < 0 ? errno : lock(made);
	close(dir);
	if (error && made >= 0)
		close(made);
	*fd = error ? -1 : made;
	return error;
}

#endif
