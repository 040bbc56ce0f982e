/* SPDX-License-Identifier: MIT */
/*
 * A whole weir, from the start to the end of its process: what it serves, keeps and reloads.  Its
 * client, its one backend and its operator are the test.
 */
#include "weir/boot/boot.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "weir/base/defs.h"

#define PATIENCE 60000 /* milliseconds that nothing takes */

static char folder[] = "/tmp/weir-life-XXXXXX";
static char file[64];
static pid_t weir;
static int backend;

static struct sockaddr_un place(const char *name)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s", folder, name);
	return addr;
}

static int connect_to(const char *name)
{
	struct sockaddr_un addr = place(name);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_geq(fd, 0);
	for (unsigned ms = 0; connect(fd, (struct sockaddr *)&addr, sizeof(addr)); ms++) {
		cr_assert(ms < PATIENCE && waitpid(weir, NULL, WNOHANG) == 0,
			  "nobody listens at %s", name);
		usleep(1000);
	}
	return fd;
}

static void put(int fd, const char *text)
{
	cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Until the peer has no more to say. */
static const char *take(int fd)
{
	static char text[1 << 18];
	size_t len = 0;
	ssize_t n;
	while ((n = recv(fd, text + len, sizeof(text) - 1 - len, 0)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	close(fd);
	return text;
}

/* ---- the operator ---- */

static json_t *ask(const char *path)
{
	char request[200];
	int fd = connect_to("status");
	snprintf(request, sizeof(request),
		 "GET %s HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n\r\n", path);
	put(fd, request);
	const char *text = take(fd), *body = strstr(text, "\r\n\r\n");
	json_t *root = body ? json_loads(body + 4, 0, NULL) : NULL;
	cr_assert_not_null(root, "%s: %s", path, text);
	return root;
}

static long long requests_in_history(void)
{
	long long n = 0;
	size_t i;
	json_t *root = ask("/v1/history?since=-1h&step=1m&pool=app&backend=one"), *row;
	json_array_foreach(json_object_get(root, "rows"), i, row)
	{
		n += json_integer_value(json_object_get(row, "requests"));
	}
	json_decref(root);
	return n;
}

static void wait_for_history(long long want)
{
	for (unsigned ms = 0; requests_in_history() != want; ms += 20) {
		cr_assert_lt(ms, PATIENCE, "%lld of %lld", requests_in_history(), want);
		usleep(20000);
	}
}

/* As often as the kind of event was noted. */
static unsigned count_events(const char *kind)
{
	unsigned n = 0;
	size_t i;
	json_t *root = ask("/v1/events"), *row;
	json_array_foreach(json_object_get(root, "events"), i, row)
	{
		n += strcmp(json_string_value(json_object_get(row, "kind")), kind) == 0;
	}
	json_decref(root);
	return n;
}

static void wait_for_event(const char *kind, unsigned n)
{
	for (unsigned ms = 0; count_events(kind) != n; ms += 20) {
		cr_assert_lt(ms, PATIENCE, "%u of %u %s", count_events(kind), n, kind);
		usleep(20000);
	}
}

/* `more`: settings in one line each. */
static void write_conf(const char *more)
{
	FILE *out = fopen(file, "w");
	cr_assert_not_null(out);
	fprintf(out,
		"workers: 1\nsandbox: off\nstatus: {socket: '%s/status'}\n"
		"state: {directory: '%s/state'}\n"
		"listeners: [{name: web, bind: 'unix:%s/web'}]\n"
		"pools: {app: {backends: [{name: one, address: 'unix:%s/backend'}]}}\n%s",
		folder, folder, folder, folder, more);
	fclose(out);
}

static void start(void)
{
	static char name[] = "weir", option[] = "-c";
	char *argv[] = {name, option, file, NULL};
	fflush(NULL);
	weir = fork();
	cr_assert_geq(weir, 0);
	if (weir == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* of a test that fails */
		exit(boot_main(3, argv));
	}
	close(connect_to("status"));
}

static void stop(void)
{
	int status;
	kill(weir, SIGTERM);
	cr_assert_eq(waitpid(weir, &status, 0), weir);
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%x", status);
}

/* ---- client and backend ---- */

/* The backend is asked, and what it says is what the client gets. */
static void is_served(const char *target)
{
	char request[200];
	int client = connect_to("web");
	snprintf(request, sizeof(request),
		 "GET %s HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", target);
	put(client, request);
	int fd = accept(backend, NULL, NULL);
	cr_assert_geq(fd, 0);
	char head[2000];
	ssize_t n = recv(fd, head, sizeof(head) - 1, 0);
	head[n > 0 ? n : 0] = '\0';
	cr_expect(strncmp(head + 4, target, strlen(target)) == 0, "%s", head);
	put(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
	const char *text = take(client);
	close(fd);
	cr_expect(strncmp(text, "HTTP/1.1 200 OK\r\n", 17) == 0, "%s", text);
	cr_expect_not_null(strstr(text, "\r\n\r\nhi"), "%s", text);
}

static void begin(void)
{
	cr_assert(mkdtemp(folder));
	snprintf(file, sizeof(file), "%s/weir.yaml", folder);
	struct sockaddr_un addr = place("backend");
	backend = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(backend, (struct sockaddr *)&addr, sizeof(addr)), 0);
	cr_assert_eq(listen(backend, 10), 0);
}

static void end(void)
{
	char command[64];
	close(backend);
	snprintf(command, sizeof(command), "rm -r %s", folder);
	cr_assert_eq(system(command), 0);
}

TestSuite(life, .init = begin, .fini = end, .timeout = 300);

#define ROUTE "routes: [{pool: app}]\n"

Test(life, what_was_served_is_known_to_the_next_process)
{
	write_conf(ROUTE);
	start();
	for (unsigned i = 0; i < 3; i++)
		is_served("/a");
	wait_for_history(3);
	stop();
	start();
	cr_expect_eq(requests_in_history(), 3);
	is_served("/b");
	wait_for_history(4);
	stop();
}

Test(life, a_reload_is_taken_or_leaves_all_as_it_was)
{
	write_conf(ROUTE);
	start();
	write_conf("routes: [{pool: none}]\n");
	kill(weir, SIGHUP);
	wait_for_event("reload_failed", 1);
	is_served("/a");
	write_conf("routes: [{match: {path: /old}, respond: {status: 410}}, {pool: app}]\n");
	kill(weir, SIGHUP);
	wait_for_event("reload", 1);
	int client = connect_to("web");
	put(client, "GET /old HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
	const char *text = take(client);
	cr_expect(strncmp(text, "HTTP/1.1 410 ", 13) == 0, "%s", text);
	is_served("/a");
	cr_expect_eq(count_events("reload_failed"), 1);
	stop();
}
