/* SPDX-License-Identifier: MIT */
/* A peer that is gone is told from one that has ended its direction (weir/net/hangup.h). */
#include "weir/net/hangup.h"

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static struct loop loop;
static struct hangups hangups;
static int n_gone, ours, peer;

static void on_gone(void *obj)
{
	cr_expect_eq(obj, &ours);
	n_gone++;
}

/* Over TCP: a pair of unix sockets knows of no reset. */
static void start(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(in);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert_eq(bind(listener, (struct sockaddr *)&in, len), 0);
	cr_assert_eq(listen(listener, 1), 0);
	cr_assert_eq(getsockname(listener, (struct sockaddr *)&in, &len), 0);
	peer = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert_eq(connect(peer, (struct sockaddr *)&in, len), 0);
	ours = accept(listener, NULL, NULL);
	close(listener);
	cr_assert_eq(loop_init(&loop, "test"), ERR_OK);
	cr_assert_eq(hangups_init(&hangups, &loop, on_gone), ERR_OK);
	n_gone = 0;
}

static void finish(void)
{
	close(ours);
	hangups_fini(&hangups);
	loop_fini(&loop);
}

static void turn(void)
{
	for (int i = 0; i < 4; i++)
		ev_run(loop.ev, EVRUN_NOWAIT);
}

static void reset(void)
{
	struct linger at_once = {.l_onoff = 1};
	setsockopt(peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(peer);
}

Test(hangup, an_end_is_none_a_reset_is_one, .init = start, .fini = finish)
{
	hangups_watch(&hangups, ours, &ours);
	hangups_watch(&hangups, ours, &ours);
	turn();
	shutdown(peer, SHUT_WR);
	turn();
	cr_expect_eq(n_gone, 0);
	reset();
	turn();
	cr_expect_eq(n_gone, 1, "once");
}

Test(hangup, nobody_is_told_of_what_was_forgotten, .init = start, .fini = finish)
{
	hangups_watch(&hangups, ours, &ours);
	hangups_forget(&hangups, ours);
	hangups_forget(&hangups, ours);
	reset();
	turn();
	cr_expect_eq(n_gone, 0);
}
