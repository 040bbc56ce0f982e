/* SPDX-License-Identifier: MIT */
/*
 * The API over real sockets: one thread runs the loop and is the client, so
 * nothing ever waits.  Deadlines come by turning the timer wheel on.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/places.h"
#include "fixture.h"

#include "weir/net/socket.h"

static struct fixture f;
static struct admin *admin;
static char dir[64];
static struct conf *conf;

static struct conf *load(const char *status)
{
	struct conf_diags diags;
	struct str text = STR_INIT;
	str_printf(&text,
		   "status: {%s}\nlisteners: [{bind: '127.0.0.1:1'}]\n"
		   "pools: {app: {backends: ['127.0.0.1:2']}}\n",
		   status);
	conf_diags_init(&diags);
	struct conf *loaded = conf_load_text(str_as_view(&text), "test", &diags);
	cr_assert(loaded, "%s", text.ptr);
	conf_diags_fini(&diags);
	str_fini(&text);
	return loaded;
}

/* "socket: DIR/name" and more. */
static struct conf *load_at(const char *name, const char *more)
{
	char status[512];
	snprintf(status, sizeof(status), "socket: %s/%s%s", dir, name, more);
	return load(status);
}

static struct addr unix_at(const char *name)
{
	char text[200];
	struct addr addr;
	snprintf(text, sizeof(text), "unix:%s/%s", dir, name);
	cr_assert(addr_parse(view_str(text), &addr));
	return addr;
}

static bool exists(const char *name)
{
	struct addr addr = unix_at(name);
	return access(addr.un.sun_path, F_OK) == 0;
}

static void start(const char *more)
{
	struct str why = STR_INIT;
	conf = load_at("a.sock", more);
	admin = admin_new(&f.loop, conf, &f.host, &why);
	cr_assert(admin, "%s", why.ptr);
	str_fini(&why);
}

static void setup(void)
{
	strcpy(dir, "/tmp/weir-admin-XXXXXX");
	cr_assert(mkdtemp(dir));
	fixture_init(&f, NULL);
}

static void teardown(void)
{
	admin_free(admin);
	conf_free(conf);
	cr_assert(!exists("a.sock"), "the socket file goes with the server");
	fixture_fini(&f);
	cr_assert_eq(rmdir(dir), 0, "nothing else is left");
}

TestSuite(admin_server, .init = setup, .fini = teardown);

/* ---- a client ---- */

static void turn(void)
{
	ev_run(f.loop.ev, EVRUN_NOWAIT);
}

/* Whatever deadline there is within these seconds comes now. */
static void pass(unsigned seconds)
{
	turn();
	timer_wheel_run(&f.loop.timers, f.loop.now_us + seconds * UINT64_C(1000000));
	turn();
}

static int dial(const struct addr *addr)
{
	int fd;
	bool done;
	cr_assert_eq(socket_connect(addr, &fd, &done), ERR_OK);
	turn();
	return fd;
}

static int dial_unix(void)
{
	struct addr addr = unix_at("a.sock");
	return dial(&addr);
}

static void say(int fd, const char *text)
{
	cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
	turn();
}

/* Reads what is there, running the loop; false at the end of the connection. */
static bool hear(int fd, struct str *in, size_t at_most)
{
	static char room[65536];
	turn();
	ssize_t n = recv(fd, room, at_most < sizeof(room) ? at_most : sizeof(room), MSG_DONTWAIT);
	if (n > 0)
		str_put(in, room, (size_t)n);
	return n > 0 || (n < 0 && errno == EAGAIN);
}

/* 0 when none comes. */
static unsigned status_of_next(int fd, struct str *in)
{
	struct reply r = {0};
	bool open = true;
	for (int i = 0; i < 2000; i++) {
		if (reply_take(in, false, &r)) {
			unsigned status = r.status;
			reply_fini(&r);
			return status;
		}
		if (!open)
			return 0;
		open = hear(fd, in, SIZE_MAX);
	}
	return 0;
}

