/* SPDX-License-Identifier: MIT */
/*
 * A clock that stands still until it is told to go on.  From clock_stop on every
 * clock_gettime of the process, weir's, libev's and the C library's, reads it; each
 * test is a process of its own, so that nobody else does.  Chance stands still as well:
 * getrandom gives zeroes.
 */
#ifndef TESTS_UNIT_PROXY_CLOCK_H
#define TESTS_UNIT_PROXY_CLOCK_H

#include <stdint.h>

void clock_stop(void);
void clock_advance(uint64_t us);

#endif
