/* SPDX-License-Identifier: MIT */
/* Who started weir, and whether a hand-over would outlive it. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "boot/supervisor.h"

struct row {
	struct supervisor s;
	const char *says; /* NULL: it may */
};

Test(supervisor, lets_hand_over)
{
	static const struct row rows[] = {
	    {{.pid = 100, .parent = "bash"}, NULL},
	    {{.pid = 100, .parent = ""}, NULL},
	    {{.pid = 100, .parent = "systemd", .notified = true, .of_a_service = true}, NULL},
	    {{.pid = 100, .parent = "systemd", .of_a_service = true}, "Type=notify"},
	    {{.pid = 100, .parent = "systemd"}, NULL}, /* a daemon that lost its shell */
	    {{.pid = 1, .parent = ""}, "process 1"},
	    {{.pid = 1, .parent = "", .notified = true}, "process 1"},
	    {{.pid = 7, .parent = "tini"}, "container"},
	    {{.pid = 7, .parent = "docker-init"}, "container"},
	    {{.pid = 7, .parent = "dumb-init"}, "container"},
	    {{.pid = 7, .parent = "runsv"}, "anew"},
	    {{.pid = 7, .parent = "s6-supervise"}, "anew"},
	    {{.pid = 7, .parent = "supervisord"}, "anew"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct str why = STR_INIT;
		bool may = supervisor_lets_hand_over(&rows[i].s, &why);
		cr_assert_eq(may, rows[i].says == NULL, "row %zu: %s", i, why.ptr);
		if (rows[i].says)
			cr_assert(strstr(why.ptr, rows[i].says), "row %zu: %s", i, why.ptr);
		str_fini(&why);
	}
}

Test(supervisor, finds_this_process)
{
	char pid[16];
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	unsetenv("NOTIFY_SOCKET");
	setenv("SYSTEMD_EXEC_PID", pid, 1);
	struct supervisor s = supervisor_find();
	cr_assert(s.pid == getpid() && s.of_a_service && !s.notified && s.parent[0]);
	setenv("SYSTEMD_EXEC_PID", "1", 1);
	setenv("NOTIFY_SOCKET", "/run/x", 1);
	s = supervisor_find();
	cr_assert(!s.of_a_service && s.notified);
}
