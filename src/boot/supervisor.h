/* SPDX-License-Identifier: MIT */
/*
 * Who started this process, and what its end would mean to them: a hand-over ends
 * it, and is worth nothing where the new process would be ended along with it.
 */
#ifndef WEIR_BOOT_SUPERVISOR_H
#define WEIR_BOOT_SUPERVISOR_H

#include <stdbool.h>
#include <sys/types.h>

#include "weir/base/str.h"

struct supervisor {
	pid_t pid;         /* of this process */
	char parent[32];   /* what its parent is called; "" where that cannot be known */
	bool notified;     /* a service manager hears which process is the main one */
	bool of_a_service; /* this process is one's main process */
};

struct supervisor supervisor_find(void);
/* False and a sentence when the new process would not outlive this one. */
bool supervisor_lets_hand_over(const struct supervisor *supervisor, struct str *why);

#endif
