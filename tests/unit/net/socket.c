/* SPDX-License-Identifier: MIT */
/* Listening, accepting and connecting over IPv4, IPv6 and unix sockets. */
#include "fixture.h"

#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "weir/base/addr.h"

static struct addr parse(const char *text)
{
	struct addr addr;
	cr_assert(addr_parse(view_str(text), &addr), "%s", text);
	return addr;
}

static int listen_on(const struct addr *addr, bool share)
{
	int fd;
	cr_assert_eq(socket_listen(addr, share, 0, &fd), ERR_OK);
	int flags = fcntl(fd, F_GETFL);
	cr_expect(flags & O_NONBLOCK);
	cr_expect(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	return fd;
}

static int accept_from(int fd, struct addr *peer)
{
	int got = -1;
	for (int i = 0; i < 1000 && got < 0; i++) {
		cr_assert_eq(socket_accept(fd, peer, &got), ERR_OK);
		if (got < 0)
			poll(NULL, 0, 1);
	}
	cr_assert_geq(got, 0);
	int no_delay = 0;
	if (peer->sa.sa_family != AF_UNIX)
		cr_expect(getsockopt(got, IPPROTO_TCP, TCP_NODELAY, &no_delay,
				     &(socklen_t){sizeof(no_delay)}) == 0 &&
			  no_delay);
	cr_expect(fcntl(got, F_GETFL) & O_NONBLOCK);
	cr_expect(fcntl(got, F_GETFD) & FD_CLOEXEC);
	return got;
}

/* Connects, says hello, hears it; the peer's address as the listener sees it. */
static struct addr hello(int fd, const struct addr *to)
{
	struct addr peer;
	char text[8];
	int mine;
	bool done;
	cr_assert_eq(socket_connect(to, &mine, &done), ERR_OK);
	int theirs = accept_from(fd, &peer);
	struct pollfd p = {.fd = mine, .events = POLLOUT};
	cr_assert_eq(poll(&p, 1, 1000), 1);
	cr_expect_eq(socket_connect_result(mine), ERR_OK);
	cr_expect_eq(send(mine, "hello", 5, 0), 5);
	p = (struct pollfd){.fd = theirs, .events = POLLIN};
	cr_assert_eq(poll(&p, 1, 1000), 1);
	cr_expect_eq(recv(theirs, text, sizeof(text), 0), 5);
	socket_close(mine);
	socket_close(theirs);
	return peer;
}

Test(socket, v4_and_v6)
{
	static const char *const texts[] = {"127.0.0.1:0", "[::1]:0"};
	static const char *const ips[] = {"127.0.0.1", "::1"};
	for (int i = 0; i < 2; i++) {
		struct addr addr = parse(texts[i]), bound;
		char ip[ADDR_IP_TEXT_MAX];
		int fd = listen_on(&addr, false);
		cr_assert(socket_local_addr(fd, &bound));
		cr_expect_neq(addr_port(&bound), 0);
		struct addr peer = hello(fd, &bound);
		addr_format_ip(&peer, ip);
		cr_expect_str_eq(ip, ips[i]);
		close(fd);
	}
}

Test(socket, any_v6_takes_v4_as_well)
{
	struct addr any = parse("[::]:0"), bound, v4 = parse("127.0.0.1:1");
	char ip[ADDR_IP_TEXT_MAX];
	int fd = listen_on(&any, false);
	cr_assert(socket_local_addr(fd, &bound));
	v4.in4.sin_port = bound.in6.sin6_port;
	struct addr peer = hello(fd, &v4);
	addr_format_ip(&peer, ip);
	cr_expect_str_eq(ip, "127.0.0.1", "without the v6 mapping");
	close(fd);
}

Test(socket, nobody_waits)
{
	struct addr addr = parse("127.0.0.1:0"), peer;
	int fd = listen_on(&addr, false), got = 0;
	cr_expect_eq(socket_accept(fd, &peer, &got), ERR_OK);
	cr_expect_eq(got, -1);
	close(fd);
}

Test(socket, sharing_an_address)
{
	struct addr addr = parse("127.0.0.1:0"), bound;
	int a = listen_on(&addr, true), b, c;
	cr_assert(socket_local_addr(a, &bound));
	cr_expect_eq(socket_listen(&bound, true, 0, &b), ERR_OK);
	cr_expect_eq(socket_listen(&bound, false, 0, &c), ERR_EXISTS);
	cr_expect_eq(c, -1);
	cr_expect_eq(errno, EADDRINUSE, "callers print it");
	close(a);
	close(b);
}

Test(socket, addresses_that_are_not_ours)
{
	struct addr addr = parse("192.0.2.1:80");
	int fd = 7;
	cr_expect_neq(socket_listen(&addr, false, 0, &fd), ERR_OK);
	cr_expect_eq(fd, -1);
	cr_expect_eq(errno, EADDRNOTAVAIL);
}

Test(socket, out_of_descriptors)
{
	struct addr addr = parse("127.0.0.1:0"), bound, peer;
	int fd = listen_on(&addr, false), mine, got = 0, last = dup(0);
	bool done;
	cr_assert(socket_local_addr(fd, &bound));
	cr_assert_eq(socket_connect(&bound, &mine, &done), ERR_OK);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	cr_assert_eq(poll(&p, 1, 1000), 1);
	struct rlimit old, none;
	getrlimit(RLIMIT_NOFILE, &old);
	none = (struct rlimit){(rlim_t)last, old.rlim_max};
	setrlimit(RLIMIT_NOFILE, &none);
	enum err accepted = socket_accept(fd, &peer, &got);
	int other = 0;
	enum err connected = socket_connect(&bound, &other, &done);
	setrlimit(RLIMIT_NOFILE, &old);
	cr_expect_eq(accepted, ERR_FDS);
	cr_expect_eq(got, -1);
	cr_expect_eq(connected, ERR_FDS);
	cr_expect_eq(other, -1);
	got = accept_from(fd, &peer); /* it waited */
	close(got);
	close(mine);
	close(last);
	close(fd);
}

Test(socket, a_listener_that_is_gone)
{
	struct addr peer;
	int got = 0;
	cr_expect_eq(socket_accept(-1, &peer, &got), ERR_IO);
	cr_expect_eq(got, -1);
	socket_close(-1);
}

/* ---- unix sockets ---- */

static char dir[64], path[128];

static struct addr unix_addr(void)
{
	char text[140];
	snprintf(dir, sizeof(dir), "/tmp/weir-test-XXXXXX");
	cr_assert(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	snprintf(text, sizeof(text), "unix:%s", path);
	return parse(text);
}

static void remove_unix(void)
{
	unlink(path);
	rmdir(dir);
}

Test(socket, unix_sockets)
{
	struct addr addr = unix_addr();
	int fd;
	struct stat st;
	cr_assert_eq(socket_listen(&addr, false, 0620, &fd), ERR_OK);
	cr_assert_eq(stat(path, &st), 0);
	cr_expect_eq(st.st_mode & 0777, 0620);
	struct addr peer = hello(fd, &addr);
	cr_expect(addr_is_unix(&peer));
	close(fd);
	remove_unix();
}

Test(socket, a_stale_unix_socket_is_replaced)
{
	struct addr addr = unix_addr(), peer;
	int first = listen_on(&addr, false), second;
	/* while somebody listens it is not stale */
	cr_expect_eq(socket_listen(&addr, false, 0, &second), ERR_EXISTS);
	close(accept_from(first, &peer)); /* who knocked to see */
	hello(first, &addr);
	close(first);
	second = listen_on(&addr, false);
	hello(second, &addr);
	close(second);
	remove_unix();
}

Test(socket, a_file_in_the_way_stays)
{
	struct addr addr = unix_addr();
	int file = open(path, O_CREAT | O_WRONLY, 0600), fd;
	cr_assert_geq(file, 0);
	close(file);
	cr_expect_eq(socket_listen(&addr, false, 0, &fd), ERR_EXISTS);
	cr_expect_eq(access(path, F_OK), 0);
	remove_unix();
}

Test(socket, nobody_behind_a_unix_socket)
{
	struct addr addr = unix_addr();
	int fd = listen_on(&addr, false), mine = 5;
	bool done;
	close(fd);
	cr_expect_eq(socket_connect(&addr, &mine, &done), ERR_REFUSED);
	cr_expect_eq(mine, -1);
	unlink(path);
	cr_expect_neq(socket_connect(&addr, &mine, &done), ERR_OK);
	cr_expect_eq(mine, -1);
	remove_unix();
}
