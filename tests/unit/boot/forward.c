/* SPDX-License-Identifier: MIT */
/* Who may use the status port: an auth service is asked, which is the test. */
#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "process.h"
#include "weir/base/defs.h"

static int services[2];
static struct sockaddr_in port;

static void begin(void)
{
	process_begin();
	services[0] = listen_as("auth1");
	services[1] = listen_as("auth2");
}

static void end(void)
{
	for (size_t i = 0; i < ARRAY_LEN(services); i++)
		if (services[i] >= 0)
			close(services[i]);
	process_end();
}

TestSuite(forward, .init = begin, .fini = end, .timeout = 300);

static void start_with(const char *more)
{
	char text[1500], address[40];
	own_address(&port, address, sizeof(address));
	snprintf(text, sizeof(text),
		 "workers: 1\nsandbox: off\n"
		 "status: {socket: '%s/status', bind: '%s', hosts: [status.test], auth: {forward: "
		 "{pool: auth, path: "
		 "/check%s}}}\n"
		 "listeners: [{bind: 'unix:%s/web'}]\n"
		 "pools:\n"
		 "  app: {backends: ['unix:%s/backend']}\n"
		 "  auth: {backends: ['unix:%s/auth1', 'unix:%s/auth2']}\n"
		 "routes: [{pool: app}]\n",
		 folder, address, more, folder, folder, folder, folder);
	write_text(text);
	start_weir();
}

static int come(void)
{
	int fd = connect_at(&port);
	put(fd, "GET /v1/status?a=b HTTP/1.1\r\nHost: status.test\r\nCookie: a=1\r\n"
		"Authorization: Bearer x\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n"
		"X-Forwarded-For: 6.6.6.6\r\nUser-Agent: tester\r\n\r\n");
	return fd;
}

/* Whichever is asked hears that, and says this. */
static const char *answer(const char *said)
{
	static char text[4000];
	size_t len = 0;
	struct pollfd asked[2] = {{services[0], POLLIN, 0}, {services[1], POLLIN, 0}};
	cr_assert_geq(poll(asked, 2, PATIENCE), 1);
	int fd = accept(services[asked[0].revents ? 0 : 1], NULL, NULL);
	text[0] = '\0';
	for (ssize_t n = 1; n > 0 && !strstr(text, "\r\n\r\n"); text[len] = '\0') {
		n = recv(fd, text + len, sizeof(text) - 1 - len, 0);
		len += n > 0 ? (size_t)n : 0;
	}
	put(fd, said);
	close(fd);
	return text;
}

static void expect(const char *said, const char *begins, const char *has)
{
	int fd = come();
	answer(said);
	const char *text = take(fd);
	cr_expect(strncmp(text, begins, strlen(begins)) == 0, "%s: %s", said, text);
	cr_expect_not_null(strstr(text, has), "%s: %s", said, text);
}

Test(forward, what_the_service_is_told)
{
	start_with("");
	int fd = come();
	const char *text = answer("HTTP/1.1 204 Fine\r\nConnection: close\r\n\r\n");
	static const char begins[] = "GET /check HTTP/1.1\r\nHost: status.test\r\n";
	cr_expect(strncmp(text, begins, strlen(begins)) == 0, "%s", text);
	static const char *const there[] = {"Cookie: a=1",
					    "Authorization: Bearer x",
					    "X-Forwarded-Method: GET",
					    "X-Forwarded-Uri: /v1/status?a=b",
					    "X-Forwarded-Proto: http",
					    "X-Forwarded-Host: status.test",
					    "X-Forwarded-For: 127.0.0.1"};
	for (size_t i = 0; i < ARRAY_LEN(there); i++)
		cr_expect_not_null(strstr(text, there[i]), "%s: %s", there[i], text);
	cr_expect(!strstr(text, "X-Hop") && !strstr(text, "6.6.6.6") && !strstr(text, "tester"),
		  "%s", text);
	text = take(fd);
	cr_expect(strncmp(text, "HTTP/1.1 200 ", 13) == 0 && strstr(text, "\"version\""), "%s",
		  text);
	stop_weir();
}

Test(forward, what_it_says_else_is_for_the_client)
{
	start_with("");
	expect("HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\nContent-Type: text/html\r\n"
	       "Content-Length: 4\r\nConnection: close\r\n\r\nback",
	       "HTTP/1.1 401 ", "\r\n\r\nback");
	expect("HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n"
	       "Connection: close\r\n\r\n",
	       "HTTP/1.1 401 ", "\r\nWWW-Authenticate: Basic\r\n");
	expect("HTTP/1.1 403 No\r\nContent-Type: text/html\r\nContent-Length: 1\r\n"
	       "Connection: close\r\n\r\na",
	       "HTTP/1.1 403 ", "\r\nContent-Type: text/html\r\n");
	expect("HTTP/1.1 302 Go\r\nLocation: /login\r\nContent-Length: 0\r\n"
	       "Connection: close\r\n\r\n",
	       "HTTP/1.1 302 ", "\r\nLocation: /login\r\n");
	expect("HTTP/1.1 304 Same\r\nConnection: close\r\n\r\n", "HTTP/1.1 502 ",
	       "what it answered is no answer to this");
	stop_weir();
}

Test(forward, another_one_is_asked_where_one_fails)
{
	start_with("");
	int fd = come();
	answer("");
	answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
	cr_expect(strncmp(take(fd), "HTTP/1.1 200 ", 13) == 0);
	fd = come();
	answer("");
	answer("");
	const char *text = take(fd);
	cr_expect(strncmp(text, "HTTP/1.1 502 ", 13) == 0 &&
		      strstr(text, "the service of status.auth.forward: it could not be asked"),
		  "%s", text);
	stop_weir();
}

Test(forward, one_that_does_not_answer_in_time)
{
	start_with(", timeout: 100ms");
	int fd = come();
	const char *text = take(fd);
	cr_expect(strncmp(text, "HTTP/1.1 504 ", 13) == 0 && strstr(text, "in time"), "%s", text);
	stop_weir();
}
