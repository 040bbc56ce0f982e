/* SPDX-License-Identifier: MIT */
/*
 * Linked to every test program: who leaves a descriptor open, when its .fini is done.  The linker's
 * --wrap puts this around what Criterion does before and after a test; that ends with a verdict
 * before this has one, so it is the line that makes a program fail (WEIR_FAIL_LINES).
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* The kernel gives the lowest that is free, so a leak shows below this. */
#define WATCHED 256

void __real_criterion_internal_test_setup(void);
void __real_criterion_internal_test_teardown(void);
void __wrap_criterion_internal_test_setup(void);
void __wrap_criterion_internal_test_teardown(void);

static bool was_open[WATCHED];

void __wrap_criterion_internal_test_setup(void)
{
	for (int fd = 0; fd < WATCHED; fd++)
		was_open[fd] = fcntl(fd, F_GETFD) >= 0;
	__real_criterion_internal_test_setup();
}

void __wrap_criterion_internal_test_teardown(void)
{
	__real_criterion_internal_test_teardown();
	for (int fd = 0; fd < WATCHED; fd++) {
		char path[32], target[256];
		if (was_open[fd] || fcntl(fd, F_GETFD) < 0)
			continue;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		ssize_t len = readlink(path, target, sizeof(target));
		fprintf(stderr, "%s::%s: descriptor %d left open: %.*s\n",
			criterion_current_test->category, criterion_current_test->name, fd,
			len < 0 ? 0 : (int)len, target);
	}
}