static bool has_ended(int fd)
{
	struct str in = STR_INIT;
	bool open = true;
	for (int i = 0; open && i < 20; i++)
		open = hear(fd, &in, SIZE_MAX);
	str_fini(&in);
	return !open;
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: weir\r\n\r\n"

static unsigned get_once(int fd, const char *request)
{
	struct str in = STR_INIT;
	say(fd, request);
	unsigned status = status_of_next(fd, &in);
	str_fini(&in);
	return status;
}

/* ---- tests ---- */

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

/* How many of them are still open; closes all. */
static size_t count_open(const int *fds, size_t n)
{
	size_t n_open = 0;
	for (int i = 0; i < 3; i++)
		turn();
	for (size_t i = 0; i < n; i++) {
		char byte;
		n_open += recv(fds[i], &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
		close(fds[i]);
	}
	return n_open;
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

/* ---- deadlines: one a test, since the wheel cannot be turned back ---- */

Test(admin_server, the_first_request_has_to_come_within_10_s)
{
	start("");
	int fd = dial_unix();
	pass(9);
	cr_assert(!has_ended(fd));
	pass(11);
	cr_assert(has_ended(fd));
	close(fd);
}

Test(admin_server, a_head_has_to_be_complete_within_10_s)
{
	struct str in = STR_INIT;
	start("");
	int fd = dial_unix();
	cr_assert_eq(get_once(fd, GET("/livez")), 200);
	say(fd, "GET / HTTP");
	pass(9);
	say(fd, "/1.1");
	pass(11);
	cr_assert_eq(status_of_next(fd, &in), 408);
	cr_assert(has_ended(fd));
	close(fd);
	str_fini(&in);
}

Test(admin_server, a_body_has_to_be_complete_within_30_s)
{
	struct str in = STR_INIT;
	start("");
	int fd = dial_unix();
	say(fd, "POST /v1/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n");
	pass(29);
	say(fd, "{");
	pass(31);
	cr_assert_eq(status_of_next(fd, &in), 408);
	close(fd);
	str_fini(&in);
}

Test(admin_server, an_idle_connection_ends_after_30_s)
{
	start("");
	int fd = dial_unix();
	cr_assert_eq(get_once(fd, GET("/livez")), 200);
	pass(29);
	cr_assert(!has_ended(fd));
	pass(31);
	cr_assert(has_ended(fd));
	close(fd);
}

Test(admin_server, the_last_answer_can_be_read)
{
	struct str in = STR_INIT, text = STR_INIT;
	start("");
	int fd = dial_unix();
	str_text(&text, "POST /v1/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
	for (int i = 0; i < 30000; i++)
		str_char(&text, 'x');
	say(fd, text.ptr);
	cr_assert_eq(status_of_next(fd, &in), 413);
	say(fd, "more of the body");
	pass(3);
	cr_assert(has_ended(fd));
	close(fd);
	str_fini(&in);
	str_fini(&text);
}

/* ---- TCP and following a configuration ---- */

static void write_token(const char *text)
{
	char path[100];
	snprintf(path, sizeof(path), "%s/token", dir);
	FILE *file = fopen(path, "w");
	fputs(text, file);
	fclose(file);
}

static void remove_token(void)
{
	char path[100];
	snprintf(path, sizeof(path), "%s/token", dir);
	unlink(path);
}

/* A port that was free a moment ago. */
static unsigned free_port(struct addr *addr)
{
	int fd;
	cr_assert(addr_parse(VIEW("127.0.0.1:0"), addr));
	cr_assert_eq(socket_listen(addr, false, 0, &fd), ERR_OK);
	cr_assert(socket_local_addr(fd, addr));
	close(fd);
	return addr_port(addr);
}

static unsigned change_weight(const struct addr *addr, const char *token)
{
	char text[300];
	int fd = dial(addr);
	snprintf(text, sizeof(text),
		 "POST /v1/pools/app/backends/a HTTP/1.1\r\nHost: w\r\n"
		 "Authorization: Bearer %s\r\nContent-Type: application/json\r\n"
		 "Content-Length: 12\r\n\r\n{\"weight\":9}",
		 token);
	unsigned status = get_once(fd, text);
	close(fd);
	return status;
}

Test(admin_server, tcp_with_a_token)
{
	struct addr addr;
	char more[300];
	struct str why = STR_INIT;
	snprintf(more, sizeof(more), ", bind: '127.0.0.1:%u', token_file: %s/token",
		 free_port(&addr), dir);
	write_token(" s3cret \n");
	start(more);
	cr_assert_eq(change_weight(&addr, "wrong"), 401);
	cr_assert_eq(change_weight(&addr, "s3cret"), 200);
	write_token("newer");
	cr_assert_eq(admin_prepare(admin, conf, &why), ERR_OK);
	cr_assert_eq(change_weight(&addr, "newer"), 401, "not before the commit");
	admin_commit(admin);
	cr_assert_eq(change_weight(&addr, "newer"), 200);
	write_token("\n");
	cr_assert_neq(admin_prepare(admin, conf, &why), ERR_OK);
	cr_assert(strstr(why.ptr, "is empty"), "%s", why.ptr);
	cr_assert_eq(change_weight(&addr, "newer"), 200, "nothing changed");
	int fd = dial(&addr);
	cr_assert_eq(get_once(fd, GET("/metrics")), 200);
	close(fd);
	remove_token();
	str_fini(&why);
}

static void start_with_tcp(struct addr *addr)
{
	char more[100];
	snprintf(more, sizeof(more), ", bind: '127.0.0.1:%u'", free_port(addr));
	start(more);
}

/* Out of 127.0.0.`host`. */
static int dial_from(const struct addr *addr, unsigned host)
{
	struct sockaddr_in from = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(0x7f000000 + host)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
	cr_assert(connect(fd, &addr->sa, addr->len) == 0 || errno == EINPROGRESS);
	turn();
	return fd;
}

Test(admin_server, one_address_has_half_of_the_places_and_none_of_the_unix_socket)
{
	struct addr addr;
	int fds[300];
	start_with_tcp(&addr);
	int unix_fd = dial_unix(), other = dial_from(&addr, 2);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = dial_from(&addr, 1);
	cr_assert_eq(get_once(unix_fd, GET("/v1/status")), 200);
	cr_assert_eq(get_once(other, GET("/v1/status")), 200);
	cr_assert_eq(get_once(fds[299], GET("/v1/status")), 200);
	cr_assert_eq(count_open(fds, ARRAY_LEN(fds)), ADDRESS_PLACES);
	close(unix_fd);
	close(other);
}

/* Clients that take no byte of a large answer. */
Test(admin_server, probes_get_through_whoever_has_the_places)
{
	struct str yaml = STR_INIT;
	int fds[UNIX_PLACES];
	str_text(&yaml, "listeners: [{bind: '127.0.0.1:1'}]\npools:\n  app:\n    backends:\n");
	for (int i = 0; i < 100; i++)
		str_printf(&yaml, "      - 10.0.0.%d:80\n", i);
	fixture_fini(&f);
	fixture_init(&f, yaml.ptr);
	start("");
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		fds[i] = dial_unix();
		say(fds[i], GET("/v1/pools") GET("/v1/pools") GET("/v1/pools"));
	}
	for (size_t i = 0; i < 10 * ARRAY_LEN(fds); i++)
		turn();
	for (int round = 0; round < 2 * PROBE_PLACES; round++) {
		int probe = dial_unix(), other = dial_unix();
		cr_assert_eq(get_once(probe, GET("/livez")), 200);
		cr_assert_eq(get_once(other, GET("/v1/status")), 503);
		cr_assert(has_ended(probe), "and leaves the place to the next");
		close(probe);
		close(other);
	}
	int probe = dial_unix();
	cr_assert_eq(get_once(probe, GET("/metrics")), 200);
	close(probe);
	cr_assert_eq(count_open(fds, 0), 0);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
	str_fini(&yaml);
}

/* Nobody's wish is all that a turn has time for. */
Test(admin_server, answers_are_spread_over_turns)
{
	int fds[10];
	start("");
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = dial_unix();
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		for (int k = 0; k < 20; k++)
			cr_assert_gt(send(fds[i], GET("/v1/events"), strlen(GET("/v1/events")), 0),
				     0);
	int all[2];
	for (int turns = 0; turns < 2; turns++) {
		uint64_t before = f.loop.n_turns;
		turn();
		cr_assert_eq(f.loop.n_turns, before + 1);
		all[turns] = 0;
		for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
			char room[4096];
			all[turns] += recv(fds[i], room, sizeof(room), MSG_DONTWAIT) > 0;
		}
	}
	cr_assert_eq(all[0], 1, "one at once");
	struct str in = STR_INIT;
	for (int k = 0; k < 18; k++)
		cr_assert_eq(status_of_next(fds[9], &in), 200);
	str_fini(&in);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
}

Test(admin_server, follows_a_configuration)
{
	struct str why = STR_INIT;
	struct addr other = unix_at("b.sock");
	start("");
	int old = dial_unix();
	struct conf *next = load_at("b.sock", "");
	cr_assert_eq(admin_prepare(admin, next, &why), ERR_OK);
	cr_assert(exists("a.sock") && exists("b.sock"));
	admin_cancel(admin);
	cr_assert(exists("a.sock") && !exists("b.sock"));
	cr_assert_eq(admin_prepare(admin, next, &why), ERR_OK);
	admin_commit(admin);
	cr_assert(!exists("a.sock") && exists("b.sock"));
	int fd = dial(&other);
	cr_assert_eq(get_once(fd, GET("/livez")), 200);
	cr_assert_eq(get_once(old, GET("/livez")), 200, "connections are not cut");
	close(fd);
	close(old);
	admin_free(admin);
	admin = NULL;
	cr_assert(!exists("b.sock"));
	conf_free(next);
}

Test(admin_server, a_failed_prepare_changes_nothing)
{
	struct str why = STR_INIT;
	struct addr taken;
	int taken_fd;
	char more[100];
	unsigned port = free_port(&taken);
	start("");
	cr_assert_eq(socket_listen(&taken, false, 0, &taken_fd), ERR_OK);
	snprintf(more, sizeof(more), ", bind: '127.0.0.1:%u'", port);
	struct conf *next = load_at("b.sock", more);
	cr_assert_neq(admin_prepare(admin, next, &why), ERR_OK);
	cr_assert(strstr(why.ptr, "status.bind: it is in use"), "%s", why.ptr);
	cr_assert(!exists("b.sock"));
	cr_assert(exists("a.sock"));
	close(taken_fd);
	conf_free(next);
	str_fini(&why);
}

/* ---- another process takes over ---- */

/* As a hand-over does: who comes while it is paused finds nobody. */
static void take_over(int fd, const char *meanwhile)
{
	struct addr addr = unix_at("a.sock");
	admin_pause(admin, true);
	if (meanwhile)
		say(fd, meanwhile);
	turn();
	admin_leave(admin);
	turn();
	unlink(addr.un.sun_path);
}

/* What a client said before, and what while it was paused; what it gets. */
static const struct {
	const char *before, *meanwhile;
	unsigned status; /* of the next answer; 0: the end */
} at_the_end[] = {
    {"", NULL, 0},
    {GET("/livez"), NULL, 0},
    {GET("/livez"), GET("/v1/status"), 0}, /* it asks again by itself */
    {GET("/livez"), "HEAD /livez", 0},
    {GET("/livez"), "POST /v1/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 503},
    {"", GET("/v1/status"), 503},
    {"GET /v1/st", NULL, 503},
    {"GET /v1/st", "atus HTTP/1.1\r\nHost: a\r\n\r\n", 503},
    {"POST /v1/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{", NULL, 503},
    {"POST /v1/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{", "}", 503},
    {"prompt\n", NULL, 0},
    {"show i", NULL, 0},
};

Test(admin_server, who_asks_while_another_process_takes_over_is_told)
{
	for (size_t i = 0; i < ARRAY_LEN(at_the_end); i++) {
		struct str in = STR_INIT;
		start("");
		int fd = dial_unix();
		say(fd, at_the_end[i].before);
		if (strcmp(at_the_end[i].before, GET("/livez")) == 0)
			cr_assert_eq(status_of_next(fd, &in), 200);
		hear(fd, &in, SIZE_MAX); /* a prompt */
		take_over(fd, at_the_end[i].meanwhile);
		cr_expect_eq(status_of_next(fd, &in), at_the_end[i].status, "case %zu", i);
		cr_expect(has_ended(fd), "case %zu", i);
		close(fd);
		str_fini(&in);
		admin_free(admin);
		conf_free(conf);
	}
	admin = NULL;
	conf = NULL;
}

Test(admin_server, an_answer_under_way_at_the_end_is_the_last)
{
	struct str in = STR_INIT;
	struct reply r;
	start("");
	f.defer = true;
	int fd = dial_unix();
	say(fd, GET("/v1/connections") GET("/livez"));
	take_over(fd, NULL);
	cr_assert(!reply_take(&in, false, &r));
	fixture_release(&f);
	while (!reply_take(&in, false, &r))
		cr_assert(hear(fd, &in, SIZE_MAX));
	cr_assert_eq(r.status, 200);
	cr_assert(r.closes);
	cr_assert(has_ended(fd));
	cr_assert_eq(in.len, 0);
	reply_fini(&r);
	close(fd);
	str_fini(&in);
}

/* It came to its end while nobody was read: the client was promised more. */
Test(admin_server, an_answer_that_came_during_a_hand_over_is_the_last)
{
	struct str in = STR_INIT;
	start("");
	f.defer = true;
	int fd = dial_unix();
	say(fd, GET("/v1/connections"));
	admin_pause(admin, true);
	fixture_release(&f);
	cr_assert_eq(status_of_next(fd, &in), 200);
	take_over(fd, NULL);
	cr_assert(has_ended(fd));
	close(fd);
	str_fini(&in);
}

Test(admin_server, a_large_answer_at_the_end_is_whole)
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
	say(fd, GET("/v1/pools"));
	take_over(fd, NULL);
	while (!reply_take(&in, false, &r))
		cr_assert(hear(fd, &in, SIZE_MAX));
	cr_assert_eq(json_size(&r.body, "pools.0.backends"), 1000);
	cr_assert(has_ended(fd));
	reply_fini(&r);
	close(fd);
	str_fini(&in);
	str_fini(&yaml);
}

Test(admin_server, a_stream_ends_with_the_process)
{
	struct str in = STR_INIT;
	start("");
	int fd = dial_unix();
	say(fd, GET("/v1/stream"));
	cr_assert(hear(fd, &in, SIZE_MAX));
	take_over(fd, NULL);
	cr_assert(has_ended(fd));
	close(fd);
	str_fini(&in);
}

Test(admin_server, a_hand_over_that_fails_is_nobodys_fault)
{
	struct str in = STR_INIT;
	start("");
	int idle = dial_unix(), half = dial_unix(), asks = dial_unix();
	say(half, "GET /livez HT");
	admin_pause(admin, true);
	say(half, "TP/1.1\r\nHost: a\r\n\r\n");
	say(asks, GET("/livez"));
	int late = dial_unix();
	for (int i = 0; i < 3; i++)
		pass(31);
	admin_pause(admin, false);
	cr_assert_eq(status_of_next(half, &in), 200);
	cr_assert_eq(status_of_next(asks, &in), 200);
	cr_assert_eq(get_once(idle, GET("/livez")), 200);
	cr_assert_eq(get_once(late, GET("/livez")), 200);
	close(idle);
	close(half);
	close(asks);
	close(late);
	str_fini(&in);
}
