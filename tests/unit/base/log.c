/* SPDX-License-Identifier: MIT */
/* Each test runs in a process of its own: standard error is its to replace. */
#include "weir/base/log.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static int log_into_pipe(void)
{
	int ends[2];
	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	cr_assert_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
	close(ends[1]);
	return ends[0];
}

static size_t read_all(int fd, char *out, size_t size)
{
	size_t len = 0;
	ssize_t n;
	fcntl(fd, F_SETFL, O_NONBLOCK);
	while ((n = read(fd, out + len, size - 1 - len)) > 0)
		len += (size_t)n;
	out[len] = '\0';
	return len;
}

Test(log, lines_go_out_in_order_and_all_of_them_before_the_end)
{
	static char got[1 << 20];
	int fd = log_into_pipe();
	cr_assert(log_start());
	for (int i = 0; i < 100; i++)
		log_info("line %d.", i);
	log_stop();
	read_all(fd, got, sizeof(got));
	const char *at = got;
	for (int i = 0; i < 100; i++) {
		char text[32];
		snprintf(text, sizeof(text), "line %d.\n", i);
		cr_assert_not_null(at = strstr(at, text), "%s", text);
	}
	cr_assert_eq(log_dropped(), 0);
	cr_assert_null(log_trouble());
}

Test(log, what_peers_send_drives_no_terminal)
{
	static char got[4096];
	int fd = log_into_pipe();
	log_info("%s", "a\nb\x1b[31m\xc2\x9b"
		       "31m\xe2\x80\xae"
		       "c\xe2\x80\xa8"
		       "d\xff"
		       "e\xc3\xa9");
	read_all(fd, got, sizeof(got));
	cr_assert_not_null(strstr(got, "a?b?[31m?31m?c?d?e\xc3\xa9\n"), "%s", got);
}

static void *shout(void *arg)
{
	for (int i = 0; i < 20000; i++)
		log_info("%080d", i);
	return arg;
}

/* 64 KiB of pipe and 256 lines of queue: what is more is counted, nobody waits. */
Test(log, a_full_pipe_holds_up_nobody, .timeout = 60)
{
	static char got[1 << 20];
	pthread_t threads[4];
	int fd = log_into_pipe();
	cr_assert(log_start());
	for (int i = 0; i < 4; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, shout, NULL), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	cr_assert_gt(log_dropped(), 70000);
	cr_assert_lt(log_dropped(), 80000);
	log_stop(); /* ends although nobody reads */
	size_t len = read_all(fd, got, sizeof(got)), lines = 0;
	for (size_t i = 0; i < len; i++)
		lines += got[i] == '\n';
	/* lines that admit a loss are lines as well */
	size_t admitted = 0;
	for (const char *at = got; (at = strstr(at, "dropped before this one")) != NULL; at++)
		admitted++;
	cr_assert_geq(lines + log_dropped(), 80000);
	cr_assert_leq(lines + log_dropped(), 80000 + admitted + 1);
}

Test(log, a_loss_is_admitted_when_lines_go_again, .timeout = 60)
{
	static char got[1 << 20];
	int fd = log_into_pipe();
	cr_assert(log_start());
	shout(NULL);
	size_t n = read_all(fd, got, sizeof(got));
	while (!strstr(got, "lines of this log were dropped before this one\n")) {
		log_info("one more");
		n += read_all(fd, got + n, sizeof(got) - n);
	}
	log_stop();
}

Test(log, text_goes_as_it_is)
{
	static char got[8192];
	char text[4096];
	int fd = log_into_pipe();
	log_text(VIEW("first\n\tsecond"));
	memset(text, 'x', sizeof(text));
	log_text(view_of(text, sizeof(text))); /* cut, not lost */
	size_t len = read_all(fd, got, sizeof(got));
	cr_assert_eq(strncmp(got, "first\n\tsecond\nxxx", 17), 0);
	cr_assert_eq(got[len - 1], '\n');
	cr_assert_lt(len, 2100);
}
