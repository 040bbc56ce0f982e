/* SPDX-License-Identifier: MIT */
/* What the kernel says about this process; for the process_* metrics. */
#ifndef WEIR_ADMIN_PROCESS_H
#define WEIR_ADMIN_PROCESS_H

#include <stdint.h>

struct process_facts {
	uint64_t cpu_us; /* user and system time */
	/* 0: not known (no /proc) */
	uint64_t resident_bytes, virtual_bytes;
	uint64_t open_fds;
	uint64_t max_fds;
};

void process_facts_get(struct process_facts *out);

#endif
