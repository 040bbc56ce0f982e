/* SPDX-License-Identifier: MIT */
/* Who listens at an address, for a sentence about why we cannot. */
#ifndef WEIR_NET_HOLDER_H
#define WEIR_NET_HOLDER_H

#include <stdbool.h>
#include <sys/types.h>

#include "weir/base/addr.h"
#include "weir/base/str.h"

struct holder {
	pid_t pid;
	char name[32];
};

/*
 * A process that listens at the port of this TCP address, or at this unix socket, which it
 * connects to; false when it cannot be known, as of other users' processes.  Reads /proc: not
 * where somebody waits.
 */
bool holder_find(const struct addr *addr, struct holder *out);

/* "it is in use", and by whom where that can be known: why bind(2) said EADDRINUSE. */
void holder_say(const struct addr *addr, struct str *why);

#endif
