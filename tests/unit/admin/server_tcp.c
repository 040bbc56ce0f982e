/* SPDX-License-Identifier: MIT */
/* The API over TCP, and as the configuration changes. */
#include "admin/places.h"
#include "served.h"

TestSuite(admin_tcp, .init = setup, .fini = teardown);

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

Test(admin_tcp, tcp_with_a_token)
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

Test(admin_tcp, one_address_has_half_of_the_places_and_none_of_the_unix_socket)
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
Test(admin_tcp, probes_get_through_whoever_has_the_places)
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
Test(admin_tcp, answers_are_spread_over_turns)
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

Test(admin_tcp, follows_a_configuration)
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

Test(admin_tcp, a_failed_prepare_changes_nothing)
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
