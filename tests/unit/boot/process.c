/* SPDX-License-Identifier: MIT */
#include "process.h"

#include "weir/boot/boot.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
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

char folder[] = "/tmp/weir-life-XXXXXX";
static char file[64];
pid_t weir;
static int backend;

static struct sockaddr_un place(const char *name)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s", folder, name);
	return addr;
}

int connect_to(const char *name)
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

int listen_as(const char *name)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s", folder, name);
	cr_assert(bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 && listen(fd, 10) == 0);
	return fd;
}

void own_address(struct sockaddr_in *out, char *text, size_t size)
{
	char ip[INET_ADDRSTRLEN];
	socklen_t len = sizeof(*out);
	*out = (struct sockaddr_in){.sin_family = AF_INET};
	out->sin_addr.s_addr = htonl(0x7f000000 | ((unsigned)getpid() & 0xffff) << 8 | 7);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)out, len), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)out, &len), 0);
	close(fd);
	inet_ntop(AF_INET, &out->sin_addr, ip, sizeof(ip));
	snprintf(text, size, "%s:%u", ip, ntohs(out->sin_port));
}

int connect_at(const struct sockaddr_in *addr)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	for (unsigned ms = 0; connect(fd, (const struct sockaddr *)addr, sizeof(*addr)); ms++) {
		cr_assert(ms < PATIENCE && waitpid(weir, NULL, WNOHANG) == 0, "nobody listens");
		usleep(1000);
	}
	return fd;
}

void put(int fd, const char *text)
{
	cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Until the peer has no more to say. */
const char *take(int fd)
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

static json_t *asked(const char *method, const char *path, const char *body, unsigned *status)
{
	char request[2000];
	int fd = connect_to("status");
	snprintf(request, sizeof(request),
		 "%s %s HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n"
		 "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
		 method, path, strlen(body), body);
	put(fd, request);
	const char *text = take(fd), *answer = strstr(text, "\r\n\r\n");
	cr_assert_eq(sscanf(text, "HTTP/1.1 %u ", status), 1, "%s", text);
	json_t *root = answer ? json_loads(answer + 4, 0, NULL) : NULL;
	cr_assert_not_null(root, "%s: %s", path, text);
	return root;
}

json_t *ask(const char *path)
{
	unsigned status;
	return asked("GET", path, "", &status);
}

void change(const char *method, const char *path, const char *body, unsigned want, const char *says)
{
	unsigned status;
	json_t *root = asked(method, path, body, &status);
	char *text = json_dumps(root, JSON_ENCODE_ANY);
	cr_expect_eq(status, want, "%s %s: %u %s", method, path, status, text);
	cr_expect(!says || strstr(text, says), "%s %s: %s", method, path, text);
	free(text);
	json_decref(root);
}

/* As often as the kind of event was noted. */
unsigned count_events(const char *kind)
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

void wait_for_event(const char *kind, unsigned n)
{
	for (unsigned ms = 0; count_events(kind) != n; ms += 20) {
		cr_assert_lt(ms, PATIENCE, "%u of %u %s", count_events(kind), n, kind);
		usleep(20000);
	}
}

void write_text(const char *yaml)
{
	FILE *out = fopen(file, "w");
	cr_assert(out && fputs(yaml, out) >= 0 && fclose(out) == 0);
}

void write_conf_of(const char *listener, const char *more)
{
	char text[8000];
	snprintf(text, sizeof(text),
		 "workers: 1\nsandbox: off\nstatus: {socket: '%s/status'}\n"
		 "state: {directory: '%s/state'}\n"
		 "listeners: [{name: web, bind: 'unix:%s/web'%s}]\n"
		 "pools:\n  app: {backends: [{name: one, address: 'unix:%s/backend'}]}\n%s",
		 folder, folder, folder, listener, folder, more);
	write_text(text);
}

void write_conf(const char *more)
{
	write_conf_of("", more);
}

void start_weir(void)
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

void stop_weir(void)
{
	int status;
	kill(weir, SIGTERM);
	cr_assert_eq(waitpid(weir, &status, 0), weir);
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%x", status);
}

/* ---- client and backend ---- */

const char *backend_answers(const char *target)
{
	static char head[4000];
	int fd = accept(backend, NULL, NULL);
	cr_assert_geq(fd, 0);
	ssize_t n = recv(fd, head, sizeof(head) - 1, 0);
	head[n > 0 ? n : 0] = '\0';
	cr_expect(strncmp(head + 4, target, strlen(target)) == 0, "%s", head);
	put(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
	close(fd);
	return head;
}

void is_served(const char *target)
{
	char request[200];
	int client = connect_to("web");
	snprintf(request, sizeof(request),
		 "GET %s HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", target);
	put(client, request);
	backend_answers(target);
	const char *text = take(client);
	cr_expect(strncmp(text, "HTTP/1.1 200 OK\r\n", 17) == 0, "%s", text);
	cr_expect_not_null(strstr(text, "\r\n\r\nhi"), "%s", text);
}

void process_begin(void)
{
	cr_assert(mkdtemp(folder));
	snprintf(file, sizeof(file), "%s/weir.yaml", folder);
	struct sockaddr_un addr = place("backend");
	backend = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(backend, (struct sockaddr *)&addr, sizeof(addr)), 0);
	cr_assert_eq(listen(backend, 10), 0);
}

void process_end(void)
{
	char command[64];
	close(backend);
	snprintf(command, sizeof(command), "rm -r %s", folder);
	cr_assert_eq(system(command), 0);
}
