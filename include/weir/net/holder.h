/* SPDX-License-Identifier: MIT */
/* Who listens at an address, for a sentence about why we cannot. */
#ifndef WEIR_NET_HOLDER_H
#define WEIR_NET_HOLDER_H

#include <stdbool.h>
#include <sys/types.h>

#include "weir/base/addr.h"

struct holder {
	pid_t pid;
	char name[32];
};

/*
 * A process that listens at the port of this TCP address; false when it cannot be
 * known, as of other users' processes.  Reads /proc: not where somebody waits.
 */
bool holder_find(const struct addr *addr, struct holder *out);

#endif
