/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into weir by test_refused_calls.py: of the system calls that workers make the n-th of
 * a kind fails, once; what its error says of the connection is true from then on.  The file that
 * REFUSE_FILE names has three numbers: which call (0: none), its error, how many to go.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

enum { SEND = 1, RECV, SPLICE, CONNECT, ACCEPT, SOCKET, GETSOCKOPT };

static struct {
	_Atomic int call, error, left;
} *wanted;

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("REFUSE_FILE");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *map = fd >= 0 ? mmap(NULL, sizeof(*wanted), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
			    : MAP_FAILED;
	if (map != MAP_FAILED)
		wanted = map;
}

static int is_worker(void)
{
	char name[16] = "";
	prctl(PR_GET_NAME, name);
	return strncmp(name, "worker", 6) == 0;
}

static int refuses(int call)
{
	if (!wanted || wanted->call != call || !is_worker() || --wanted->left != 0)
		return 0;
	errno = wanted->error;
	return 1;
}

static long refuse(int fd)
{
	int error = errno;
	if (error == EPIPE)
		shutdown(fd, SHUT_WR);
	else if (error == ECONNRESET || error == ETIMEDOUT || error == EHOSTUNREACH)
		shutdown(fd, SHUT_RDWR);
	errno = error;
	return -1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t send(int fd, const void *ptr, size_t n, int flags)
{
	return refuses(SEND) ? refuse(fd) : REAL(send)(fd, ptr, n, flags);
}

ssize_t recv(int fd, void *ptr, size_t n, int flags)
{
	return refuses(RECV) ? refuse(fd) : REAL(recv)(fd, ptr, n, flags);
}

ssize_t splice(int in, off64_t *in_at, int out, off64_t *out_at, size_t n, unsigned flags)
{
	if (!refuses(SPLICE))
		return REAL(splice)(in, in_at, out, out_at, n, flags);
	refuse(in);
	return refuse(out);
}

int connect(int fd, const struct sockaddr *to, socklen_t len)
{
	return refuses(CONNECT) ? -1 : REAL(connect)(fd, to, len);
}

int accept4(int fd, struct sockaddr *from, socklen_t *len, int flags)
{
	return refuses(ACCEPT) ? -1 : REAL(accept4)(fd, from, len, flags);
}

int socket(int family, int type, int protocol)
{
	return refuses(SOCKET) ? -1 : REAL(socket)(family, type, protocol);
}

int getsockopt(int fd, int level, int option, void *value, socklen_t *len)
{
	return refuses(GETSOCKOPT) ? -1 : REAL(getsockopt)(fd, level, option, value, len);
}
