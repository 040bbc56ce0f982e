/* SPDX-License-Identifier: MIT */
/* When there is room for one more client. */
#include <criterion/criterion.h>
#include <unistd.h>

#include "proxy/room.h"

Test(room, is_there_below_the_limit_only)
{
	static struct worker w;
	int next = dup(STDERR_FILENO);
	close(next);
	w.fd_limit = next;
	cr_expect_not(room_is_there(&w));
	w.fd_limit = next + 1;
	cr_expect(room_is_there(&w));
}
