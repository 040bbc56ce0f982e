/* SPDX-License-Identifier: MIT */
/* The access log, from the request to the file, the FIFO or the datagram of syslog. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "process.h"

TestSuite(access_log, .init = process_begin, .fini = process_end, .timeout = 300);

static const char *path_of(const char *name)
{
	static char paths[4][120];
	static unsigned n;
	char *path = paths[n++ % 4];
	snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	return path;
}

static void start_with(const char *settings)
{
	char more[500];
	snprintf(more, sizeof(more), "log: {access: {%s}}\nroutes: [{pool: app}]\n", settings);
	write_conf(more);
	start_weir();
}

static const char *to_file(const char *more)
{
	static char settings[300];
	snprintf(settings, sizeof(settings), "path: '%s'%s", path_of("log"), more);
	return settings;
}

static const char *read_all(const char *name)
{
	static char text[1 << 16];
	FILE *in = fopen(path_of(name), "r");
	text[0] = '\0';
	if (!in)
		return text;
	text[fread(text, 1, sizeof(text) - 1, in)] = '\0';
	fclose(in);
	return text;
}

static unsigned count_lines(const char *name)
{
	unsigned n = 0;
	for (const char *at = read_all(name); (at = strchr(at, '\n')); at++)
		n++;
	return n;
}

/* So many lines are there; the text of all. */
static const char *wait_for_lines(const char *name, unsigned n)
{
	for (unsigned ms = 0; count_lines(name) < n; ms += 10) {
		cr_assert_lt(ms, PATIENCE, "%s: %s", name, read_all(name));
		usleep(10000);
	}
	cr_expect_eq(count_lines(name), n, "%s: %s", name, read_all(name));
	return read_all(name);
}

Test(access_log, a_line_for_each_request_and_a_new_file_when_asked)
{
	struct stat st;
	start_with(to_file(", fields: [path, status, pool]"));
	is_served("/a");
	const char *text = wait_for_lines("log", 1);
	cr_expect_str_eq(text, "{\"path\":\"/a\",\"status\":200,\"pool\":\"app\"}\n");
	cr_assert_eq(stat(path_of("log"), &st), 0);
	cr_expect_eq(st.st_mode & 0777, 0640);
	cr_assert_eq(rename(path_of("log"), path_of("old")), 0);
	is_served("/b");
	wait_for_lines("old", 2);
	kill(weir, SIGUSR1);
	for (unsigned ms = 0; stat(path_of("log"), &st); ms += 10) {
		cr_assert_lt(ms, PATIENCE);
		usleep(10000);
	}
	is_served("/c");
	text = wait_for_lines("log", 1);
	cr_expect(strstr(text, "\"/c\""), "%s", text);
	wait_for_lines("old", 2);
	stop_weir();
}

/* A line that a full disk, or a crash, has cut stays one. */
Test(access_log, what_was_there_stays)
{
	FILE *out = fopen(path_of("log"), "w");
	cr_assert(out && fputs("first\nsecond without its e", out) >= 0 && fclose(out) == 0);
	start_with(to_file(", fields: [path]"));
	is_served("/a");
	const char *text = wait_for_lines("log", 3);
	cr_expect_str_eq(text, "first\nsecond without its e\n{\"path\":\"/a\"}\n");
	stop_weir();
}

Test(access_log, errors_only)
{
	start_with(to_file(", errors_only: true, fields: [path, status]"));
	is_served("/a");
	int fd = connect_to("web");
	put(fd, "GET /bad HTTP/1.1\r\n\r\n");
	cr_expect(strncmp(take(fd), "HTTP/1.1 400 ", 13) == 0);
	const char *text = wait_for_lines("log", 1);
	cr_expect(strstr(text, "400"), "%s", text);
	stop_weir();
}

Test(access_log, none_is_lost_at_a_stop)
{
	start_with(to_file(", fields: [path]"));
	for (unsigned i = 0; i < 20; i++)
		is_served("/a");
	stop_weir();
	cr_expect_eq(count_lines("log"), 20, "%s", read_all("log"));
}

Test(access_log, a_fifo_is_read_when_somebody_comes)
{
	char text[1000];
	ssize_t n = 0;
	cr_assert_eq(mkfifo(path_of("log"), 0600), 0);
	start_with(to_file(", fields: [path]"));
	is_served("/a");
	int fd = open(path_of("log"), O_RDONLY | O_CLOEXEC);
	n = read(fd, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	cr_expect_str_eq(text, "{\"path\":\"/a\"}\n");
	close(fd);
	stop_weir();
}

Test(access_log, datagrams_of_syslog)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	char text[2000], settings[300], pid[32];
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path_of("devlog"));
	snprintf(settings, sizeof(settings), "path: syslog, socket: '%s', fields: [path]",
		 addr.sun_path);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	start_with(settings);
	for (unsigned i = 0; i < 3; i++) {
		is_served("/a");
		ssize_t n = recv(fd, text, sizeof(text) - 1, 0);
		text[n > 0 ? n : 0] = '\0';
		snprintf(pid, sizeof(pid), " weir %d access - ", (int)weir);
		const char *at = strstr(text, pid);
		cr_assert(strncmp(text, "<134>1 2", 8) == 0 && at, "%s", text);
		cr_expect_str_eq(at + strlen(pid), "{\"path\":\"/a\"}", "%s", text);
	}
	close(fd);
	stop_weir();
}

Test(access_log, one_that_cannot_be_opened_ends_a_reload)
{
	write_conf("routes: [{pool: app}]\n");
	start_weir();
	write_conf("log: {access: {path: /nowhere/at/all}}\nroutes: [{pool: app}]\n");
	change("POST", "/v1/reload", "", 422, "/nowhere/at/all");
	is_served("/a");
	stop_weir();
}
