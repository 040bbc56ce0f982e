/* SPDX-License-Identifier: MIT */
/* From a URL to a connection: names, addresses that take their time, what cannot begin. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>

#include "peer.h"

TestSuite(fetch_connect, .init = world_init, .fini = world_fini);

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

/* A peer that takes connections and says nothing, at two addresses. */
Test(fetch_connect, no_address_has_longer_than_all_of_it)
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
Test(fetch_connect, everybody_hears_a_proxy_header_first)
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

Test(fetch_connect, what_cannot_begin_comes_to_done)
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

Test(fetch_connect, a_name_is_looked_up)
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

/* As many wait to be accepted as may: the kernel says so at once, where TCP waits. */
Test(fetch_connect, a_unix_socket_without_room_is_waited_for)
{
	char directory[] = "/tmp/weir-fetch-XXXXXX", text[100];
	struct fetch_request req = standard;
	struct addr addr, from;
	bool done;
	int before, extra;
	cr_assert(mkdtemp(directory));
	snprintf(text, sizeof(text), "unix:%s/s", directory);
	cr_assert(addr_parse(view_str(text), &addr));
	socket_close(w.listener);
	cr_assert_eq(socket_listen(&addr, false, 0666, &w.listener), ERR_OK);
	cr_assert_eq(listen(w.listener, 0), 0);
	cr_assert_eq(socket_connect(&addr, &before, &done), ERR_OK);
	cr_assert_eq(socket_connect(&addr, &extra, &done), ERR_BUSY, "it is full");
	req.at = view_str(text);
	begin(req);
	uint64_t tried = w.loop.n_turns;
	while (w.loop.n_turns < tried + 3)
		ev_run(w.loop.ev, EVRUN_ONCE);
	cr_assert_eq(w.n_done, 0, "%s", w.why);
	cr_assert_eq(socket_accept(w.listener, &from, &w.peer), ERR_OK);
	hear(true);
	say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	until(&w.n_done, 1);
	cr_expect_eq(w.status, 200);
	/* nobody lets it in */
	socket_close(before);
	cr_assert_eq(socket_connect(&addr, &before, &done), ERR_OK);
	req.timeout_us = 60000;
	begin(req);
	until(&w.n_done, 2);
	cr_expect_eq(w.end, FETCH_TIMEOUT);
	/* and nobody is there any more */
	req.timeout_us = 5000000;
	begin(req);
	for (tried = w.loop.n_turns; w.loop.n_turns < tried + 3;)
		ev_run(w.loop.ev, EVRUN_ONCE);
	socket_close(w.listener);
	w.listener = -1;
	until(&w.n_done, 3);
	cr_expect_eq(w.end, FETCH_FAILED);
	socket_close(before);
	unlink(text + 5);
	rmdir(directory);
}
