/* SPDX-License-Identifier: MIT */
/* How many CPUs this process can keep busy. */
#ifndef WEIR_BASE_CPUS_H
#define WEIR_BASE_CPUS_H

/* Those it may run on, and no more than its cgroup's quota; at least 1. */
unsigned cpus_usable(void);

/*
 * The CPU quota of this process's cgroup and those above it, rounded up; 0: none.
 * Versions 1 and 2.  `root` stands before all paths: "", or a directory of a test's.
 */
unsigned cpus_quota(const char *root);

#endif
