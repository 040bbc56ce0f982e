/* SPDX-License-Identifier: MIT */
/* What is asked of another node: a peer that the test plays. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fixture.h"
#include "weir/base/defs.h"
#include "weir/fetch/fetch.h"
#include "weir/net/socket.h"

/* As many may be asked at once. */
#define QUESTIONS 64

static struct fixture f;
static struct fetcher fetcher;
static struct session askers[QUESTIONS + 1];
static int listener;
static char address[32];
static void (*plain_status)(void *ctx, struct arena *arena, struct admin_status *out);

static void status(void *ctx, struct arena *arena, struct admin_status *out)
{
	static struct admin_node nodes[3];
	plain_status(ctx, arena, out);
	nodes[0] = (struct admin_node){.name = VIEW("n2"), .status = view_str(address)};
	nodes[1] = (struct admin_node){.name = VIEW("n3")};
	nodes[2] = (struct admin_node){.name = VIEW("n4"), .status = VIEW("unix:/tmp/n4")};
	out->shared.nodes = nodes;
	out->shared.n_nodes = ARRAY_LEN(nodes);
}

/* The node, at a port that is free. */
static void listen_anew(void)
{
	struct addr addr = {.len = sizeof(addr.in4)};
	socklen_t len = sizeof(addr.in4);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	cr_assert_eq(listen(listener, 128), 0);
	cr_assert_eq(getsockname(listener, &addr.sa, &len), 0);
	snprintf(address, sizeof(address), "127.0.0.1:%u", addr_port(&addr));
}

static void begin(void)
{
	fixture_init(&f, NULL);
	plain_status = f.api.host.status;
	f.api.host.status = status;
	fetcher_init(&fetcher, &f.loop);
	f.api.fetcher = &fetcher;
	listen_anew();
}

static void end(void)
{
	close(listener);
	relays_fini(&f.api);
	fetcher_fini(&fetcher);
	fixture_fini(&f);
}

TestSuite(admin_nodes, .init = begin, .fini = end);

static void on_ready(struct session *s)
{
	(void)s;
}

static void put(struct session *s, const char *path)
{
	char text[200];
	int len = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: w\r\n\r\n", path);
	session_init(s, &f.api, true);
	s->ready = on_ready;
	session_put(s, (struct view){text, (size_t)len});
	session_run(s);
}

/* The node hears the asker's question, and says this. */
static void node_answers(const struct session *s, const char *heard, const char *said)
{
	char buf[1000] = "";
	int peer = -1;
	ssize_t n = -1;
	while (peer < 0 || n < 0) {
		ev_run(f.loop.ev, EVRUN_NOWAIT);
		cr_assert_eq(s->state, SESSION_WAITING, "%s", s->out.ptr);
		if (peer < 0)
			peer = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		else
			n = recv(peer, buf, sizeof(buf) - 1, 0);
	}
	cr_assert_eq(strncmp(buf, heard, strlen(heard)), 0, "%s", buf);
	cr_assert_eq(send(peer, said, strlen(said), MSG_NOSIGNAL), (ssize_t)strlen(said));
	close(peer);
}

static void asker_gets(struct session *s, const char *what)
{
	while (s->state == SESSION_WAITING)
		ev_run(f.loop.ev, EVRUN_NOWAIT);
	cr_assert(strstr(s->out.ptr, what) != NULL, "%s", s->out.ptr);
}

Test(admin_nodes, what_a_node_answers_is_given_as_it_is)
{
	put(&askers[0], "/v1/nodes/n2/pools/app/slow?limit=5");
	cr_assert_eq(askers[0].state, SESSION_WAITING);
	node_answers(&askers[0], "GET /v1/pools/app/slow?limit=5 HTTP/1.1\r\n",
		     "HTTP/1.1 418 Tea\r\nContent-Length: 8\r\n\r\n{\"a\": 1}");
	asker_gets(&askers[0], "HTTP/1.1 418 ");
	asker_gets(&askers[0], "{\"a\": 1}");
	session_fini(&askers[0]);
}

Test(admin_nodes, one_that_wants_a_password_or_says_nothing_is_a_502)
{
	const char *said[] = {"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n",
			      "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", "nonsense\r\n\r\n"};
	const char *got[] = {"without a password", "without a password", "node 'n2': "};
	for (size_t i = 0; i < ARRAY_LEN(said); i++) {
		put(&askers[0], "/v1/nodes/n2/snapshot");
		node_answers(&askers[0], "GET /v1/snapshot HTTP/1.1\r\n", said[i]);
		asker_gets(&askers[0], "HTTP/1.1 502 ");
		asker_gets(&askers[0], got[i]);
		session_fini(&askers[0]);
	}
}

Test(admin_nodes, who_is_not_there_or_cannot_be_asked)
{
	expect(&f, "GET", "/v1/nodes/n9/snapshot", NULL, 404, "error",
	       "no other node 'n9' was heard of within 5 s");
	expect(&f, "GET", "/v1/nodes/n3/snapshot", NULL, 502, "error",
	       "node 'n3' has no status.bind");
	expect(&f, "GET", "/v1/nodes/n4/snapshot", NULL, 502, "error",
	       "node 'n4' says no address that can be asked");
}

static void ask_as_many_as_may_be(void)
{
	for (unsigned i = 0; i < QUESTIONS; i++) {
		put(&askers[i], "/v1/nodes/n2/snapshot");
		cr_assert_eq(askers[i].state, SESSION_WAITING, "%u", i);
	}
}

Test(admin_nodes, so_many_questions_at_once_and_then_as_many_again)
{
	ask_as_many_as_may_be();
	put(&askers[QUESTIONS], "/v1/nodes/n2/snapshot");
	asker_gets(&askers[QUESTIONS], "HTTP/1.1 503 ");
	session_fini(&askers[QUESTIONS]);
	close(listener); /* nobody answers them any more */
	listen_anew();
	for (unsigned i = 0; i < QUESTIONS; i++) {
		asker_gets(&askers[i], "HTTP/1.1 502 ");
		session_fini(&askers[i]);
	}
	ask_as_many_as_may_be();
	for (unsigned i = 0; i < QUESTIONS; i++)
		session_fini(&askers[i]);
}
