/* SPDX-License-Identifier: MIT */
/* The linker leads weir's system calls here (--wrap). */
#include "kernel.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "memory.h"

#include "weir/base/check.h"
#include "weir/base/defs.h"

const struct kernel_fault kernel_faults[] = {
    {"send", 0, true},
    {"send", EAGAIN, true},
    {"send", EINTR, true},
    {"send", EPIPE, false},
    {"send", ECONNRESET, false},
    {"send", ENOBUFS, false},
    {"send", EHOSTUNREACH, false},
    {"recv", 0, true},
    {"recv", EAGAIN, true},
    {"recv", EINTR, true},
    {"recv", ECONNRESET, false},
    {"recv", ETIMEDOUT, false},
    {"recv", ENOMEM, false},
    {"splice", 0, true},
    {"splice", EAGAIN, true},
    {"splice", EINTR, true},
    {"splice", EPIPE, false},
    {"splice", ECONNRESET, false},
    {"splice", ENOMEM, false},
    {"connect", EINPROGRESS, true},
    {"connect", ECONNREFUSED, false},
    {"connect", EADDRNOTAVAIL, false},
    {"connect", ENETUNREACH, false},
    {"connect", EAGAIN, false},
    {"connect", EPERM, false},
    {"socket", EMFILE, false},
    {"socket", ENOBUFS, false},
    {"accept4", EAGAIN, true},
    {"accept4", ECONNABORTED, true},
    {"accept4", EMFILE, false},
    {"accept4", ENOBUFS, false},
    {"accept4", EPERM, false},
    {"pipe2", EMFILE, true},
    {"getsockopt", ECONNRESET, false},
    {"getsockopt", ENOBUFS, false},
    {"getsockname", ENOBUFS, true},
    {"shutdown", ENOTCONN, true},
    {"ioctl", EINVAL, true},
    {"poll", EINTR, true},
};
const size_t n_kernel_faults = ARRAY_LEN(kernel_faults);

const struct kernel_fault *kernel_fault_named(struct view call, struct view error)
{
	for (size_t i = 0; i < n_kernel_faults; i++) {
		const struct kernel_fault *f = &kernel_faults[i];
		if (f->error && view_eq(call, view_str(f->call)) &&
		    view_eq(error, view_str(strerrorname_np(f->error))))
			return f;
	}
	return NULL;
}

static const struct kernel_fault *fault;
static size_t left, send_most;
static bool refused;
static uint64_t n_moves = 1;

void kernel_refuse(const struct kernel_fault *f, size_t n)
{
	fault = f;
	left = n;
	refused = false;
}

bool kernel_has_refused(void)
{
	return refused;
}

void kernel_send_most(size_t n)
{
	send_most = n;
}

static bool refuses(const char *call)
{
	if (!fault || left == 0 || !memory_is_watched() || strcmp(call, fault->call) != 0 ||
	    --left > 0)
		return false;
	refused = true;
	errno = fault->error;
	return true;
}

int __real_shutdown(int fd, int how);

/* What is true of a connection after such an error. */
static void break_it(int fd, int error)
{
	n_moves++;
	if (error == EPIPE)
		__real_shutdown(fd, SHUT_WR);
	else if (error == ECONNRESET || error == ETIMEDOUT || error == EHOSTUNREACH)
		__real_shutdown(fd, SHUT_RDWR);
	errno = error;
}

/* How many of n bytes may be moved; -1: none, with errno. */
static ssize_t moves(const char *call, int fd, size_t n)
{
	if (!refuses(call))
		return (ssize_t)n;
	if (fault->error == 0)
		return n > 0;
	break_it(fd, fault->error);
	return -1;
}

/* ---- what has moved ---- */

uint64_t kernel_moves(void)
{
	return n_moves;
}

/* Who is told to come back has changed nothing. */
static ssize_t moved(ssize_t result)
{
	n_moves += result >= 0 || errno != EAGAIN;
	return result;
}

#define POLLED_MAX 4096

static uint64_t idle_at[POLLED_MAX]; /* by descriptor: n_moves when it last had nothing */
static bool polls_always;

void kernel_poll_always(bool on)
{
	polls_always = on;
}

/* In place of the C library's, as libev's calls are not led here: see clock.c. */
__attribute__((visibility("default"))) int epoll_ctl(int epfd, int what, int fd,
						     struct epoll_event *event)
{
	n_moves++;
	return (int)syscall(SYS_epoll_ctl, epfd, what, fd, event);
}

