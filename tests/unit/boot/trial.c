/* SPDX-License-Identifier: MIT */
/* What weir -t tries beyond the words of a file: files, directories, ports, as they are found. */
#include "boot/trial.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "weir/base/defs.h"
#include "weir/base/file.h"

static char folder[] = "/tmp/weir-trial-XXXXXX";

/* $D is the folder. */
static void with_folder(struct str *out, const char *text)
{
	for (const char *at; (at = strstr(text, "$D")); text = at + 2) {
		str_view(out, view_of(text, (size_t)(at - text)));
		str_text(out, folder);
	}
	str_text(out, text);
}

static void make_file(const char *name, const char *text)
{
	char path[80];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *out = fopen(path, "w");
	cr_assert(out && fputs(text, out) >= 0 && fclose(out) == 0);
	cr_assert_eq(chmod(path, 0600), 0);
}

static void begin(void)
{
	char path[80];
	cr_assert(mkdtemp(folder) != NULL);
	make_file("there", "secret-of-some-length\n");
	make_file("bad.members", "- {address: 10.0.0.1}\n");
	make_file("good.members", "- {address: '10.0.0.1:80'}\n");
	make_file("headers", "X-Key: a\n");
	make_file("bad.headers", "X Key a\n");
	snprintf(path, sizeof(path), "%s/directory", folder);
	cr_assert_eq(mkdir(path, 0700), 0);
}

static void end(void)
{
	char command[80];
	snprintf(command, sizeof(command), "rm -r %s", folder);
	cr_assert_eq(system(command), 0);
}

TestSuite(trial, .init = begin, .fini = end);

/* What it says goes into `said`; whether all is well. */
static bool try(const char *yaml, struct str *said)
{
	struct str text = STR_INIT, path = STR_INIT, why = STR_INIT;
	struct conf_diags diags;
	with_folder(&text, yaml);
	make_file("weir.yaml", text.ptr);
	str_printf(&path, "%s/weir.yaml", folder);
	conf_diags_init(&diags);
	struct conf *conf = conf_load_text(str_as_view(&text), path.ptr, &diags);
	conf_diags_format(&diags, &why, false);
	cr_assert(conf != NULL, "%s: %s", text.ptr, why.ptr);
	int plain = dup(STDERR_FILENO);
	FILE *file = tmpfile();
	fflush(stderr);
	dup2(fileno(file), STDERR_FILENO);
	bool ok = trial(conf);
	fflush(stderr);
	dup2(plain, STDERR_FILENO);
	close(plain);
	rewind(file);
	for (int c; (c = getc(file)) != EOF;)
		str_char(said, (char)c);
	fclose(file);
	conf_free(conf);
	conf_diags_fini(&diags);
	str_fini(&text);
	str_fini(&path);
	str_fini(&why);
	return ok;
}

#define WEB "listeners: [{bind: 'unix:$D/web'}]\n"
#define APP "pools: {app: {backends: ['10.0.0.1:80']}}\n"
#define STATUS "status: {socket: $D/status}\n"
#define BASE STATUS WEB APP
#define TLS(what) STATUS APP "listeners: [{bind: 'unix:$D/web', tls: {" what "}}]\n"
#define PAIR "{cert: $D/there, key: $D/there}"
#define POOL(what) STATUS WEB "pools: {app: {backends: ['10.0.0.1:80'], " what "}}\n"
#define SOURCE(what) STATUS WEB "pools: {app: {discover: {" what "}}}\n"
#define ROUTE(what) BASE "routes: [{pool: app, " what "}]\n"
#define REDIS(what) BASE "shared: {redis: {address: '127.0.0.1:6379', " what "}}\n"
#define TRACING(what) BASE "tracing: {endpoint: 'http://127.0.0.1:4318/v1/traces', " what "}\n"
#define ACME(what) BASE "acme: {agree: true, state: $D/state" what "}\n"
#define ETCD(what) SOURCE("etcd: {endpoints: ['https://127.0.0.1:2379'], prefix: /a/, " what "}")
#define CONSUL(what) SOURCE("consul: {address: 'https://127.0.0.1:8501', service: a, " what "}")
#define NONE " cannot read $D/none, now or at a reload: No such file or directory\n"

