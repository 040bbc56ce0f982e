/* SPDX-License-Identifier: MIT */
/* What the service manager is told, where there is one. */
#include "boot/control.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int manager;

/* At this place, as NOTIFY_SOCKET writes it. */
static void listen_at(const char *place)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(place));
	memcpy(addr.sun_path, place, strlen(place));
	if (*place == '@')
		addr.sun_path[0] = '\0';
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	cr_assert_eq(bind(manager, (struct sockaddr *)&addr, len), 0);
	setenv("NOTIFY_SOCKET", place, 1);
}

static void expect_told(const char *place)
{
	char text[100];
	listen_at(place);
	cr_expect(notify_wanted() && notify_state("READY=1"), "%s: %s", place, strerror(errno));
	ssize_t n = recv(manager, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	cr_expect_str_eq(text, "READY=1", "%s", place);
	close(manager);
}

Test(notify, by_a_path_or_a_name_without_one)
{
	char place[80];
	snprintf(place, sizeof(place), "/tmp/weir-notify-%d", (int)getpid());
	expect_told(place);
	unlink(place);
	snprintf(place, sizeof(place), "@weir-notify-%d", (int)getpid());
	expect_told(place);
}

Test(notify, nobody_wants_it_or_it_cannot_be)
{
	static char place[200];
	unsetenv("NOTIFY_SOCKET");
	cr_expect(!notify_wanted() && notify_state("READY=1"));
	setenv("NOTIFY_SOCKET", "relative", 1);
	cr_expect(!notify_state("READY=1") && errno == EAFNOSUPPORT);
	memset(place, 'a', sizeof(place) - 1);
	place[0] = '/';
	setenv("NOTIFY_SOCKET", place, 1);
	cr_expect(!notify_state("READY=1") && errno == EAFNOSUPPORT);
	setenv("NOTIFY_SOCKET", "/tmp/weir-notify-of-nobody", 1);
	cr_expect(!notify_state("READY=1") && errno == ENOENT);
}
