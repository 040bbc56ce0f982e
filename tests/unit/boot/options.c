/* SPDX-License-Identifier: MIT */
/* The command line of weir: what is done, what is said where, and what it ends with. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "weir/base/defs.h"
#include "weir/base/str.h"
#include "weir/boot/boot.h"

static char folder[] = "/tmp/weir-options-XXXXXX";

static void write_file(const char *name, const char *text)
{
	FILE *out = fopen(name, "w");
	cr_assert(out && fputs(text, out) >= 0 && fclose(out) == 0);
}

static void begin(void)
{
	cr_assert(mkdtemp(folder) != NULL && chdir(folder) == 0);
	write_file("good.yaml", "status: {socket: status}\nlisteners: [{bind: 'unix:web'}]\n"
				"pools: {app: {backends: ['10.0.0.1:80']}}\n");
	write_file("bad.yaml", "listeners: [{bond: ':80'}]\n");
	write_file("regex.yaml", "status: {socket: status}\nlisteners: [{bind: 'unix:web'}]\n"
				 "pools: {app: {backends: ['10.0.0.1:80']}}\n"
				 "routes: [{match: {path_regex: '('}, pool: app}]\n");
	write_file("body.yaml", "status: {socket: status}\nlisteners: [{bind: 'unix:web'}]\n"
				"pools: {app: {backends: ['10.0.0.1:80'],\n"
				"              health: {path: /, body: '('}}}\n");
	write_file("none.yaml", "status: {socket: status, token_file: none}\n"
				"listeners: [{bind: 'unix:web'}]\n"
				"pools: {app: {backends: ['10.0.0.1:80']}}\n");
}

static void end(void)
{
	char command[80];
	snprintf(command, sizeof(command), "rm -r %s", folder);
	cr_assert_eq(system(command), 0);
}

TestSuite(options, .init = begin, .fini = end, .timeout = 300);

static void read_file(const char *name, struct str *out)
{
	char text[65536];
	FILE *in = fopen(name, "r");
	cr_assert_not_null(in);
	for (size_t n; (n = fread(text, 1, sizeof(text), in)) > 0;)
		str_view(out, view_of(text, n));
	fclose(in);
}

/* "weir ARGS..."; what it ends with. */
static int run(const char *args, struct str *out, struct str *err)
{
	int status;
	fflush(NULL);
	pid_t pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0) {
		char line[500], *argv[32], *rest = line;
		int n = 0;
		snprintf(line, sizeof(line), "weir %s", args);
		while (n < 31 && (argv[n] = strsep(&rest, " ")))
			n += *argv[n] != '\0';
		argv[n] = NULL;
		if (!freopen("out", "w", stdout) || !freopen("err", "w", stderr))
			abort();
		exit(boot_main(n, argv));
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status), "%s: %x", args, status);
	read_file("out", out);
	read_file("err", err);
	return WEXITSTATUS(status);
}

static bool says(const struct str *text, const char *what)
{
	return what ? text->len && strstr(text->ptr, what) : text->len == 0;
}

Test(options, what_is_said_and_what_it_ends_with)
{
	static const struct {
		const char *args;
		int code;
		const char *out, *err; /* a part of it; NULL: nothing, no error */
	} rows[] = {
	    {"--help", 0, "usage: weir [-c FILE]", NULL},
	    {"-h", 0, "see weir(8)", NULL},
	    {"--version", 0, "weir 0.", NULL},
	    {"-v", 0, "weir 0.", NULL},
	    {"-V", 0, "\nlibev 4.", NULL},
	    {"-v --none", 0, "weir 0.", NULL},
	    {"--schema", 0, "\"$schema\"", NULL},
	    {"--none", 2, NULL, "bad command line\ntry 'weir --help'"},
	    {"-c", 2, NULL, "bad command line"},
	    {"word", 2, NULL, "unexpected argument: word"},
	    {"-c good.yaml --listen :1 --backend :2", 2, NULL, "-c does not go with --listen"},
	    {"--balance auto", 2, NULL, "--listen"},
	    {"init a b", 2, NULL, "weir init takes one file: b"},
	    {"-c a init b", 2, NULL, "weir init takes one file: b"},
	    {"-t init", 2, NULL, "weir init takes a file and nothing else"},
	    {"--listen :1 init", 2, NULL, "weir init takes a file and nothing else"},
	    {"--backend :1 init", 2, NULL, "weir init takes a file and nothing else"},
	    {"-t -c good.yaml", 0, "good.yaml: configuration is ok\n", NULL},
	    {"-t -cgood.yaml", 0, "good.yaml: configuration is ok\n", NULL},
	    {"-t -c bad.yaml", 1, NULL, "bad.yaml:1:14: error: unknown key 'bond'"},
	    {"-t -c regex.yaml", 1, NULL, "regex.yaml: error: "},
	    {"-t -c body.yaml", 1, NULL, "pool app: health.body: "},
	    {"-t -c none.yaml", 1, NULL, "status.token_file: "},
	    {"-c bad.yaml", 1, NULL, "bad.yaml:1:14: error: unknown key 'bond'"},
	    {"-t -c nothing.yaml", 1, NULL, "weir --listen :8080 --backend :3000"},
	    {"-T -c good.yaml", 0, "10.0.0.1:80", NULL},
	    {"-T -c none.yaml", 0, "/none\n", NULL},
	    {"-T --listen :81 --backend :82", 0, "0.0.0.0:81", NULL},
	    {"-T --listen 81 --backend :82", 0, "0.0.0.0:81", NULL},
	    {"-T --listen :81 --backend :82", 0, "127.0.0.1:82", NULL},
	    {"-T --listen localhost:81 --backend 82", 0, "127.0.0.1:81", NULL},
	    {"-T --listen unix:web --backend [::1]:82", 0, "[::1]:82", NULL},
	    {"-T --listen :81 --backend :82 --backend :83", 0, "127.0.0.1:83", NULL},
	    {"-T --listen :81 --listen :84 --backend :82", 0, "0.0.0.0:84", NULL},
	    {"-T --listen :81 --backend :82 --balance maglev", 0, "balance: maglev", NULL},
	    {"-T --listen :81 --backend :82 --status-bind 127.0.0.1:85", 0, "127.0.0.1:85", NULL},
	    {"-T --listen :81 --backend :82 --status-socket stat", 0, "/stat\n", NULL},
	    {"-t --listen nowhere --backend :82", 1, NULL, "nowhere"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str out = STR_INIT, err = STR_INIT;
		int code = run(rows[i].args, &out, &err);
		cr_expect_eq(code, rows[i].code, "weir %s: %d", rows[i].args, code);
		cr_expect(says(&out, rows[i].out), "weir %s says %.1000s", rows[i].args, out.ptr);
		cr_expect(rows[i].err ? says(&err, rows[i].err) : !says(&err, "error"),
			  "weir %s complains %s", rows[i].args, err.ptr);
		str_fini(&out);
		str_fini(&err);
	}
}