struct row {
	const char *yaml;
	const char *begins, *ends; /* NULL: nothing is said */
	bool error;
};

static void expect(const struct row *row)
{
	struct str said = STR_INIT, begins = STR_INIT, ends = STR_INIT;
	bool ok = try(row->yaml, &said);
	struct view text = str_as_view(&said);
	if (row->begins) {
		with_folder(&begins,
			    row->error ? "$D/weir.yaml: error: " : "$D/weir.yaml: warning: ");
		with_folder(&begins, row->begins);
		with_folder(&ends, row->ends);
		cr_expect(view_starts(text, str_as_view(&begins)) &&
			      view_ends(text, str_as_view(&ends)) &&
			      view_chr(text, '\n') == (ptrdiff_t)text.len - 1,
			  "%s: %s", row->yaml, said.ptr);
	} else {
		cr_expect_eq(text.len, 0, "%s: %s", row->yaml, said.ptr);
	}
	cr_expect_eq(ok, !row->error, "%s", row->yaml);
	str_fini(&said);
	str_fini(&begins);
	str_fini(&ends);
}

Test(trial, files_that_are_read)
{
	static const struct row rows[] = {
	    {BASE, NULL, NULL, false},
	    {"status: {socket: $D/status, token_file: $D/none}\n" WEB APP,
	     "status.token_file: ", NONE, true},
	    {"status: {socket: $D/status, token_file: $D/there}\n" WEB APP, NULL, NULL, false},
	    {TLS("certificates: [{cert: $D/none, key: $D/there}]"), "cert: ", NONE, true},
	    {TLS("certificates: [{cert: $D/there, key: $D/none}]"), "key: ", NONE, true},
	    {TLS("certificates: [{cert: $D/there, key: $D/there, ocsp: $D/none}]"), "ocsp: ", NONE,
	     true},
	    {TLS("certificates: [{cert: $D/directory, key: $D/there}]"),
	     "cert: ", " cannot read $D/directory, now or at a reload: Is a directory\n", true},
	    {TLS("certificates: [{directory: $D/none}]"), "directory: ", NONE, true},
	    {TLS("certificates: [{directory: $D/directory}]"), NULL, NULL, false},
	    {TLS("certificates: [" PAIR "], client_auth: required, client_ca: $D/none"),
	     "client_ca: ", NONE, true},
	    {TLS("certificates: [" PAIR
		 "], client_auth: required, client_ca: $D/there, client_crl: $D/none"),
	     "client_crl: ", NONE, true},
	    {TLS("certificates: [" PAIR "], ticket_key_file: $D/none"), "ticket_key_file: ", NONE,
	     true},
	    {POOL("tls: {ca: $D/none}"), "tls.ca: ", NONE, true},
	    {POOL("tls: {cert: $D/none, key: $D/there}"), "tls.cert: ", NONE, true},
	    {POOL("tls: {cert: $D/there, key: $D/none}"), "tls.key: ", NONE, true},
	    {SOURCE("file: $D/good.members"), NULL, NULL, false},
	    {SOURCE("file: $D/none"), "discover.file: $D/none cannot be read now: ", "\n", false},
	    {SOURCE("file: $D/bad.members"), "discover.file: $D/bad.members:1:", "\n", true},
	    {ETCD("ca: $D/none"), "discover.etcd.ca: ", NONE, true},
	    {ETCD("cert: $D/none, key: $D/there"), "discover.etcd.cert: ", NONE, true},
	    {ETCD("cert: $D/there, key: $D/none"), "discover.etcd.key: ", NONE, true},
	    {ETCD("username: a, password_file: $D/none"), "discover.etcd.password_file: ", NONE,
	     true},
	    {CONSUL("ca: $D/none"), "discover.consul.ca: ", NONE, true},
	    {CONSUL("cert: $D/none, key: $D/there"), "discover.consul.cert: ", NONE, true},
	    {CONSUL("cert: $D/there, key: $D/none"), "discover.consul.key: ", NONE, true},
	    {CONSUL("token_file: $D/none"), "discover.consul.token_file: ", NONE, true},
	    {ROUTE("auth: {basic: {file: $D/none}}"), "auth.basic.file: ", NONE, true},
	    {TRACING("ca: $D/none"), "tracing.ca: ", NONE, true},
	    {TRACING("headers_file: $D/none"), "tracing.headers_file: ", NONE, true},
	    {TRACING("headers_file: $D/headers"), NULL, NULL, false},
	    {TRACING("headers_file: $D/bad.headers"),
	     "tracing.headers_file: ", "line 1 is no header field\n", true},
	    {REDIS("password_file: $D/none"), "shared.redis.password_file: ", NONE, true},
	    {REDIS("tls: {ca: $D/none}"), "shared.redis.tls.ca: ", NONE, true},
	    {REDIS("tls: {cert: $D/none, key: $D/there}"), "shared.redis.tls.cert: ", NONE, true},
	    {REDIS("tls: {cert: $D/there, key: $D/none}"), "shared.redis.tls.key: ", NONE, true},
	    {ACME(""), NULL, NULL, false},
	    {ACME(", ca: $D/none"), "acme.ca: ", NONE, true},
	    {ACME(", eab: {kid: a, key_file: $D/none}"), "acme.eab.key_file: ", NONE, true},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		expect(&rows[i]);
}

Test(trial, files_that_are_made)
{
	static const struct row rows[] = {
	    {"status: {socket: $D/new/status}\n" WEB APP, NULL, NULL, false},
	    {"status: {socket: $D/new/new/status}\n" WEB APP,
	     "status.socket: ", " cannot make $D/new/new: No such file or directory\n", true},
	    {"status: {socket: $D/there/status}\n" WEB APP,
	     "status.socket: ", " cannot make $D/there/status: Not a directory\n", true},
	    {STATUS APP "listeners: [{bind: 'unix:$D/new/web'}]\n",
	     "bind: ", " cannot make $D/new/web: No such file or directory\n", true},
	    {"status: {socket: $D/new/status}\n" APP "listeners: [{bind: 'unix:$D/new/web'}]\n",
	     NULL, NULL, false},
	    {BASE "log: {access: {path: $D/log}}\n", NULL, NULL, false},
	    {BASE "log: {access: {path: stdout}}\n", NULL, NULL, false},
	    {BASE "log: {access: {path: $D/there}}\n", NULL, NULL, false},
	    {BASE "log: {access: {path: $D/new/log}}\n",
	     "log.access.path: ", " cannot make $D/new/log: No such file or directory\n", true},
	    {BASE "log: {access: {path: $D/directory}}\n",
	     "log.access.path: ", " cannot write to $D/directory: Is a directory\n", true},
	    {BASE "state: {directory: $D/directory}\n", NULL, NULL, false},
	    {BASE "state: {directory: $D/new}\n", NULL, NULL, false},
	    {BASE "state: {directory: $D/new/new}\n",
	     "state.directory: ", " cannot make $D/new/new: No such file or directory\n", true},
	    {BASE "state: {directory: $D/there}\n",
	     "state.directory: ", " cannot write to $D/there: Not a directory\n", true},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		expect(&rows[i]);
	struct stat st;
	char path[80];
	snprintf(path, sizeof(path), "%s/log", folder);
	cr_expect(stat(path, &st) != 0, "it makes nothing");
}

Test(trial, addresses)
{
	static const struct row rows[] = {
	    {BASE, "bind: nobody can listen on unix:$D/web now: ", "\n", false},
	    {STATUS APP "listeners: [{bind: '192.0.2.1:80'}]\n",
	     "bind: this machine cannot listen on 192.0.2.1:80: ",
	     "Cannot assign requested address\n", false},
	    {"status: {socket: $D/web}\n" APP "listeners: [{bind: 'unix:$D/other'}]\n",
	     "status.socket: nobody can listen on unix:$D/web now: ", "\n", false},
	    {"status: {socket: $D/status, bind: 'unix:$D/web'}\n" APP
	     "listeners: [{bind: 'unix:$D/other'}]\n",
	     "status.bind: nobody can listen on unix:$D/web now: ", "\n", false},
	};
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/web", folder);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert(bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 && listen(fd, 1) == 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		expect(&rows[i]);
	close(fd);
}
