/* SPDX-License-Identifier: MIT */
/* The end of a process that has found itself to be wrong: a sentence, and a core. */
#include "weir/base/check.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void check_failed(const char *expr, const char *file, int line, const char *func)
{
	fprintf(stderr, "weir: internal error: %s failed at %s:%d (%s); please report it\n", expr,
		file, line, func);
	fflush(stderr);
	abort();
}
