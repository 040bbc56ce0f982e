/* SPDX-License-Identifier: MIT */
/*
 * The API over real sockets: one thread runs the loop and is the client, so
 * nothing ever waits.  Deadlines come by turning the timer wheel on.
 */
#ifndef TESTS_UNIT_ADMIN_SERVED_H
#define TESTS_UNIT_ADMIN_SERVED_H

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fixture.h"
#include "weir/net/socket.h"

static struct fixture f;
static struct admin *admin;
static char dir[64];
static struct conf *conf;

static inline struct conf *load(const char *status)
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
static inline struct conf *load_at(const char *name, const char *more)
{
	char status[512];
	snprintf(status, sizeof(status), "socket: %s/%s%s", dir, name, more);
	return load(status);
}

static inline struct addr unix_at(const char *name)
{
	char text[200];
	struct addr addr;
	snprintf(text, sizeof(text), "unix:%s/%s", dir, name);
	cr_assert(addr_parse(view_str(text), &addr));
	return addr;
}

static inline bool exists(const char *name)
{
	struct addr addr = unix_at(name);
	return access(addr.un.sun_path, F_OK) == 0;
}

static inline void start(const char *more)
{
	struct str why = STR_INIT;
	conf = load_at("a.sock", more);
	admin = admin_new(&f.loop, conf, &f.host, &why);
	cr_assert(admin, "%s", why.ptr);
	str_fini(&why);
}

static inline void setup(void)
{
	strcpy(dir, "/tmp/weir-admin-XXXXXX");
	cr_assert(mkdtemp(dir));
	fixture_init(&f, NULL);
}

static inline void teardown(void)
{
	admin_free(admin);
	conf_free(conf);
	cr_assert(!exists("a.sock"), "the socket file goes with the server");
	fixture_fini(&f);
	cr_assert_eq(rmdir(dir), 0, "nothing else is left");
}

/* ---- a client ---- */

static inline void turn(void)
{
	ev_run(f.loop.ev, EVRUN_NOWAIT);
}

/* Whatever deadline there is within these seconds comes now. */
static inline void pass(unsigned seconds)
{
	turn();
	timer_wheel_run(&f.loop.timers, f.loop.now_us + seconds * UINT64_C(1000000));
	turn();
}

static inline int dial(const struct addr *addr)
{
	int fd;
	bool done;
	cr_assert_eq(socket_connect(addr, &fd, &done), ERR_OK);
	turn();
	return fd;
}

static inline int dial_unix(void)
{
	struct addr addr = unix_at("a.sock");
	return dial(&addr);
}

static inline void say(int fd, const char *text)
{
	cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
	turn();
}

/* Reads what is there, running the loop; false at the end of the connection. */
static inline bool hear(int fd, struct str *in, size_t at_most)
{
	static char room[65536];
	turn();
	ssize_t n = recv(fd, room, at_most < sizeof(room) ? at_most : sizeof(room), MSG_DONTWAIT);
	if (n > 0)
		str_put(in, room, (size_t)n);
	return n > 0 || (n < 0 && errno == EAGAIN);
}

/* 0 when none comes. */
static inline unsigned status_of_next(int fd, struct str *in)
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

static inline bool has_ended(int fd)
{
	struct str in = STR_INIT;
	bool open = true;
	for (int i = 0; open && i < 20; i++)
		open = hear(fd, &in, SIZE_MAX);
	str_fini(&in);
	return !open;
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: weir\r\n\r\n"

static inline unsigned get_once(int fd, const char *request)
{
	struct str in = STR_INIT;
	say(fd, request);
	unsigned status = status_of_next(fd, &in);
	str_fini(&in);
	return status;
}

/* How many of them are still open; closes all. */
static inline size_t count_open(const int *fds, size_t n)
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

#endif
