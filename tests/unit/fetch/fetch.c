/* SPDX-License-Identifier: MIT */
/* The client against a peer that the test plays byte by byte, on one loop. */
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "weir/fetch/fetch.h"
#include "weir/net/socket.h"

static struct world {
	struct loop loop;
	struct fetcher f;
	int listener, peer;
	uint16_t port;
	char url[64];
	/* what came of the last one */
	unsigned n_done, n_pieces, n_heads;
	enum fetch_end end;
	unsigned status;
	char why[200], body[4096], etag[32];
	struct fetch *cancel_in_piece;
	bool begin_in_done;
	unsigned n_addrs; /* that a name has; 0: as the system says */
} w;

/* Those of the system, but where a test says how often a name leads to the peer. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
		struct addrinfo **out)
{
	static struct sockaddr_in here = {.sin_family = AF_INET};
	static struct addrinfo all[2];
	int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
	    dlsym(RTLD_NEXT, "getaddrinfo");
	if (!w.n_addrs)
		return real(name, service, hints, out);
	here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (unsigned i = 0; i < w.n_addrs; i++)
		all[i] = (struct addrinfo){.ai_family = AF_INET,
					   .ai_addr = (struct sockaddr *)&here,
					   .ai_addrlen = sizeof(here),
					   .ai_next = i + 1 < w.n_addrs ? &all[i + 1] : NULL};
	*out = all;
	return 0;
}

void freeaddrinfo(struct addrinfo *all)
{
	void (*real)(struct addrinfo *) = dlsym(RTLD_NEXT, "freeaddrinfo");
	if (!w.n_addrs)
		real(all);
}

#define FAR_MAX 200

/* Other ends of connections that are not there before the test lets them. */
static int far[FAR_MAX];
static unsigned n_far;
static bool is_far;

