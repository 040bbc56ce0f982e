/* SPDX-License-Identifier: MIT */
/*
 * What a file means: typed values, defaults, and that a dump loads to the same.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "loaded.h"

Test(conf_load, four_lines_are_enough)
{
	struct conf *conf = load("listeners:\n"
				 "  - bind: 0.0.0.0:8080\n"
				 "pools:\n"
				 "  app: {backends: [127.0.0.1:9001, 127.0.0.1:9002]}\n");
	cpu_set_t set;
	sched_getaffinity(0, sizeof(set), &set);
	cr_assert_eq(conf->workers, (unsigned)CPU_COUNT(&set));
	cr_assert_eq(conf->shutdown_timeout_us, 30000000);
	cr_assert(says(conf->path, "/etc/weir/weir.yaml"));
	cr_assert(says(conf->user, ""));
	cr_assert_eq(conf->status.mode, 0660);
	cr_assert_eq(conf->status.bind.len, 0);
	cr_assert_eq(conf->log.level, LOG_LEVEL_INFO);
	cr_assert(says(conf->log.access.path, "off"));
	cr_assert_eq(conf->log.access.format, CONF_LOG_JSON);
	cr_assert(conf->log.access.sample > 0.999);
	cr_assert_eq(conf->n_listeners, 1);
	const struct conf_listener *l = &conf->listeners[0];
	cr_assert(says(l->name, "0.0.0.0:8080"));
	cr_assert_eq(addr_port(&l->binds[0]), 8080);
	cr_assert_eq(l->timeouts.header_us, 10000000);
	cr_assert_eq(l->timeouts.body_idle_us, 30000000);
	cr_assert_eq(l->timeouts.write_idle_us, 30000000);
	cr_assert_eq(l->timeouts.keepalive_us, 75000000);
	cr_assert_eq(l->limits.connections, 50000);
	cr_assert_eq(l->limits.header_bytes, 32768);
	cr_assert_eq(l->limits.header_count, 100);
	cr_assert_eq(l->limits.line_bytes, 8192);
	cr_assert_eq(l->limits.body_bytes, 0);
	conf_free(conf);
}

Test(conf_load, pools_have_defaults)
{
	struct conf *conf = load(BASE);
	cr_assert_eq(conf->n_pools, 1);
	const struct conf_pool *p = &conf->pools[0];
	cr_assert(says(p->name, "app"));
	cr_assert(says(p->balance, "auto"));
	cr_assert_eq(p->n_backends, 1);
	cr_assert(says(p->backends[0].name, "10.0.0.1:80"));
	cr_assert_eq(p->backends[0].weight, 1);
	cr_assert_eq(p->backends[0].priority, 0);
	cr_assert_eq(p->limits.requests, 0);
	cr_assert(p->queue.on);
	cr_assert_eq(p->queue.length, 1024);
	cr_assert_eq(p->queue.timeout_us, 1000000);
	cr_assert(p->retry.on);
	cr_assert_eq(p->retry.attempts, 1);
	cr_assert_eq(p->retry.on_what,
		     CONF_RETRY_CONNECT | CONF_RETRY_RESET | CONF_RETRY_REFUSED_STREAM);
	cr_assert(p->retry.budget > 0.199 && p->retry.budget < 0.201);
	cr_assert_eq(p->retry.buffer, 65536);
	cr_assert_eq(p->timeouts.connect_us, 3000000);
	cr_assert_eq(p->timeouts.response_us, 30000000);
	cr_assert_eq(p->timeouts.idle_us, 60000000);
	cr_assert_eq(p->keepalive.idle_us, 30000000);
	cr_assert_eq(p->keepalive.max_idle, 128);
	cr_assert_eq(p->keepalive.requests, 0);
	cr_assert_eq(conf->n_routes, 1);
	cr_assert(says(conf->routes[0].name, "default"));
	cr_assert_eq(conf->routes[0].action, CONF_ACTION_POOL);
	cr_assert_eq(conf->routes[0].pool, 0);
	conf_free(conf);
}

Test(conf_load, process_keys)
{
	struct conf *conf =
	    load(BASE "workers: 3\n"
		      "user: www-data\n"
		      "shutdown_timeout: 0\n"
		      "status: {socket: s/weir.sock, mode: \"0600\", bind: \"[::1]:8404\", "
		      "token_file: ../token}\n"
		      "log: {level: warn, access: {path: access.log, format: haproxy, "
		      "sample: 0.25, errors_only: true}}\n");
	cr_assert_eq(conf->workers, 3);
	cr_assert(says(conf->user, "www-data"));
	cr_assert_eq(conf->shutdown_timeout_us, 0);
	cr_assert(says(conf->status.socket, "/etc/weir/s/weir.sock"));
	cr_assert_eq(conf->status.mode, 0600);
	cr_assert(says(conf->status.bind_text, "[::1]:8404"));
	cr_assert_eq(addr_port(&conf->status.bind), 8404);
	cr_assert(says(conf->status.token_file, "/etc/weir/../token"));
	cr_assert_eq(conf->log.level, LOG_LEVEL_WARN);
	cr_assert(says(conf->log.access.path, "/etc/weir/access.log"));
	cr_assert_eq(conf->log.access.format, CONF_LOG_HAPROXY);
	cr_assert(conf->log.access.sample == 0.25);
	cr_assert(conf->log.access.errors_only);
	conf_free(conf);
}

Test(conf_load, listeners)
{
	struct conf *conf =
	    load("pools: {app: {backends: [10.0.0.1:80]}}\n"
		 "listeners:\n"
		 "  - bind: [\"*:80\", \"unix:web.sock\"]\n"
		 "    trusted_proxies: [10.1.2.3/8, \"fd00::/8\", 192.0.2.7]\n"
		 "    timeouts: {header: 1ms, body_idle: 2m, write_idle: 1h, keepalive: 1d}\n"
		 "    limits: {connections: 0, header_bytes: 48KiB, header_count: 256, "
		 "line_bytes: 512B, body_bytes: 1GiB}\n"
		 "  - {name: any, bind: 127.0.0.1:0}\n"
		 "  - {name: other, bind: 127.0.0.1:0}\n");
	cr_assert_eq(conf->n_listeners, 3);
	const struct conf_listener *l = &conf->listeners[0];
	cr_assert_eq(l->n_binds, 2);
	cr_assert(says(l->name, "*:80"));
	cr_assert(addr_is_unix(&l->binds[1]));
	cr_assert_str_eq(l->binds[1].un.sun_path, "/etc/weir/web.sock");
	cr_assert_eq(l->trusted_proxies.n, 3);
	cr_assert_eq(l->trusted_proxies.rows[0].bits, 104);
	cr_assert_eq(l->trusted_proxies.rows[2].bits, 128);
	cr_assert_eq(l->timeouts.header_us, 1000);
	cr_assert_eq(l->timeouts.keepalive_us, 86400000000);
	cr_assert_eq(l->limits.connections, 0);
	cr_assert_eq(l->limits.line_bytes, 512);
	cr_assert_eq(l->limits.body_bytes, (uint64_t)1 << 30);
	cr_assert(says(conf->listeners[1].name, "any"));
	expect_stable(conf, "listeners");
}

Test(conf_load, routes)
{
	struct conf *conf = load(
	    BASE
	    "routes:\n"
	    "  - match: {host: a.example, path: /v1, method: [GET, POST], header: {X-A: \"*\"}, "
	    "query: {b: 1}, client: 10.0.0.0/8}\n"
	    "    pool: app\n"
	    "    rewrite: {path_regex: \"^/v1(.*)$\", path: $1, host: \"b.internal:81\"}\n"
	    "    request_headers: {set: {A: b}, add: {C: \"\"}, remove: D}\n"
	    "    response_headers: {remove: [Server]}\n"
	    "    timeouts: {response: 5s, total: 0}\n"
	    "  - {name: s, match: {path_regex: x}, split: {app: 7}}\n"
	    "  - {match: {path_exact: /old}, redirect: {to: \"https://{host}{uri}\"}}\n"
	    "  - {match: {path_exact: /x}, respond: {body: \"ok\\n\\0\", status: 503}}\n");
	cr_assert_eq(conf->n_routes, 4);
	const struct conf_route *r = conf->routes;
	cr_assert(says(r[0].name, "route-1") && says(r[1].name, "s") && says(r[2].name, "route-3"));
	cr_assert(says(r[0].match.host.rows[0], "a.example"));
	cr_assert(says(r[0].match.path, "/v1"));
	cr_assert_null(r[0].match.path_exact.ptr);
	cr_assert_eq(r[0].match.method.n, 2);
	cr_assert(says(r[0].match.header.rows[0].value, "*"));
	cr_assert(says(r[0].match.query.rows[0].value, "1"));
	cr_assert_eq(r[0].match.client.n, 1);
	cr_assert(says(r[0].rewrite.path.text, "$1"));
	cr_assert(says(r[0].rewrite.host.text, "b.internal:81"));
	cr_assert(says(r[0].request_headers.set.rows[0].name, "A"));
	cr_assert_eq(r[0].request_headers.add.rows[0].value.len, 0);
	cr_assert(says(r[0].request_headers.remove.rows[0], "D"));
	cr_assert(says(r[0].response_headers.remove.rows[0], "Server"));
	cr_assert(r[0].timeouts.response_set && r[0].timeouts.response_us == 5000000);
	cr_assert(!r[0].timeouts.idle_set);
	cr_assert(r[0].timeouts.total_set && r[0].timeouts.total_us == 0);
	cr_assert_eq(r[1].action, CONF_ACTION_SPLIT);
	cr_assert_eq(r[1].index, 1);
	cr_assert(r[1].n_split == 1 && r[1].split[0].pool == 0 && r[1].split[0].share == 7);
	cr_assert_eq(r[2].action, CONF_ACTION_REDIRECT);
	cr_assert_eq(r[2].redirect.status, 308);
	cr_assert_eq(r[3].action, CONF_ACTION_RESPOND);
	cr_assert_eq(r[3].respond.status, 503);
	cr_assert_eq(r[3].respond.body.text.len, 4);
	cr_assert(says(r[3].respond.content_type, "text/plain"));
	expect_stable(conf, "routes");
}

Test(conf_load, pools)
{
	struct conf *conf =
	    load("routes:\n"
		 "  - {match: {path: /b}, pool: b}\n"
		 "  - {pool: a}\n"
		 "listeners: [{bind: 0.0.0.0:80}]\n"
		 "pools:\n"
		 "  a:\n"
		 "    balance: leastconn\n"
		 "    backends:\n"
		 "      - unix:app.sock\n"
		 "      - {address: \"[::1]:81\", name: two, weight: 65535, max_requests: 9, "
		 "priority: 255}\n"
		 "    protocol: http1\n"
		 "    send_proxy: off\n"
		 "    outlier: off\n"
		 "    slow_start: 10s\n"
		 "    overprovision: 120%\n"
		 "    panic: 0%\n"
		 "    limits: {requests: 5, connections: 6}\n"
		 "    queue: {length: 7, timeout: 8ms}\n"
		 "    retry: {attempts: 2, on: [reset], budget: 12.5%, buffer: 0}\n"
		 "    timeouts: {connect: 1ms, response: 2ms, idle: 3ms}\n"
		 "    keepalive: {idle: 4ms, max_idle: 0, requests: 10}\n"
		 "  b: {backends: [10.0.0.1:80], queue: off, retry: off}\n");
	const struct conf_pool *a = &conf->pools[0], *b = &conf->pools[1];
	cr_assert_eq(conf->routes[0].pool, 1);
	cr_assert_eq(conf->routes[1].pool, 0);
	cr_assert(says(a->balance, "least-request"));
	cr_assert_eq(a->slow_start_us, 10000000);
	cr_assert_float_eq(a->overprovision, 1.2, 1e-9);
	cr_assert_eq(a->panic, 0);
	cr_assert_float_eq(b->overprovision, 1.4, 1e-9);
	cr_assert_float_eq(b->panic, 0.5, 1e-9);
	cr_assert_str_eq(a->backends[0].address.un.sun_path, "/etc/weir/app.sock");
	cr_assert(says(a->backends[1].name, "two"));
	cr_assert_eq(a->backends[1].weight, 65535);
	cr_assert_eq(a->backends[1].max_requests, 9);
	cr_assert_eq(a->backends[1].priority, 255);
	cr_assert_eq(a->limits.requests, 5);
	cr_assert_eq(a->limits.connections, 6);
	cr_assert_eq(a->queue.length, 7);
	cr_assert_eq(a->queue.timeout_us, 8000);
	cr_assert_eq(a->retry.on_what, CONF_RETRY_RESET);
	cr_assert(a->retry.budget == 0.125);
	cr_assert_eq(a->retry.buffer, 0);
	cr_assert_eq(a->timeouts.idle_us, 3000);
	cr_assert_eq(a->keepalive.requests, 10);
	cr_assert(!b->queue.on && !b->retry.on);
	cr_assert_eq(b->index, 1);
	expect_stable(conf, "pools");
}

Test(conf_load, yaml_gives_texts_not_types)
{
	struct conf *conf = load("listeners: [{name: no, bind: 0.0.0.0:80}]\n"
				 "pools: {010: {backends: [{name: 1e3, address: 10.0.0.1:80}]}}\n"
				 "user: 0x10\n");
	cr_assert(says(conf->listeners[0].name, "no"));
	cr_assert(says(conf->pools[0].name, "010"));
	cr_assert(says(conf->pools[0].backends[0].name, "1e3"));
	cr_assert(says(conf->user, "0x10"));
	expect_stable(conf, "texts");
}

Test(conf_load, aliases_stand_for_what_they_name)
{
	struct conf *conf = load("listeners: [{bind: 0.0.0.0:80}]\n"
				 "pools:\n"
				 "  a: {backends: &b [10.0.0.1:80], queue: &q {length: 3}}\n"
				 "  b: {backends: *b, queue: *q}\n"
				 "routes: [{pool: a}]\n");
	cr_assert_eq(conf->pools[1].queue.length, 3);
	cr_assert(says(conf->pools[1].backends[0].name, "10.0.0.1:80"));
	expect_stable(conf, "aliases");
}

Test(conf_load, alias_bombs_are_refused)
{
	struct conf_diags diags;
	struct str yaml = STR_INIT;
	str_text(&yaml, "x0: &x0 [a, a, a, a, a, a, a, a, a, a]\n");
	for (int i = 1; i < 12; i++) {
		str_printf(&yaml, "x%d: &x%d [", i, i);
		for (int j = 0; j < 10; j++)
			str_printf(&yaml, "%s*x%d", j ? ", " : "", i - 1);
		str_text(&yaml, "]\n");
	}
	conf_diags_init(&diags);
	cr_assert_null(conf_load_text(str_as_view(&yaml), "bomb.yaml", &diags));
	cr_assert_eq(diags.n, 1);
	cr_assert_str_eq(diags.rows[0].message, "more than 1000000 values, aliases included");
	cr_assert_eq(diags.rows[0].line, 6);
	conf_diags_fini(&diags);
	str_fini(&yaml);
}

Test(conf_load, json_is_yaml_and_marks_and_crlf_are_fine)
{
	conf_free(load("{\"listeners\": [{\"bind\": \"0.0.0.0:80\"}],\n"
		       " \"pools\": {\"app\": {\"backends\": [\"10.0.0.1:80\"]}}}"));
	conf_free(load("\xef\xbb\xbf" BASE));
	conf_free(load("listeners: [{bind: 0.0.0.0:80}]\r\n"
		       "pools: {app: {backends: [10.0.0.1:80]}}\r\n"));
	conf_free(load("---\n" BASE "...\n"));
}

Test(conf_load, strange_texts_survive_a_dump)
{
	expect_stable(
	    load(BASE
		 "routes:\n"
		 "  - name: \"\\xe4 'quoted\\\" # no: comment\"\n"
		 "    match: {query: {\"\": \"\", \"a b\": \"\\n\\t\\0\\x9b\\u2028\", "
		 "\"*x\": \"&y\", \"true\": \"off\", \"- \": \"? \", \"1:30\": \"~\", "
		 "\"{\": \"}\", \"=\": \"%\", \"\\U0001F600\": \"\\uFEFF\"}}\n"
		 "    respond: {body: \"a\\r\\n b: [\\n\", content_type: \"a/b; c=\\\"d\\\"\"}\n"),
	    "strange texts");
}

Test(conf_load, many_routes_load_fast)
{
	struct str yaml = STR_INIT;
	struct timespec start, end;
	str_text(&yaml, "listeners: [{bind: 0.0.0.0:80}]\nroutes:\n");
	for (int i = 0; i < 10000; i++)
		str_printf(&yaml, "  - {name: r%d, match: {host: h%d.example}, pool: p%d}\n", i, i,
			   i % 1000);
	str_text(&yaml, "pools:\n");
	for (int i = 0; i < 1000; i++)
		str_printf(&yaml, "  p%d: {backends: [10.0.0.1:%d]}\n", i, i + 1);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
	struct conf *conf = load(yaml.ptr);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
	double s =
	    (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9;
	cr_assert_eq(conf->n_routes, 10000);
	cr_assert_eq(conf->routes[9999].pool, 999);
	/* it takes 0.1 s; anything quadratic takes many times this, even sanitized */
	cr_assert(s < 3, "%f s", s);
	conf_free(conf);
	str_fini(&yaml);
}

