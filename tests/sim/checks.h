/* SPDX-License-Identifier: MIT */
/* What simulations are to show, said where it does not hold. */
#ifndef TESTS_SIM_CHECKS_H
#define TESTS_SIM_CHECKS_H

#include <stdbool.h>
#include <stdio.h>

static inline bool expect(bool holds, const char *what, const char *where, double value)
{
	if (!holds)
		printf("FAILED: %s: %s: %.2f\n", where, what, value);
	return holds;
}

#endif
