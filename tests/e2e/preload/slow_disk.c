/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into weir by test_health.py: every file is slow to open, to write at a place and
 * to reach the disk.  DISK_MS: how slow.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/types.h>
#include <time.h>

/* By a futex, which every sandbox allows. */
static void wait_for_disk(void)
{
	const char *ms = getenv("DISK_MS");
	struct timespec until;
	sem_t never;
	sem_init(&never, 0, 0);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += (ms ? atol(ms) : 0) * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	while (sem_timedwait(&never, &until) == 0)
		;
}

int fdatasync(int fd)
{
	int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
	wait_for_disk();
	return real(fd);
}

int fsync(int fd)
{
	int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
	wait_for_disk();
	return real(fd);
}

ssize_t pwrite64(int fd, const void *ptr, size_t n, off64_t at)
{
	ssize_t (*real)(int, const void *, size_t, off64_t) =
	    (ssize_t(*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
	wait_for_disk();
	return real(fd, ptr, n, at);
}

int open(const char *path, int flags, ...)
{
	int (*real)(const char *, int, ...) =
	    (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
	va_list ap;
	va_start(ap, flags);
	mode_t mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	if (!(flags & O_PATH)) /* of hundreds of places that a sandbox is told of nothing is read */
		wait_for_disk();
	return real(path, flags, mode);
}

/* The same by other names. */
ssize_t pwrite(int fd, const void *ptr, size_t n, off_t at) __attribute__((alias("pwrite64")));
int open64(const char *path, int flags, ...) __attribute__((alias("open")));
