/* SPDX-License-Identifier: MIT */
#include "weir/base/sink.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static int scratch_file(void)
{
	char path[] = "/tmp/weir-sink-XXXXXX";
	int fd = mkostemp(path, O_APPEND | O_CLOEXEC);
	cr_assert(fd >= 0);
	unlink(path);
	return fd;
}

static size_t contents(int fd, char *out, size_t size)
{
	ssize_t n = pread(fd, out, size - 1, 0);
	cr_assert(n >= 0);
	out[n] = '\0';
	return (size_t)n;
}

Test(sink, a_file_takes_all)
{
	struct sink sink = {0};
	char text[64];
	int fd = scratch_file();
	sink_open(&sink, fd);
	cr_assert_eq(sink_write(&sink, VIEW("one\ntwo\n"), 0), 8);
	contents(fd, text, sizeof(text));
	cr_assert_str_eq(text, "one\ntwo\n");
	cr_assert_null(sink_trouble(&sink));
	sink_close(&sink);
}

Test(sink, a_line_that_another_process_cut_is_ended_first)
{
	struct sink sink = {0};
	char text[64];
	int fd = scratch_file();
	cr_assert_eq(write(fd, "half", 4), 4);
	sink_open(&sink, fd);
	sink_write(&sink, VIEW("whole\n"), 0);
	contents(fd, text, sizeof(text));
	cr_assert_str_eq(text, "half\nwhole\n");
	sink_close(&sink);
}

Test(sink, nothing_is_everything_for_no_descriptor)
{
	struct sink sink = {0};
	sink_open(&sink, -1);
	cr_assert_eq(sink_write(&sink, VIEW("gone\n"), 0), 5);
	cr_assert_eq(sink.dropped, 0);
	sink_close(&sink);
}

Test(sink, a_full_disk_costs_lines_and_they_are_counted)
{
	struct sink sink = {0};
	sink_open(&sink, open("/dev/full", O_WRONLY | O_CLOEXEC));
	cr_assert_eq(sink_write(&sink, VIEW("a\nb\nc\n"), 0), 6);
	cr_assert_eq(sink.dropped, 3);
	cr_assert_eq(sink.error, ENOSPC);
	cr_assert_str_eq(sink_trouble(&sink), strerror(ENOSPC));
	sink_close(&sink);
}

/* The size of files is limited in this process: a write ends in the middle of a line. */
Test(sink, a_cut_line_never_joins_the_next)
{
	struct sink sink = {0};
	char text[64];
	int fd = scratch_file();
	struct rlimit limit = {.rlim_cur = 6, .rlim_max = RLIM_INFINITY};
	signal(SIGXFSZ, SIG_IGN);
	sink_open(&sink, fd);
	setrlimit(RLIMIT_FSIZE, &limit);
	cr_assert_eq(sink_write(&sink, VIEW("one\ntwo\nthree\n"), 0), 14);
	limit.rlim_cur = RLIM_INFINITY;
	setrlimit(RLIMIT_FSIZE, &limit);
	cr_assert_eq(sink.dropped, 2);
	cr_assert_eq(sink.error, EFBIG);
	sink_write(&sink, VIEW("four\n"), 0);
	contents(fd, text, sizeof(text));
	cr_assert_str_eq(text, "one\ntw\nfour\n");
	cr_assert_null(sink_trouble(&sink));
	sink_close(&sink);
}

static size_t fill_pipe(struct sink *sink, struct view line)
{
	size_t n = 0, all = 0;
	while ((n = sink_write(sink, line, 0)) == line.len)
		all += n;
	return all + n;
}

static size_t read_some(int fd, char *to, size_t room)
{
	ssize_t n = read(fd, to, room);
	cr_assert_gt(n, 0);
	return (size_t)n;
}

Test(sink, a_pipe_that_nobody_reads_keeps_the_rest_for_later)
{
	struct sink sink = {0};
	static char line[6001], got[1 << 20];
	int ends[2];
	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = '\n';
	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	sink_open(&sink, ends[1]);
	size_t all = fill_pipe(&sink, view_of(line, sizeof(line)));
	cr_assert_str_eq(sink_trouble(&sink), "nobody reads what is written");
	cr_assert_eq(sink.dropped, 0);
	cr_assert_gt(all, sizeof(line));
	size_t rest = sizeof(line) - all % sizeof(line), had = 0;
	while (had < all)
		had += read_some(ends[0], got + had, sizeof(got) - had);
	cr_assert_eq(had, all);
	cr_assert_eq(
	    sink_write(&sink, view_skip(view_of(line, sizeof(line)), sizeof(line) - rest), 0),
	    rest);
	had += read_some(ends[0], got + had, sizeof(got) - had);
	for (size_t i = 0; i < had; i++)
		cr_assert_eq(got[i] == '\n', i % sizeof(line) == sizeof(line) - 1);
	close(ends[0]);
	sink_close(&sink);
}

Test(sink, a_pipe_without_reader_drops_and_counts)
{
	struct sink sink = {0};
	int ends[2];
	signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	close(ends[0]);
	sink_open(&sink, ends[1]);
	cr_assert_eq(sink_write(&sink, VIEW("a\nb\n"), 0), 4);
	cr_assert_eq(sink.dropped, 2);
	cr_assert_eq(sink.error, EPIPE);
	sink_close(&sink);
}

Test(sink, flags_that_others_share_stay)
{
	struct sink sink = {0};
	int ends[2];
	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	sink_open(&sink, ends[1]);
	fill_pipe(&sink, VIEW("line\n"));
	cr_assert_eq(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
	close(ends[0]);
	sink_close(&sink);
}
