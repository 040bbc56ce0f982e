/* SPDX-License-Identifier: MIT */
/* The file between two processes: whole, or not at all. */
#include <criterion/criterion.h>
#include <sys/mman.h>
#include <unistd.h>

#include "boot/handover_state.h"

static const struct view blocks = VIEW("some blocks, longer than a head is");

static int stored(void)
{
	struct str why = STR_INIT;
	int fd = memfd_create("test", MFD_CLOEXEC);
	cr_assert(
	    state_store(fd, VIEW("an earlier one that was much, much longer than the next"), &why));
	cr_assert(state_store(fd, blocks, &why));
	return fd;
}

/* NULL when it could be read, and then it is what was stored. */
static const char *load(int fd)
{
	static char said[100];
	struct str out = STR_INIT, why = str_fixed(said, sizeof(said));
	bool ok = state_load(fd, &out, &why);
	cr_expect(!ok || view_eq(str_as_view(&out), blocks));
	cr_expect(ok || out.len == 0);
	str_fini(&out);
	return ok ? NULL : said;
}

Test(handover_state, what_is_stored_is_loaded)
{
	int fd = stored();
	cr_expect_null(load(fd));
	close(fd);
}

Test(handover_state, a_file_cut_anywhere_is_refused)
{
	int fd = stored();
	off_t size = lseek(fd, 0, SEEK_END);
	while (size-- > 0) {
		cr_assert_eq(ftruncate(fd, size), 0);
		cr_expect_str_eq(load(fd), "it is cut", "%ld bytes", (long)size);
	}
	close(fd);
}

Test(handover_state, a_byte_changed_anywhere_is_refused)
{
	int fd = stored();
	off_t size = lseek(fd, 0, SEEK_END);
	for (off_t at = 0; at < size; at++) {
		char byte, other;
		cr_assert_eq(pread(fd, &byte, 1, at), 1);
		other = (char)(byte ^ 0x40);
		cr_assert_eq(pwrite(fd, &other, 1, at), 1);
		cr_expect_not_null(load(fd), "byte %ld", (long)at);
		cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
	}
	char version = 2;
	cr_assert_eq(pwrite(fd, &version, 1, 12), 1);
	cr_expect_str_eq(load(fd), "it is of a version that is not known here");
	close(fd);
}