__attribute__((visibility("default"))) int epoll_wait(int epfd, struct epoll_event *events, int max,
						      int ms)
{
	bool knows = ms == 0 && epfd >= 0 && epfd < POLLED_MAX;
	bool idle = knows && idle_at[epfd] == n_moves;
	if (idle && !polls_always)
		return 0;
	int n = (int)syscall(SYS_epoll_pwait, epfd, events, max, ms, NULL, 0);
	check(!idle || n == 0);
	if (knows && n == 0)
		idle_at[epfd] = n_moves;
	return n;
}

/* ---- calls ---- */

ssize_t __real_send(int fd, const void *ptr, size_t n, int flags);
ssize_t __wrap_send(int fd, const void *ptr, size_t n, int flags)
{
	if (send_most && n > send_most && memory_is_watched())
		n = send_most;
	ssize_t most = moves("send", fd, n);
	return most < 0 ? -1 : moved(__real_send(fd, ptr, (size_t)most, flags));
}

ssize_t __real_recv(int fd, void *ptr, size_t n, int flags);
ssize_t __wrap_recv(int fd, void *ptr, size_t n, int flags)
{
	ssize_t most = moves("recv", fd, n);
	return most < 0 ? -1 : moved(__real_recv(fd, ptr, (size_t)most, flags));
}

ssize_t __real_splice(int in, off64_t *in_at, int out, off64_t *out_at, size_t n, unsigned flags);
ssize_t __wrap_splice(int in, off64_t *in_at, int out, off64_t *out_at, size_t n, unsigned flags)
{
	ssize_t most = moves("splice", in, n);
	if (most < 0 && fault->error != EAGAIN && fault->error != EINTR)
		break_it(out, fault->error);
	if (most < 0)
		return -1;
	return moved(__real_splice(in, in_at, out, out_at, (size_t)most, flags));
}

int __real_connect(int fd, const struct sockaddr *to, socklen_t len);
int __wrap_connect(int fd, const struct sockaddr *to, socklen_t len)
{
	n_moves++;
	if (!refuses("connect"))
		return __real_connect(fd, to, len);
	if (fault->error == EINPROGRESS && __real_connect(fd, to, len))
		return -1;
	errno = fault->error;
	return -1;
}

int __real_socket(int family, int type, int protocol);
int __wrap_socket(int family, int type, int protocol)
{
	return refuses("socket") ? -1 : __real_socket(family, type, protocol);
}

int __real_accept4(int fd, struct sockaddr *from, socklen_t *len, int flags);
int __wrap_accept4(int fd, struct sockaddr *from, socklen_t *len, int flags)
{
	return refuses("accept4") ? -1 : (int)moved(__real_accept4(fd, from, len, flags));
}

int __real_pipe2(int fds[2], int flags);
int __wrap_pipe2(int fds[2], int flags)
{
	return refuses("pipe2") ? -1 : __real_pipe2(fds, flags);
}

int __real_getsockopt(int fd, int level, int option, void *value, socklen_t *len);
int __wrap_getsockopt(int fd, int level, int option, void *value, socklen_t *len)
{
	n_moves++; /* the error of a socket is told once */
	if (!refuses("getsockopt"))
		return __real_getsockopt(fd, level, option, value, len);
	break_it(fd, fault->error);
	return -1;
}

int __real_getsockname(int fd, struct sockaddr *name, socklen_t *len);
int __wrap_getsockname(int fd, struct sockaddr *name, socklen_t *len)
{
	return refuses("getsockname") ? -1 : __real_getsockname(fd, name, len);
}

int __wrap_shutdown(int fd, int how)
{
	n_moves++;
	if (!refuses("shutdown"))
		return __real_shutdown(fd, how);
	__real_shutdown(fd, SHUT_RDWR);
	errno = fault->error;
	return -1;
}

int __real_close(int fd);
int __wrap_close(int fd)
{
	n_moves++;
	return __real_close(fd);
}

int __real_ioctl(int fd, unsigned long what, void *arg);
int __wrap_ioctl(int fd, unsigned long what, void *arg)
{
	return refuses("ioctl") ? -1 : __real_ioctl(fd, what, arg);
}

int __real_poll(struct pollfd *fds, nfds_t n, int ms);
int __wrap_poll(struct pollfd *fds, nfds_t n, int ms)
{
	return refuses("poll") ? -1 : __real_poll(fds, n, ms);
}
