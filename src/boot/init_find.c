/* SPDX-License-Identifier: MIT */
/* Who answers HTTP on this machine: the kernel's table of sockets, and one request to each. */
#include "init.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "weir/base/clock.h"
#include "weir/net/holder.h"

#define STATE_LISTEN 0x0a
#define PATIENCE_US UINT64_C(1000000)

/* Services that are no app servers; a request would be a line in their logs at best. */
static const uint16_t others[] = {21,   22,   23,   25,   53,   110,  111,  139,  143,   389,  445,
				  465,  587,  631,  636,  873,  993,  995,  1433, 1521,  2049, 2181,
				  2379, 2380, 3306, 3389, 5432, 5672, 5900, 6379, 11211, 27017};

static bool is_other(uint16_t port)
{
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
		if (others[i] == port)
			return true;
	return false;
}

static bool is_known(const struct init_found *found, size_t n, uint16_t port)
{
	for (size_t i = 0; i < n; i++)
		if (found[i].port == port)
			return true;
	return false;
}

/* As /proc/net/tcp writes addresses: words in the order of the machine. */
static bool answers_loopback(const char *address, bool six)
{
	if (!six)
		return strcmp(address, "00000000") == 0 || strcmp(address + 6, "7F") == 0;
	return strcmp(address, "00000000000000000000000000000000") == 0 ||
	       strcmp(address, "00000000000000000000000001000000") == 0;
}

/* A socket that listens at [::] mostly takes 127.0.0.1 as well: [::1] is what is sure. */
static size_t read_table(const char *table, bool six, struct init_found *found, size_t n)
{
	char line[512], address[33];
	FILE *file = fopen(table, "re");
	while (file && n < INIT_FOUND_MAX && fgets(line, sizeof(line), file)) {
		unsigned port, state;
		if (sscanf(line, " %*u: %32[0-9A-F]:%x %*[0-9A-F]:%*x %x", address, &port,
			   &state) != 3 ||
		    state != STATE_LISTEN || !answers_loopback(address, six) ||
		    is_other((uint16_t)port) || is_known(found, n, (uint16_t)port))
			continue;
		found[n++] = (struct init_found){.port = (uint16_t)port, .six = six};
	}
	if (file)
		fclose(file);
	return n;
}

static bool address_of(const struct init_found *found, struct addr *addr)
{
	char text[32];
	snprintf(text, sizeof(text), found->six ? "[::1]:%u" : "127.0.0.1:%u", found->port);
	return addr_parse(view_str(text), addr);
}

/* A descriptor that has been sent a request, or -1. */
static int ask(const struct init_found *found)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\n"
				      "User-Agent: weir-init\r\nConnection: close\r\n\r\n";
	struct addr addr;
	if (!address_of(found, &addr))
		return -1;
	int fd = socket(addr.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (connect(fd, &addr.sa, addr.len) && errno != EINPROGRESS) {
		close(fd);
		return -1;
	}
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	if (poll(&p, 1, 100) == 1 &&
	    send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) == sizeof(request) - 1)
		return fd;
	close(fd);
	return -1;
}

/* Whether it is HTTP that came; the rest of it is of no interest. */
static bool is_http(int fd)
{
	char head[8];
	return recv(fd, head, sizeof(head), 0) == sizeof(head) && memcmp(head, "HTTP/1.", 7) == 0;
}

/* Who is silent until the time is over is no HTTP server. */
static void hear(struct pollfd *asked, size_t n, bool *http)
{
	uint64_t end = clock_us() + PATIENCE_US, now;
	size_t open = 0;
	for (size_t i = 0; i < n; i++)
		open += asked[i].fd >= 0;
	while (open && (now = clock_us()) < end) {
		if (poll(asked, n, (int)((end - now) / 1000) + 1) <= 0)
			continue;
		for (size_t i = 0; i < n; i++) {
			if (asked[i].fd < 0 || !asked[i].revents)
				continue;
			http[i] = is_http(asked[i].fd);
			close(asked[i].fd);
			asked[i].fd = -1;
			open--;
		}
	}
	for (size_t i = 0; i < n; i++)
		if (asked[i].fd >= 0)
			close(asked[i].fd);
}

static void name_it(struct init_found *found)
{
	struct addr addr;
	struct holder holder;
	if (address_of(found, &addr) && holder_find(&addr, &holder))
		memcpy(found->name, holder.name, sizeof(found->name));
}

static void sort_by_port(struct init_found *found, size_t n)
{
	for (size_t i = 1; i < n; i++)
		for (size_t k = i; k > 0 && found[k].port < found[k - 1].port; k--) {
			struct init_found swap = found[k];
			found[k] = found[k - 1];
			found[k - 1] = swap;
		}
}

size_t init_find(struct init_found found[INIT_FOUND_MAX])
{
	struct pollfd asked[INIT_FOUND_MAX];
	bool http[INIT_FOUND_MAX] = {false};
	size_t n = read_table("/proc/net/tcp", false, found, 0), n_http = 0;
	n = read_table("/proc/net/tcp6", true, found, n);
	for (size_t i = 0; i < n; i++) {
		name_it(&found[i]);
		bool ours = strcmp(found[i].name, "weir") == 0;
		asked[i] = (struct pollfd){.fd = ours ? -1 : ask(&found[i]), .events = POLLIN};
	}
	hear(asked, n, http);
	for (size_t i = 0; i < n; i++)
		if (http[i])
			found[n_http++] = found[i];
	sort_by_port(found, n_http);
	return n_http;
}
