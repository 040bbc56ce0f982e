/* SPDX-License-Identifier: MIT */
/* Bound addresses where descriptors run out: descriptors.c sees what stays open. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "boot/control.h"

static struct control control = {.n_workers = 3};
static struct addr here;

/* Whoever ran this may have left some open above those that are free. */
static int fillers[256], n_fillers;

static void fill_holes(void)
{
	int top = 255, fd;
	while (fcntl(top, F_GETFD) < 0)
		top--;
	while ((fd = dup(0)) < top)
		fillers[n_fillers++] = fd;
	close(fd);
}

static void begin(void)
{
	list_init(&control.listeners);
	cr_assert(addr_parse(VIEW("127.0.0.1:0"), &here));
	fill_holes();
}

static void end(void)
{
	while (n_fillers)
		close(fillers[--n_fillers]);
}

TestSuite(listeners, .init = begin, .fini = end);

/* No descriptor from this one on. */
static void allow(int n)
{
	struct rlimit limit;
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = (rlim_t)n;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static int lowest_free(void)
{
	int fd = dup(0);
	cr_assert_geq(fd, 0);
	close(fd);
	return fd;
}

Test(listeners, a_socket_for_each_worker_or_none)
{
	struct str why = STR_INIT;
	int first = lowest_free();
	for (int n = 0; n < 3; n++) {
		allow(first + n);
		cr_expect_null(listener_get(&control, &here, VIEW("web"), &why), "%d of 3", n);
		cr_expect(list_is_empty(&control.listeners));
		cr_expect(view_starts(str_as_view(&why), VIEW("cannot listen on web: ")), "%s",
			  why.ptr);
		str_reset(&why);
		allow(first + 3);
		cr_expect_eq(lowest_free(), first, "%d of 3", n);
	}
	struct listener *l = listener_get(&control, &here, VIEW("web"), &why);
	cr_assert(l, "%s", why.ptr);
	cr_expect_eq(listener_get(&control, &l->addr, VIEW("web"), &why), l, "it is shared");
	listener_put(l);
	cr_expect_geq(atomic_load(&l->fds[2]), 0);
	listener_put(l);
	cr_expect_eq(lowest_free(), first);
	listeners_free(&control);
	str_fini(&why);
}
