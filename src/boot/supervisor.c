/* SPDX-License-Identifier: MIT */
/* Who started this process, and whether it would follow a hand-over. */
#include "supervisor.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control.h"

#define CONTAINER "ends the container when this process ends, and the new one with it"
#define RESTARTS "starts weir anew when this process ends, beside the new one"

/* Parents that look after one process alone. */
static const struct {
	const char *name, *does;
} parents[] = {
    {"tini", CONTAINER},       {"docker-init", CONTAINER}, {"dumb-init", CONTAINER},
    {"catatonit", CONTAINER},  {"conmon", CONTAINER},      {"containerd-shim", CONTAINER},
    {"runsv", RESTARTS},       {"s6-supervise", RESTARTS}, {"supervise", RESTARTS},
    {"supervisord", RESTARTS},
};

/* At most 15 bytes, as the kernel keeps them. */
static void read_parent(char *out, size_t size)
{
	char path[32];
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)getppid());
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, out, size - 1) : 0;
	if (fd >= 0)
		close(fd);
	out[n > 0 ? n : 0] = '\0';
	out[strcspn(out, "\n")] = '\0';
}

struct supervisor supervisor_find(void)
{
	const char *service = getenv("SYSTEMD_EXEC_PID");
	struct supervisor s = {
	    .pid = getpid(),
	    .notified = notify_wanted(),
	    .of_a_service = service && strtol(service, NULL, 10) == getpid(),
	};
	read_parent(s.parent, sizeof(s.parent));
	return s;
}

bool supervisor_lets_hand_over(const struct supervisor *s, struct str *why)
{
	if (s->pid == 1) {
		str_text(why, "this is process 1: its end is the end of the container, and of the "
			      "new process with it; replace the container instead, or reload");
		return false;
	}
	if (s->notified) /* whoever that is follows MAINPID= */
		return true;
	if (s->of_a_service) {
		str_text(why, "systemd would take the end of this process for the end of the "
			      "service: set Type=notify and NotifyAccess=main in its unit");
		return false;
	}
	for (size_t i = 0; i < ARRAY_LEN(parents); i++) {
		if (strcmp(s->parent, parents[i].name) != 0)
			continue;
		str_printf(why, "%s %s; restart it there instead, or reload", s->parent,
			   parents[i].does);
		return false;
	}
	return true;
}
