/* SPDX-License-Identifier: MIT */
/* PROXY headers, from who is in front of weir and to who is behind it. */
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "process.h"
#include "weir/base/defs.h"

static int behind;
static struct sockaddr_in front; /* of the listener */
static char address[40];

static void begin(void)
{
	signal(SIGPIPE, SIG_IGN); /* a listener that refuses closes */
	process_begin();
	own_address(&front, address, sizeof(address));
	behind = listen_as("behind");
}

static void end(void)
{
	close(behind);
	process_end();
}

TestSuite(proxy_header, .init = begin, .fini = end, .timeout = 300);

static void start_with(const char *listener, const char *send_proxy)
{
	char text[1000];
	snprintf(text, sizeof(text),
		 "workers: 1\nsandbox: off\nstatus: {socket: '%s/status'}\n"
		 "listeners: [{name: web, bind: '%s'%s}]\n"
		 "pools: {app: {send_proxy: %s, backends: ['unix:%s/behind']}}\n",
		 folder, address, listener, send_proxy, folder);
	write_text(text);
	start_weir();
}

static int come(void)
{
	return connect_at(&front);
}

#define FROM ", proxy_protocol: {from: [127.0.0.0/8]}"
#define GET "GET / HTTP/1.1\r\nHost: a.test\r\nX-Request-Id: one\r\nConnection: close\r\n\r\n"

/* What comes to the backend, which then answers. */
static size_t heard(char *text, size_t size)
{
	size_t len = 0;
	int fd = accept(behind, NULL, NULL);
	cr_assert_geq(fd, 0);
	for (ssize_t n; !memmem(text, len, "\r\n\r\n", 4) || len < 40; len += (size_t)n) {
		n = recv(fd, text + len, size - 1 - len, 0);
		cr_assert_gt(n, 0);
	}
	text[len] = '\0';
	put(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
	close(fd);
	return len;
}

Test(proxy_header, the_client_is_who_it_says)
{
	char text[4000];
	start_with(FROM, "v1");
	int fd = come();
	put(fd, "PROXY TCP4 192.0.2.7 198.51.100.1 5000 80\r\n" GET);
	heard(text, sizeof(text));
	cr_expect(strncmp(text, "PROXY TCP4 192.0.2.7 198.51.100.1 5000 80\r\nGET / ", 49) == 0,
		  "%s", text);
	cr_expect(strcasestr(text, "\r\nX-Forwarded-For: 192.0.2.7\r\n"), "%s", text);
	cr_expect(strncmp(take(fd), "HTTP/1.1 200 ", 13) == 0);
	fd = come(); /* piece by piece */
	for (const char *at = "PROXY TCP6 2001:db8::1 2001:db8::2 5000 80\r\n"; *at; at++) {
		put(fd, (const char[]){*at, '\0'});
		usleep(100);
	}
	put(fd, GET);
	heard(text, sizeof(text));
	cr_expect(strncmp(text, "PROXY TCP6 2001:db8::1 2001:db8::2 5000 80\r\nGET / ", 50) == 0,
		  "%s", text);
	take(fd);
	stop_weir();
}

Test(proxy_header, who_sends_none_is_closed)
{
	start_with(FROM, "off");
	static const char *const said[] = {GET, "PROXY NONSENSE\r\n" GET,
					   "PROXY TCP4 1.2.3.4\r\n" GET};
	for (size_t i = 0; i < ARRAY_LEN(said); i++) {
		int fd = come();
		put(fd, said[i]);
		cr_expect_str_empty(take(fd), "%zu", i);
	}
	stop_weir();
}

Test(proxy_header, one_that_nobody_asked_for_is_refused)
{
	start_with("", "off");
	int fd = come();
	put(fd, "PROXY TCP4 192.0.2.7 198.51.100.1 5000 80\r\n" GET);
	const char *text = take(fd);
	cr_expect(strncmp(text, "HTTP/1.1 400 ", 13) == 0, "%s", text);
	stop_weir();
}

Test(proxy_header, version_2_names_the_request)
{
	static const unsigned char signature[] = "\r\n\r\n\0\r\nQUIT\n";
	char text[4000];
	start_with(FROM, "v2");
	int fd = come();
	put(fd, "PROXY TCP4 192.0.2.7 198.51.100.1 5000 80\r\n" GET);
	size_t len = heard(text, sizeof(text));
	cr_assert(len > 28 && memcmp(text, signature, 12) == 0);
	cr_expect_eq(text[12], 0x21);
	cr_expect_eq(text[13], 0x11);
	cr_expect(memcmp(text + 16, "\xc0\x00\x02\x07\xc6\x33\x64\x01\x13\x88\x00\x50", 12) == 0);
	size_t size = 16 + (size_t)(unsigned char)text[14] * 256 + (unsigned char)text[15];
	/* PP2_TYPE_UNIQUE_ID, and as long as the request's id */
	const char *request = text + size;
	cr_expect(strncmp(request, "GET / HTTP/1.1\r\n", 16) == 0, "%s", request);
	const char *id = strcasestr(request, "\r\nX-Request-Id: ");
	cr_assert_not_null(id);
	size_t id_len = strcspn(id + 16, "\r");
	const char *in_header = memmem(text + 28, size - 28, id + 16, id_len);
	cr_assert_not_null(in_header);
	cr_expect_eq(in_header[-3], 5);
	take(fd);
	stop_weir();
}
