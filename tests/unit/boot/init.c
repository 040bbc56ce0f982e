/* SPDX-License-Identifier: MIT */
/* weir init, on a machine where nobody else listens: a network of its own, where one may be had. */
#include "boot/init.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "weir/base/addr.h"
#include "weir/base/defs.h"
#include "weir/base/str.h"
#include "weir/conf/conf.h"

#define NO_NETWORK 77
#define HTTP "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"

static char folder[] = "/tmp/weir-init-XXXXXX";

static void begin(void)
{
	cr_assert(mkdtemp(folder) != NULL && chdir(folder) == 0);
}

static void end(void)
{
	char command[80];
	snprintf(command, sizeof(command), "rm -r %s", folder);
	cr_assert_eq(system(command), 0);
}

TestSuite(init, .init = begin, .fini = end, .timeout = 300);

struct server {
	const char *address, *name, *says;
};

/* A process of this name that says this to everybody. */
static void serve(const struct server *server)
{
	struct addr addr;
	int on = 1;
	if (!addr_parse(view_str(server->address), &addr))
		abort();
	int fd = socket(addr.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, &addr.sa, addr.len) || listen(fd, 10))
		abort();
	prctl(PR_SET_NAME, server->name); /* which the child has from its beginning */
	if (fork() == 0) {
		char heard[1000];
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int peer; (peer = accept(fd, NULL, NULL)) >= 0; close(peer))
			if (recv(peer, heard, sizeof(heard), 0) > 0)
				send(peer, server->says, strlen(server->says), MSG_NOSIGNAL);
		_exit(0);
	}
	close(fd);
}

static bool alone(void)
{
	struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	if (geteuid() != 0 || unshare(CLONE_NEWNET))
		return false;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool up = ioctl(fd, SIOCSIFFLAGS, &lo) == 0;
	close(fd);
	return up;
}

/* Where these listen; what init ends with. */
static int run(const struct server *servers, size_t n)
{
	int status;
	fflush(NULL);
	pid_t pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0) {
		if (!alone())
			exit(NO_NETWORK);
		for (size_t i = 0; i < n; i++)
			serve(&servers[i]);
		if (!freopen("out", "w", stdout) || !freopen("err", "w", stderr))
			abort();
		exit(init_run("weir.yaml"));
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status), "%x", status);
	if (WEXITSTATUS(status) == NO_NETWORK)
		cr_skip_test("no network of one's own may be had");
	return WEXITSTATUS(status);
}

static void expect_file(const char *name, const char *what)
{
	char text[20000];
	FILE *in = fopen(name, "r");
	cr_assert_not_null(in);
	text[fread(text, 1, sizeof(text) - 1, in)] = '\0';
	fclose(in);
	cr_expect_not_null(strstr(text, what), "%s: %s", name, text);
}

Test(init, those_of_the_name_that_most_have_are_the_pool)
{
	static const struct server servers[] = {
	    {"0.0.0.0:5001", "app", HTTP},    {"127.0.0.1:5003", "other", HTTP},
	    {"127.0.0.1:5002", "app", HTTP},  {"127.0.0.1:5004", "mute", "hello there"},
	    {"127.0.0.1:6379", "app", HTTP},  {"127.0.0.1:5006", "weir", HTTP},
	    {"127.0.0.1:5005", "a b#", HTTP},
	};
	cr_assert_eq(run(servers, ARRAY_LEN(servers)), 0);
	expect_file("weir.yaml", "  - bind: 0.0.0.0:80\n");
	expect_file("weir.yaml",
		    "    backends:\n      - 127.0.0.1:5001  # app\n      - 127.0.0.1:5002  # app\n"
		    "\n# Others that answer HTTP here; a pool each, and routes that lead to them, "
		    "publish them:\n"
		    "#   127.0.0.1:5003 other\n#   127.0.0.1:5005 a?b#\n\n# Who asked what");
	expect_file("out", "wrote weir.yaml: listens at port 80\n"
			   "  backend port 5001, app\n  backend port 5002, app\n"
			   "  left out port 5003, other (named in a comment)\n"
			   "  left out port 5005, a b# (named in a comment)\nnext:\n");
	cr_assert_eq(run(servers, ARRAY_LEN(servers)), 1);
	expect_file("err", "weir.yaml is there already, and stays as it is");
}

Test(init, a_port_that_is_taken)
{
	static const struct server servers[] = {{"127.0.0.1:80", "app", HTTP},
						{"127.0.0.1:8080", "app", HTTP}};
	cr_assert_eq(run(servers, ARRAY_LEN(servers)), 0);
	expect_file("weir.yaml", "  - bind: 0.0.0.0:8081\n");
	expect_file("weir.yaml",
		    "      - 127.0.0.1:80  # app\n      - 127.0.0.1:8080  # app\n\n# Who");
}

Test(init, nobody_answers)
{
	cr_assert_eq(run(NULL, 0), 0);
	expect_file("weir.yaml", "# Nobody answered HTTP on this machine");
	expect_file("weir.yaml",
		    "respond: {body: \"weir is running; it has no app server yet\\n\"}");
	expect_file("out",
		    "  nobody answers HTTP on this machine: it says hello until there is a pool\n");
}

Test(init, what_cannot_be_written)
{
	fflush(NULL);
	pid_t pid = fork();
	int status;
	if (pid == 0) {
		if (!freopen("out", "w", stdout) || !freopen("err", "w", stderr) || !alone())
			exit(1);
		exit(init_run("none/weir.yaml"));
	}
	cr_assert(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 1);
}
