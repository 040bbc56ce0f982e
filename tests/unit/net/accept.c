/* SPDX-License-Identifier: MIT */
/* Accepting when the kernel keeps saying no: every error is told, and none is asked for ever. */
#include "fixture.h"

#include <errno.h>
#include <sys/syscall.h>

static int fails_with;
static unsigned n_calls;

/* In place of libc's, for all tests of this program. */
int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	n_calls++;
	if (!fails_with)
		return (int)syscall(SYS_accept4, fd, addr, len, flags);
	errno = fails_with;
	return -1;
}

static enum err accept_when(int number)
{
	struct addr peer;
	int fd = 0;
	fails_with = number;
	n_calls = 0;
	enum err err = socket_accept(0, &peer, &fd);
	fails_with = 0;
	cr_expect_eq(fd, -1);
	return err;
}

Test(accept, what_is_short_is_told_at_once)
{
	static const int numbers[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM};
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		cr_expect_eq(accept_when(numbers[i]), ERR_FDS, "%s", strerror(numbers[i]));
		cr_expect_eq(n_calls, 1);
	}
}

Test(accept, errors_that_repeat_end_the_turn)
{
	static const int numbers[] = {ECONNABORTED, EPERM,      EPROTO,       EINTR,
				      ENETDOWN,     EOPNOTSUPP, ENOSR,        EBADF,
				      EINVAL,       ENOTSOCK,   EHOSTUNREACH, ETIMEDOUT};
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		cr_expect_neq(accept_when(numbers[i]), ERR_OK, "%s", strerror(numbers[i]));
		cr_expect_leq(n_calls, 20, "%s: asked %u times", strerror(numbers[i]), n_calls);
	}
}

Test(accept, nobody_there_is_no_error)
{
	cr_expect_eq(accept_when(EAGAIN), ERR_OK);
	cr_expect_eq(n_calls, 1);
}