/* ---- the environment ---- */

Test(conf_load, socket_depends_on_who_runs)
{
	setenv("XDG_RUNTIME_DIR", "/run/user/1", 1);
	struct conf *conf = load(BASE);
	cr_assert(
	    says(conf->status.socket, geteuid() ? "/run/user/1/weir.sock" : "/run/weir/weir.sock"));
	conf_free(conf);
	if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0)
		return; /* a container that lets nobody be nobody */
	conf = load(BASE);
	cr_assert(says(conf->status.socket, "/run/user/1/weir.sock"));
	conf_free(conf);
	unsetenv("XDG_RUNTIME_DIR");
	conf = load(BASE);
	char expected[64];
	snprintf(expected, sizeof(expected), "/tmp/weir-%u/weir.sock", (unsigned)geteuid());
	cr_assert(says(conf->status.socket, expected));
	conf_free(conf);
}

Test(conf_load, relative_files_start_at_the_file)
{
	char cwd[4096], expected[4200];
	cr_assert(getcwd(cwd, sizeof(cwd)) != NULL);
	struct conf *conf = load_named(BASE "status: {token_file: t}\n", "sub/weir.yaml");
	snprintf(expected, sizeof(expected), "%s/sub/t", cwd);
	cr_assert(says(conf->status.token_file, expected));
	conf_free(conf);
	conf = load_named(BASE "status: {token_file: t}\n", "weir.yaml");
	snprintf(expected, sizeof(expected), "%s/t", cwd);
	cr_assert(says(conf->status.token_file, expected));
	conf_free(conf);
	conf = load_named(BASE "status: {token_file: t}\n", "/weir.yaml");
	cr_assert(says(conf->status.token_file, "/t"));
	conf_free(conf);
}

static void expect_unreadable(const char *path, const char *message)
{
	struct conf_diags diags;
	struct str text = STR_INIT;
	char expected[200];
	conf_diags_init(&diags);
	cr_assert_null(conf_load(path, &diags));
	conf_diags_format(&diags, &text, false);
	snprintf(expected, sizeof(expected), "%s: error: %s\n", path, message);
	cr_expect_str_eq(text.ptr, expected);
	str_fini(&text);
	conf_diags_fini(&diags);
}

Test(conf_load, files_that_cannot_be_read)
{
	expect_unreadable("/nonexistent/weir.yaml", "cannot be read: No such file or directory");
	expect_unreadable("/", "cannot be read: Is a directory");
	expect_unreadable("/dev/zero", "cannot be read: it is a device, not a file");
	char large[] = "/tmp/weir-large-XXXXXX";
	int fd = mkstemp(large);
	cr_assert(fd >= 0 && ftruncate(fd, (8 << 20) + 1) == 0);
	expect_unreadable(
	    large, "cannot be read: it is larger than 8388608 bytes, which it may have at most");
	unlink(large);
	close(fd);
}
