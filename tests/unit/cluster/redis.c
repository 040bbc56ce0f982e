/* SPDX-License-Identifier: MIT */
/* The connection to Redis: a server that the test plays, byte by byte. */
#include "weir/cluster/redis.h"

#include <criterion/criterion.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "weir/base/defs.h"
#include "weir/base/err.h"

/* Other tests have a server of another kind, by the same names. */
bool __real_redis_ask(struct redis *redis, enum redis_topic topic, redis_done *done, void *arg,
		      const struct view *words, size_t n);
bool __real_redis_is_ready(const struct redis *redis);

static struct loop loop;
static struct redis *redis;
static struct redis_server place;
static int listener, peer;
static unsigned n_ready, n_done, n_nothing;
static char got[1000]; /* the text of each answer */

static void on_ready(void *arg)
{
	cr_assert_eq(arg, &loop);
	n_ready++;
}

static void on_done(void *arg, const struct redisReply *reply)
{
	n_done++;
	n_nothing += !reply;
	if (reply)
		snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%s;", (const char *)arg,
			 reply->type == REDIS_REPLY_INTEGER ? "(number)" : reply->str);
}

static void begin(void)
{
	struct addr addr = {.len = sizeof(addr.in4)};
	socklen_t len = sizeof(addr.in4);
	cr_assert_eq(loop_init(&loop, "test"), ERR_OK);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	cr_assert_eq(listen(listener, 5), 0); /* at a port that is free */
	cr_assert_eq(getsockname(listener, &addr.sa, &len), 0);
	place = (struct redis_server){.host = VIEW("127.0.0.1"), .port = addr_port(&addr)};
	peer = -1;
	redis = redis_new(&loop, on_ready, &loop);
	cr_assert_not_null(redis);
}

static void end(void)
{
	redis_free(redis);
	if (peer >= 0)
		close(peer);
	if (listener >= 0)
		close(listener);
	loop_fini(&loop);
}

TestSuite(redis, .init = begin, .fini = end, .timeout = 120);

static void turn(void)
{
	ev_run(loop.ev, EVRUN_NOWAIT);
}

static void accept_it(void)
{
	if (peer >= 0)
		close(peer);
	for (peer = -1; peer < 0; turn())
		peer = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static void hears(const char *want)
{
	char text[4000];
	size_t len = 0, most = strlen(want);
	while (len < most) {
		turn();
		ssize_t n = recv(peer, text + len, most - len, 0);
		len += n > 0 ? (size_t)n : 0;
		text[len] = '\0';
		cr_assert(strncmp(text, want, len) == 0, "%s", text);
	}
}

static void says(const char *text)
{
	cr_assert_eq(send(peer, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static bool ask(const char *what)
{
	const struct view words[] = {VIEW("GET"), view_str(what)};
	return __real_redis_ask(redis, REDIS_LIMITS, on_done, (void *)what, words, 2);
}

static void wait_until_ready(void)
{
	while (!__real_redis_is_ready(redis))
		turn();
}

static void connect_it(void)
{
	redis_follow(redis, &place);
	accept_it();
	hears("*1\r\n$4\r\nPING\r\n");
	says("+PONG\r\n");
	wait_until_ready();
}

/* The connection is given up, for this. */
static void wait_for(const char *why)
{
	while (!*redis_why(redis))
		turn();
	cr_expect(strncmp(redis_why(redis), why, strlen(why)) == 0, "%s", redis_why(redis));
	cr_expect_not(__real_redis_is_ready(redis));
}

Test(redis, questions_go_out_at_once_and_answers_come_in_their_order)
{
	struct addr addr;
	cr_expect(!ask("a") && !__real_redis_is_ready(redis) && !redis_local(redis, &addr));
	connect_it();
	cr_expect(n_ready == 1 && !*redis_why(redis));
	cr_expect(redis_local(redis, &addr) && addr.in4.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
	cr_assert(ask("a") && ask("bc"));
	hears("*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$3\r\nGET\r\n$2\r\nbc\r\n");
	for (const char *at = "$3\r\none\r\n:2\r\n"; *at; at++) {
		says((const char[]){*at, '\0'});
		for (unsigned i = 0; i < 3; i++)
			turn();
	}
	while (n_done < 2)
		turn();
	cr_expect_str_eq(got, "aone;bc(number);");
	cr_assert(ask("d"));
	hears("*2\r\n$3\r\nGET\r\n$1\r\nd\r\n");
	says("-ERR no\r\n");
	while (n_done < 3)
		turn();
	cr_expect_str_eq(got, "aone;bc(number);dERR no;");
	cr_expect(__real_redis_is_ready(redis), "an error is an answer");
}

Test(redis, a_password_is_shown)
{
	place.password = VIEW("pass");
	redis_follow(redis, &place);
	accept_it();
	hears("*2\r\n$4\r\nAUTH\r\n$4\r\npass\r\n");
	cr_expect_not(ask("a"), "not before it is greeted");
	says("+OK\r\n");
	wait_until_ready();
	place.username = VIEW("me");
	redis_follow(redis, &place);
	cr_expect_not(__real_redis_is_ready(redis));
	accept_it();
	hears("*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$4\r\npass\r\n");
	says("-WRONGPASS no\r\n");
	wait_for("it refused us: WRONGPASS no");
	cr_expect_eq(n_ready, 1);
}

Test(redis, what_ends_a_connection)
{
	static const struct {
		const char *said, *why; /* NULL: it closes */
	} rows[] = {
	    {NULL, "it closed the connection"},
	    {"HTTP/1.1 400 Bad\r\n", "its answer is no RESP: "},
	    {"$1\r\na\r\n$1\r\nb\r\n", "it said something that nobody had asked"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		n_done = n_nothing = 0;
		connect_it();
		cr_assert(ask("a"));
		hears("*2\r\n$3\r\nGET\r\n$1\r\na\r\n");
		if (rows[i].said)
			says(rows[i].said);
		else
			shutdown(peer, SHUT_WR);
		wait_for(rows[i].why);
		cr_expect(n_done == 1 && n_nothing == (i < 2), "%zu", i);
		cr_expect_not(ask("a"));
	}
	/* it is tried again */
	accept_it();
	hears("*1\r\n$4\r\nPING\r\n");
	says("+PONG\r\n");
	wait_until_ready();
	cr_expect(!*redis_why(redis));
	redis_follow(redis, &(struct redis_server){.host = VIEW_NONE});
	cr_expect(!__real_redis_is_ready(redis) && !*redis_why(redis));
}

Test(redis, so_many_questions_and_no_more)
{
	connect_it();
	for (unsigned i = 0; i < REDIS_PENDING_MAX; i++)
		cr_assert(ask("a"), "%u", i);
	cr_expect_not(ask("a"));
	redis_follow(redis, &(struct redis_server){.host = VIEW_NONE});
	cr_expect(n_done == REDIS_PENDING_MAX && n_nothing == REDIS_PENDING_MAX);
}

Test(redis, nobody_listens)
{
	close(listener);
	listener = -1;
	redis_follow(redis, &place);
	wait_for("connect failed: ");
}

Test(redis, a_move_keeps_the_connection)
{
	connect_it();
	const struct redis_server same = place;
	redis_move(redis, &same);
	cr_expect(__real_redis_is_ready(redis));
	cr_assert(ask("a"));
	hears("*2\r\n$3\r\nGET\r\n$1\r\na\r\n");
	says("$2\r\nhi\r\n");
	while (!n_done)
		turn();
	cr_expect_str_eq(got, "ahi;");
}
