/* SPDX-License-Identifier: MIT */
#include "boot/stop.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <unistd.h>

/* As a thread does that hangs: it never comes back to its loop. */
static void hang(void)
{
	for (;;)
		pause();
}

Test(stop, int_ends_a_process_that_hangs, .exit_code = 1, .timeout = 60)
{
	stop_watch();
	raise(SIGINT);
	hang();
}

Test(stop, a_second_term_ends_a_process_that_hangs, .exit_code = 1, .timeout = 60)
{
	stop_watch();
	raise(SIGTERM);
	cr_assert_eq(alarm(0), 0, "the first one may take its time");
	raise(SIGTERM);
	hang();
}
