/* SPDX-License-Identifier: MIT */
/*
 * A reload with each allocation failing once.  It is refused, and what was in force serves on,
 * or it is done; or the process ends with a sentence (weir/base/arena.h), never without one.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memory.h"
#include "world.h"

#define CONF(answer)                                                                               \
	"workers: 1\n"                                                                             \
	"listeners: [{name: web, bind: 'unix:$DIR/web', limits: {connections: 100}}]\n"            \
	"routes:\n"                                                                                \
	"  - {match: {path: /, header: {X-A: {regex: '^b+$'}}}, pool: other}\n"                    \
	"  - {match: {path: '/', method: [GET]}, respond: {status: " answer "}}\n"                 \
	"  - {split: {app: 90, other: 10}, rate_limit: [{rate: 5/s, burst: 5}]}\n"                 \
	"pools:\n"                                                                                 \
	"  app: {balance: maglev, hash: {on: path}, backends: ['unix:$DIR/b1', 'unix:$DIR/b2']}\n" \
	"  other: {balance: p2c, health: {path: /up}, backends: ['unix:$DIR/b3']}\n"

/* What the child ends with. */
enum { DONE, REFUSED, NOT_REACHED, WRONG };

static unsigned status_now(struct world *w)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	char answer[256] = "";
	unsigned status = 0;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(to.sun_path, sizeof(to.sun_path), "%s/web", w->dir);
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 &&
	    send(fd, request, sizeof(request) - 1, 0) > 0) {
		world_settle(w);
		if (recv(fd, answer, sizeof(answer) - 1, MSG_DONTWAIT) > 0)
			sscanf(answer, "HTTP/1.1 %u", &status);
	}
	close(fd);
	world_settle(w);
	return status;
}

static int reload_in_child(size_t n)
{
	struct world *w = world_new(CONF("201"));
	struct str why = STR_INIT;
	if (!w || status_now(w) != 201)
		return WRONG;
	memory_refuse(n);
	memory_watch(true);
	bool done = world_reload(w, CONF("202"), &why) == ERR_OK;
	memory_watch(false);
	world_settle(w); /* which watches its turns: the worker moves on */
	bool reached = memory_has_refused();
	memory_refuse(0);
	str_fini(&why);
	world_pass(w, 2000000);
	if (status_now(w) != (done ? 202 : 201))
		return WRONG;
	world_free(w);
	return !reached ? NOT_REACHED : done ? DONE : REFUSED;
}

static char said_text[4096];

/* It has said why. */
static bool has_sentence(FILE *said)
{
	rewind(said);
	said_text[fread(said_text, 1, sizeof(said_text) - 1, said)] = '\0';
	return strstr(said_text, "out of memory") || strstr(said_text, "internal error");
}

Test(memory, a_reload_is_done_or_refused_or_ends_with_a_sentence, .timeout = 600)
{
	unsigned n_refused = 0;
	for (size_t n = 1;; n++) {
		int status;
		FILE *said = tmpfile();
		cr_assert(said != NULL);
		fflush(stdout);
		pid_t pid = fork();
		if (pid == 0) {
			dup2(fileno(said), STDERR_FILENO);
			_exit(reload_in_child(n));
		}
		cr_assert(pid > 0 && waitpid(pid, &status, 0) == pid);
		int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
		world_sweep(pid);
		bool sentence = has_sentence(said);
		fclose(said);
		if (code == NOT_REACHED)
			break;
		cr_assert(code != WRONG && (code == DONE || code == REFUSED || sentence),
			  "allocation %zu: status %d: %s", n, status, said_text);
		n_refused++;
	}
	cr_assert(n_refused > 20, "%u", n_refused);
}
