/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into weir by test_short_writes.py: peers that take little.  Every
 * second send finds no room, the others take a few bytes of what is offered.
 * With STALL_MS, a connection that was given the head of a POST takes 1000 bytes
 * of it and then nothing for that time.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#define FDS 1024

static __thread unsigned turn;
static double stalled_since[FDS];

static double now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static double stall_s(void)
{
	const char *text = getenv("STALL_MS");
	return text ? atof(text) / 1000 : 0;
}

/* How many of n bytes fd takes now. */
static size_t room(int fd, const void *ptr, size_t n)
{
	double stall = stall_s();
	if (stall == 0)
		return turn++ % 2 ? 0 : 1 + turn * 2654435761u % 3000;
	if (fd >= FDS)
		return n;
	if (n > 5 && memcmp(ptr, "POST ", 5) == 0) {
		stalled_since[fd] = now();
		return 1000;
	}
	return now() < stalled_since[fd] + stall ? 0 : n;
}

ssize_t send(int fd, const void *ptr, size_t n, int flags)
{
	ssize_t (*real)(int, const void *, size_t, int) =
	    (ssize_t(*)(int, const void *, size_t, int))dlsym(RTLD_NEXT, "send");
	if (!(flags & MSG_NOSIGNAL))
		return real(fd, ptr, n, flags);
	size_t most = room(fd, ptr, n);
	if (most == 0) {
		errno = EAGAIN;
		return -1;
	}
	return real(fd, ptr, n < most ? n : most, flags);
}

/* Out of a pipe; what comes in comes as it does. */
ssize_t splice(int in, off64_t *in_at, int out, off64_t *out_at, size_t n, unsigned flags)
{
	ssize_t (*real)(int, off64_t *, int, off64_t *, size_t, unsigned) =
	    (ssize_t(*)(int, off64_t *, int, off64_t *, size_t, unsigned))dlsym(RTLD_NEXT,
										"splice");
	struct stat st;
	if (fstat(out, &st) != 0 || !S_ISSOCK(st.st_mode))
		return real(in, in_at, out, out_at, n, flags);
	size_t most = room(out, "", n);
	if (most == 0) {
		errno = EAGAIN;
		return -1;
	}
	return real(in, in_at, out, out_at, n < most ? n : most, flags);
}