int connect(int fd, const struct sockaddr *to, socklen_t len)
{
	static const char junk[4096];
	int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
	int pair[2], least = 1;
	if (!is_far)
		return real(fd, to, len);
	cr_assert(n_far < FAR_MAX && socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &least, sizeof(least));
	while (send(pair[0], junk, sizeof(junk), MSG_DONTWAIT) > 0)
		;
	cr_assert(dup3(pair[0], fd, O_CLOEXEC) == fd && fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
	close(pair[0]);
	far[n_far++] = pair[1];
	errno = EINPROGRESS;
	return -1;
}

static const struct fetch_request standard;

static void on_done(void *arg, const struct fetch_answer *a)
{
	cr_assert_eq(arg, &w);
	w.n_done++;
	w.end = a->end;
	w.status = a->status;
	snprintf(w.why, sizeof(w.why), "%s", a->why);
	if (!w.n_pieces)
		snprintf(w.body, sizeof(w.body), VIEW_FMT, VIEW_ARG(a->body));
	struct header *h = a->msg ? message_find_name(a->msg, VIEW("ETag")) : NULL;
	snprintf(w.etag, sizeof(w.etag), VIEW_FMT, VIEW_ARG(h ? h->value : VIEW("")));
	if (w.begin_in_done) {
		w.begin_in_done = false;
		struct fetch_request next = standard;
		next.url = view_str(w.url);
		fetch_begin(&w.f, &next);
	}
}

static void on_piece(void *arg, struct view bytes)
{
	(void)arg;
	w.n_pieces++;
	strncat(w.body, bytes.ptr, bytes.len);
	if (w.cancel_in_piece)
		fetch_cancel(w.cancel_in_piece);
}

static void on_head(void *arg, struct message *msg)
{
	(void)arg;
	w.n_heads++;
	w.status = msg->status;
}

static const struct fetch_request standard = {
    .method = {"GET", 3},
    .timeout_us = 5000000,
    .body_max = 1000,
    .done = on_done,
    .arg = &w,
};

static void world_init(void)
{
	struct addr addr;
	memset(&w, 0, sizeof(w));
	w.peer = -1;
	cr_assert_eq(loop_init(&w.loop, "test"), ERR_OK);
	fetcher_init(&w.f, &w.loop);
	cr_assert(addr_parse(VIEW("127.0.0.1:0"), &addr));
	cr_assert_eq(socket_listen(&addr, false, 0, &w.listener), ERR_OK);
	cr_assert(socket_local_addr(w.listener, &addr));
	w.port = addr_port(&addr);
	snprintf(w.url, sizeof(w.url), "http://127.0.0.1:%u/a?b=c", w.port);
}

static void world_fini(void)
{
	fetcher_fini(&w.f);
	cr_expect_eq(buf_pool_live(&w.f.bufs), 0);
	socket_close(w.peer);
	socket_close(w.listener);
	loop_fini(&w.loop);
}

TestSuite(fetch, .init = world_init, .fini = world_fini);

static void turn(void)
{
	ev_run(w.loop.ev, EVRUN_NOWAIT);
}

/* The peer has a connection, and a request of at least `n` bytes on it. */
static const char *hear(bool accept_one)
{
	static char text[4096];
	struct addr from;
	size_t len = 0;
	for (int i = 0; i < 2000 && accept_one; i++) {
		int fd;
		turn();
		cr_assert_eq(socket_accept(w.listener, &from, &fd), ERR_OK);
		if (fd < 0) {
			usleep(1000);
			continue;
		}
		socket_close(w.peer);
		w.peer = fd;
		accept_one = false;
	}
	cr_assert(!accept_one);
	for (int i = 0; i < 2000; i++) {
		turn();
		ssize_t n = recv(w.peer, text + len, sizeof(text) - 1 - len, MSG_DONTWAIT);
		len += n > 0 ? (size_t)n : 0;
		text[len] = '\0';
		if (strstr(text, "\r\n\r\n"))
			return text;
		usleep(1000);
	}
	cr_assert(false, "no request: %s", text);
	return text;
}

static void say(const char *text)
{
	cr_assert_eq(send(w.peer, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
	turn();
}

static void until(const unsigned *n, unsigned want)
{
	for (int i = 0; i < 3000 && *n < want; i++) {
		turn();
		usleep(1000);
	}
	cr_assert_geq(*n, want);
}

static struct fetch *begin(struct fetch_request req)
{
	req.url = view_str(w.url);
	return fetch_begin(&w.f, &req);
}

Test(fetch, a_question_and_its_answer)
{
	struct fetch_request req = standard;
	req.headers = VIEW("Accept: x/y\r\n");
	begin(req);
	const char *text = hear(true);
	char host[64];
	snprintf(host, sizeof(host), "\r\nHost: 127.0.0.1:%u\r\n", w.port);
	cr_expect_eq(strncmp(text, "GET /a?b=c HTTP/1.1\r\n", 21), 0, "%s", text);
	cr_expect(strstr(text, host));
	cr_expect(strstr(text, "\r\nAccept: x/y\r\n"));
	cr_expect(strstr(text, "\r\nConnection: close\r\n"));
	say("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nETag: \"7\"\r\nContent-Le");
	say("ngth: 5\r\n\r\nhel");
	cr_expect_eq(w.n_done, 0);
	say("lo");
	until(&w.n_done, 1);
	cr_expect_eq(w.end, FETCH_OK);
	cr_expect_eq(w.status, 200);
	cr_expect_str_eq(w.body, "hello");
	cr_expect_str_eq(w.etag, "\"7\"");
}

Test(fetch, a_body_is_sent)
{
	struct fetch_request req = standard;
	req.method = VIEW("POST");
	req.body = VIEW("{\"a\": 1}");
	begin(req);
	const char *text = hear(true);
	cr_expect(strstr(text, "\r\nContent-Length: 8\r\n"));
	cr_expect(strstr(text, "\r\n\r\n{\"a\": 1}"));
	say("HTTP/1.0 503 No\r\n\r\nlater");
	socket_close(w.peer);
	w.peer = -1;
	until(&w.n_done, 1);
	cr_expect_eq(w.status, 503);
	cr_expect_str_eq(w.body, "later");
}

Test(fetch, chunks_come_as_they_are_sent)
{
	struct fetch_request req = standard;
	req.piece = on_piece;
	req.head = on_head;
	begin(req);
	hear(true);
	say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
	until(&w.n_heads, 1);
	say("3\r\none\r\n");
	until(&w.n_pieces, 1);
	cr_expect_str_eq(w.body, "one");
	say("3\r\ntw");
	say("o\r\n0\r\n\r\n");
	until(&w.n_done, 1);
	cr_expect_str_eq(w.body, "onetwo");
	cr_expect_eq(w.end, FETCH_OK);
}

Test(fetch, a_stream_that_is_cut_says_so)
{
	struct fetch_request req = standard;
	req.piece = on_piece;
	begin(req);
	hear(true);
	say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
	until(&w.n_pieces, 1);
	socket_close(w.peer);
	w.peer = -1;
	until(&w.n_done, 1);
	cr_expect_eq(w.end, FETCH_FAILED);
	cr_expect_str_eq(w.why, "the answer was cut off");
}

Test(fetch, cancelled_in_its_own_callback)
{
	struct fetch_request req = standard;
	req.piece = on_piece;
	w.cancel_in_piece = begin(req);
	hear(true);
	say("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none");
	until(&w.n_pieces, 1);
	for (int i = 0; i < 5; i++)
		turn();
	cr_expect_eq(w.n_done, 0);
	cr_expect(list_is_empty(&w.f.running) && list_is_empty(&w.f.over));
}

Test(fetch, cancelled_before_it_began)
{
	fetch_cancel(begin(standard));
	for (int i = 0; i < 5; i++)
		turn();
	cr_expect_eq(w.n_done, 0);
}

Test(fetch, a_connection_is_kept_and_used_again)
{
	struct fetch_request req = standard;
	req.keep = true;
	for (int i = 0; i < 3; i++) {
		begin(req);
		cr_expect(!strstr(hear(i == 0), "Connection: close"));
		say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
		until(&w.n_done, (unsigned)i + 1);
		cr_expect_eq(w.f.n_kept, 1);
	}
	/* it was closed meanwhile: a GET goes out once more, on a new one */
	begin(req);
	hear(false);
	shutdown(w.peer, SHUT_RDWR);
	hear(true);
	say("HTTP/1.1 204 No Content\r\n\r\n");
	until(&w.n_done, 4);
	cr_expect_eq(w.status, 204);
	/* but no POST that does not say it may */
	req.method = VIEW("POST");
	begin(req);
	hear(false);
	shutdown(w.peer, SHUT_RDWR);
	until(&w.n_done, 5);
	cr_expect_eq(w.end, FETCH_FAILED);
	cr_expect_eq(w.f.n_kept, 0);
}

Test(fetch, a_line_is_kept_for_one_alone)
{
	struct fetch_line mine = {NULL};
	struct fetch_request req = standard;
	req.keep = true;
	req.line = &mine;
	req.send_proxy = 1;
	for (int i = 0; i < 2; i++) {
		begin(req);
		const char *heard = hear(i == 0);
		cr_expect_eq(strncmp(heard, "PROXY UNKNOWN\r\nGET ", 19) == 0, i == 0, "%s", heard);
		say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
		until(&w.n_done, (unsigned)i + 1);
		cr_expect(mine.conn && w.f.n_kept == 0);
	}
	fetch_line_drop(&mine);
	cr_expect_null(mine.conn);
	begin(req);
	hear(true);
	say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	until(&w.n_done, 3);
	/* the peer closes it */
	shutdown(w.peer, SHUT_RDWR);
	for (int i = 0; i < 1000 && mine.conn; i++) {
		turn();
		usleep(1000);
	}
	cr_expect_null(mine.conn);
}

Test(fetch, what_nobody_asked_closes_a_kept_connection)
{
	struct fetch_request req = standard;
	req.keep = true;
	begin(req);
	hear(true);
	say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	until(&w.n_done, 1);
	say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	for (int i = 0; i < 1000 && w.f.n_kept; i++) {
		turn();
		usleep(1000);
	}
	cr_expect_eq(w.f.n_kept, 0);
}

Test(fetch, another_is_begun_where_one_ends)
{
	w.begin_in_done = true;
	begin(standard);
	hear(true);
	say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1");
	until(&w.n_done, 1);
	hear(true);
	say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2");
	until(&w.n_done, 2);
	cr_expect_str_eq(w.body, "2");
}

Test(fetch, more_than_may_be_is_refused)
{
	struct fetch_request req = standard;
	req.body_max = 4;
	begin(req);
	hear(true);
	say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
	until(&w.n_done, 1);
	cr_expect_eq(w.end, FETCH_TOO_LONG);
	begin(req);
	hear(true);
	say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n");
	until(&w.n_done, 2);
	cr_expect_eq(w.end, FETCH_TOO_LONG);
	char *head = malloc(FETCH_HEAD_MAX + 100);
	memset(head, 'x', FETCH_HEAD_MAX + 99);
	memcpy(head, "HTTP/1.1 200 OK\r\nA: ", 20);
	head[FETCH_HEAD_MAX + 99] = '\0';
	begin(req);
	hear(true);
	say(head);
	until(&w.n_done, 3);
	cr_expect_eq(w.end, FETCH_TOO_LONG);
	cr_expect_str_eq(w.why, "the head of the answer is too long");
	free(head);
}

Test(fetch, what_is_no_http)
{
	begin(standard);
	hear(true);
	say("SSH-2.0-OpenSSH\r\n\r\n");
	until(&w.n_done, 1);
	cr_expect_eq(w.end, FETCH_FAILED);
	cr_expect_eq(w.status, 0);
	begin(standard);
	hear(true);
	say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
	until(&w.n_done, 2);
	cr_expect_eq(w.end, FETCH_FAILED);
}

Test(fetch, deadlines)
{
	struct fetch_request req = standard;
	req.timeout_us = 20000;
	begin(req);
	hear(true);
	until(&w.n_done, 1);
	cr_expect_eq(w.end, FETCH_TIMEOUT);
	/* a stream has as long as it says something */
	req.timeout_us = 5000000;
	req.piece = on_piece;
	req.silence_us = 20000;
	begin(req);
	hear(true);
	say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
	until(&w.n_done, 2);
	cr_expect_eq(w.end, FETCH_SILENCE);
	cr_expect_str_eq(w.why, "nothing was heard for 20 ms");
}

/* A peer that takes connections and says nothing, at two addresses. */
Test(fetch, no_address_has_longer_than_all_of_it)
{
	struct str why = STR_INIT;
	struct fetch_request req = standard;
	req.tls = fetch_tls_new(&w.f, &(struct fetch_tls_options){.trust_all = true}, &why);
	cr_assert(req.tls);
	w.n_addrs = 2;
	snprintf(w.url, sizeof(w.url), "https://two.test:%u/", w.port);
	/* the first address is given up */
	req.connect_us = 20000;
	begin(req);
	until(&w.n_done, 1);
	cr_expect_eq(w.end, FETCH_FAILED);
	cr_expect_str_eq(w.why, "connect failed: no connection in time");
	/* there is not so much time for the second */
	req.connect_us = 60000;
	req.timeout_us = 100000;
	begin(req);
	until(&w.n_done, 2);
	cr_expect_eq(w.end, FETCH_TIMEOUT);
	tls_client_put(req.tls);
}

/* Backends are asked for their load, however many of them do not answer. */
Test(fetch, everybody_hears_a_proxy_header_first)
{
	struct fetch_request req = standard;
	req.send_proxy = 1;
	is_far = true;
	for (int i = 0; i < FAR_MAX; i++)
		begin(req);
	until(&n_far, FAR_MAX);
	for (int i = 0; i < FAR_MAX; i++) {
		static char text[1 << 20];
		size_t len = 0;
		for (int k = 0; k < 2000 && !memmem(text, len, "\r\n\r\n", 4); k++) {
			ssize_t n = recv(far[i], text + len, sizeof(text) - len, MSG_DONTWAIT);
			len += n > 0 ? (size_t)n : 0;
			turn();
		}
		cr_assert(memmem(text, len, "PROXY UNKNOWN\r\nGET ", 19), "%d", i);
		close(far[i]);
	}
}

Test(fetch, what_cannot_begin_comes_to_done)
{
	struct fetch_request req = standard;
	req.url = VIEW("ftp://a/");
	fetch_begin(&w.f, &req);
	cr_expect_eq(w.n_done, 0);
	until(&w.n_done, 1);
	cr_expect_eq(w.end, FETCH_FAILED);
	req.url = VIEW("https://127.0.0.1/");
	fetch_begin(&w.f, &req);
	until(&w.n_done, 2);
	cr_expect_eq(w.end, FETCH_NO_TLS);
	req.url = VIEW("http://a.b/");
	req.at = VIEW("nowhere");
	fetch_begin(&w.f, &req);
	until(&w.n_done, 3);
	cr_expect_eq(w.end, FETCH_NO_NAME);
	req.at = VIEW("unix:/nonexistent/socket");
	fetch_begin(&w.f, &req);
	until(&w.n_done, 4);
	cr_expect_eq(w.end, FETCH_FAILED);
}

Test(fetch, a_name_is_looked_up)
{
	snprintf(w.url, sizeof(w.url), "http://localhost:%u/", w.port);
	begin(standard);
	cr_expect(strstr(hear(true), "\r\nHost: localhost:"));
	say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	until(&w.n_done, 1);
	cr_expect_eq(w.end, FETCH_OK);
	/* nobody waits for the answer of the thread any more */
	fetch_cancel(begin(standard));
	begin(standard);
}
