/* SPDX-License-Identifier: MIT */
/* The server of the API: connections, its socket, many clients at once. */
#include <sys/resource.h>
#include <sys/stat.h>

#include "admin/places.h"
#include "served.h"

TestSuite(admin_server, .init = setup, .fini = teardown);

Test(admin_server, keeps_connections_and_answers_in_order)
{
	struct str in = STR_INIT;
	start("");
	int fd = dial_unix();
	for (int i = 0; i < 5; i++)
		cr_assert_eq(get_once(fd, GET("/v1/status")), 200);
	say(fd, GET("/livez") GET("/none") GET("/v1/connections") GET("/metrics"));
	cr_assert_eq(status_of_next(fd, &in), 200);
	cr_assert_eq(status_of_next(fd, &in), 404);
	cr_assert_eq(status_of_next(fd, &in), 200);
	cr_assert_eq(status_of_next(fd, &in), 200);
	cr_assert_eq(in.len, 0);
	close(fd);
	str_fini(&in);
}

Test(admin_server, the_socket_has_its_mode)
{
	struct stat st;
	start(", mode: '0600'");
	struct addr addr = unix_at("a.sock");
	cr_assert_eq(stat(addr.un.sun_path, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0600);
	struct conf *next = load_at("a.sock", ", mode: '0666'");
	struct str why = STR_INIT;
	cr_assert_eq(admin_prepare(admin, next, &why), ERR_OK);
	admin_commit(admin);
	cr_assert_eq(stat(addr.un.sun_path, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0666);
	conf_free(next);
}

Test(admin_server, a_socket_in_use_is_refused)
{
	struct str why = STR_INIT;
	start("");
	cr_assert(!admin_new(&f.loop, conf, &f.host, &why));
	cr_assert(strstr(why.ptr, "it is in use"), "%s", why.ptr);
	int fd = dial_unix();
	cr_assert_eq(get_once(fd, GET("/livez")), 200, "the first one goes on");
	close(fd);
	str_fini(&why);
}

Test(admin_server, the_directory_is_made)
{
	struct str why = STR_INIT;
	char path[100];
	conf = load_at("sub/a.sock", "");
	admin = admin_new(&f.loop, conf, &f.host, &why);
	cr_assert(admin && exists("sub/a.sock"));
	admin_free(admin);
	admin = NULL;
	snprintf(path, sizeof(path), "%s/sub", dir);
	cr_assert_eq(rmdir(path), 0);
}

Test(admin_server, a_large_answer_goes_to_a_slow_reader)
{
	struct str yaml = STR_INIT, in = STR_INIT;
	struct reply r;
	str_text(&yaml, "listeners: [{bind: '127.0.0.1:1'}]\npools:\n  app:\n    backends:\n");
	for (int i = 0; i < 1000; i++)
		str_printf(&yaml, "      - 10.0.%d.%d:80\n", i / 250, i % 250);
	fixture_fini(&f);
	fixture_init(&f, yaml.ptr);
	start("");
	int fd = dial_unix();
	say(fd, GET("/v1/pools") GET("/livez"));
	size_t n = 0;
	while (!reply_take(&in, false, &r)) {
		cr_assert(n++ < 100000 && hear(fd, &in, 7777));
	}
	cr_assert(r.body.len > 2000000);
	cr_assert_eq(json_size(&r.body, "pools.0.backends"), 1000);
	reply_fini(&r);
	cr_assert_eq(status_of_next(fd, &in), 200);
	close(fd);
	str_fini(&in);
	str_fini(&yaml);
}

Test(admin_server, clients_may_leave_at_any_moment)
{
	static const char *const texts[] = {
	    "",
	    "GET /",
	    GET("/v1/pools"),
	    GET("/v1/connections"),
	    "POST /v1/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{",
	    "nonsense\r\n\r\n",
	};
	start("");
	f.defer = true;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		int fd = dial_unix();
		say(fd, texts[i]);
		close(fd);
		turn();
		if (f.done)
			fixture_release(&f);
		turn();
	}
	f.defer = false;
	int fd = dial_unix();
	cr_assert_eq(get_once(fd, GET("/livez")), 200);
	close(fd);
}

Test(admin_server, idle_connections_make_room)
{
	int fds[100];
	start("");
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		fds[i] = dial_unix();
		cr_assert_eq(get_once(fds[i], GET("/v1/status")), 200);
	}
	char byte;
	cr_assert_eq(recv(fds[0], &byte, 1, MSG_DONTWAIT), 0, "the oldest has left");
	cr_assert_eq(get_once(fds[99], GET("/v1/status")), 200);
	cr_assert_eq(count_open(fds, ARRAY_LEN(fds)), UNIX_PLACES);
}

/* Connects and asks, before the server has had a turn. */
static int ask_ahead(const char *request)
{
	struct addr addr = unix_at("a.sock");
	int fd;
	bool done;
	cr_assert_eq(socket_connect(&addr, &fd, &done), ERR_OK);
	cr_assert_eq(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
	return fd;
}

/* Readers come all at once; a probe among them is answered, wherever it stands. */
Test(admin_server, a_crowd_of_readers_keeps_no_probe_out)
{
	static const char *const probes[] = {GET("/metrics"), GET("/readyz"), GET("/livez")};
	int fds[100];
	start("");
	for (size_t at = 0; at < ARRAY_LEN(fds); at += 9) {
		for (size_t i = 0; i < ARRAY_LEN(fds); i++)
			fds[i] = ask_ahead(i == at ? probes[at % 3] : GET("/v1/status"));
		struct str in = STR_INIT;
		cr_assert_eq(status_of_next(fds[at], &in), 200, "%zu", at);
		str_fini(&in);
		for (size_t i = 0; i < ARRAY_LEN(fds); i++)
			close(fds[i]);
		for (int i = 0; i < 300; i++)
			turn();
	}
}

/* All descriptors but those in use are taken; the number that were. */
static int exhaust_fds(int *fds, int most)
{
	int n = 0;
	while (n < most && (fds[n] = dup(0)) >= 0)
		n++;
	cr_assert(n < most && errno == EMFILE);
	return n;
}

Test(admin_server, serves_one_client_without_descriptors)
{
	static int fds[1024];
	struct addr addr = unix_at("a.sock");
	start("");
	int first = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	int second = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct rlimit limit = {.rlim_cur = 256, .rlim_max = 256};
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	int n = exhaust_fds(fds, (int)ARRAY_LEN(fds));
	cr_assert_eq(connect(first, &addr.sa, addr.len), 0);
	cr_assert_eq(connect(second, &addr.sa, addr.len), 0);
	turn();
	cr_assert_eq(get_once(first, GET("/v1/status")), 200);
	cr_assert_eq(get_once(second, GET("/v1/status")), 0, "it has to wait");
	cr_assert_eq(get_once(first, GET("/v1/status")), 200);
	for (int i = 0; i < n; i++)
		close(fds[i]);
	close(first);
	pass(1);
	struct str in = STR_INIT;
	cr_assert_eq(status_of_next(second, &in), 200);
	close(second);
	str_fini(&in);
}
