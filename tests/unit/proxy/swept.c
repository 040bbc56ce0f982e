/* SPDX-License-Identifier: MIT */
/* A test that dies leaves its folder: whoever runs the tests takes those away, before and after. */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "world.h"

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	(void)tests;
	world_sweep_dead();
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
	(void)stats;
	world_sweep_dead();
}

static void make_world(void)
{
	if (!world_new("workers: 1\n"
		       "listeners: [{bind: 'unix:$DIR/web'}]\n"
		       "pools: {app: {backends: ['unix:$DIR/b1']}}\n"))
		_exit(1);
}

Test(world, what_a_process_that_died_has_left_goes)
{
	char dir[64];
	pid_t pid = fork();
	if (pid == 0) {
		make_world();
		raise(SIGKILL);
	}
	int status;
	cr_assert(pid > 0 && waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
	world_folder(pid, dir, sizeof(dir));
	cr_assert_eq(access(dir, F_OK), 0);
	world_sweep_dead();
	cr_assert_neq(access(dir, F_OK), 0);
}
