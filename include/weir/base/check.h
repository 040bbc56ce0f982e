/* SPDX-License-Identifier: MIT */
/*
 * Checks in three severities.
 *
 *   check(x)       must hold, always compiled; ends the process with the place
 *   check_slow(x)  walks structures; only in debug and sanitizer builds
 *   magic          first member of every object that crosses a callback
 *
 * Nothing that a peer can send may ever fail a check(): hostile input is an
 * error path, not a broken invariant.
 */
#ifndef WEIR_BASE_CHECK_H
#define WEIR_BASE_CHECK_H

#include "weir/base/defs.h"

_Noreturn void check_failed(const char *expr, const char *file, int line, const char *func);

#define check(x)                                                        \
	do {                                                            \
		if (unlikely(!(x)))                                     \
			check_failed(#x, __FILE__, __LINE__, __func__); \
	} while (0)

#ifdef WEIR_CHECK_SLOW
#define check_slow(x) check(x)
#else
#define check_slow(x) \
	do {          \
	} while (0)
#endif

/* A stale pointer handed back by an event loop dies here, in production too. */
#define check_magic(obj, value) check((obj) != NULL && (obj)->magic == (value))

#endif
