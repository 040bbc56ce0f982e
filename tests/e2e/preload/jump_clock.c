/* SPDX-License-Identifier: MIT */
/*
 * For LD_PRELOAD: CLOCK_REALTIME is ahead by as many seconds as the file JUMP_CLOCK_FILE says,
 * which may change at any time.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long ahead(void)
{
	char text[32] = "";
	const char *path = getenv("JUMP_CLOCK_FILE");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return 0;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	close(fd);
	return n > 0 ? strtol(text, NULL, 10) : 0;
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
	if (syscall(SYS_clock_gettime, id, ts) != 0)
		return -1;
	if (id == CLOCK_REALTIME)
		ts->tv_sec += ahead();
	return 0;
}
