/* SPDX-License-Identifier: MIT */
/* All bytes of a part of a file, however many calls that takes. */
#include "weir/base/file.h"

#include <errno.h>
#include <unistd.h>

/* Of what one call did: false when there is no use in another. */
static bool goes_on(ssize_t n, size_t *done)
{
	if (n < 0)
		return errno == EINTR;
	if (n == 0)
		errno = EIO;
	*done += (size_t)n;
	return n > 0;
}

bool file_write_at(int fd, struct view bytes, off_t at)
{
	size_t done = 0;
	while (done < bytes.len)
		if (!goes_on(pwrite(fd, bytes.ptr + done, bytes.len - done, at + (off_t)done),
			     &done))
			return false;
	return true;
}

bool file_read_at(int fd, void *to, size_t n, off_t at)
{
	size_t done = 0;
	while (done < n)
		if (!goes_on(pread(fd, (char *)to + done, n - done, at + (off_t)done), &done))
			return false;
	return true;
}
