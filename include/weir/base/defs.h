/* SPDX-License-Identifier: MIT */
/*
 * Compile-time glue that every folder shares.  Nothing here has a run-time cost.
 */
#ifndef WEIR_BASE_DEFS_H
#define WEIR_BASE_DEFS_H

#include <stddef.h>

#define WEIR_CACHE_LINE 64

/* As many as `workers` may say (tbl/directives.def): bounds of arrays on the stack. */
#define WORKERS_MAX 256

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt_idx, first_idx) __attribute__((format(printf, fmt_idx, first_idx)))
#define CACHE_ALIGNED __attribute__((aligned(WEIR_CACHE_LINE)))
#define UNUSED __attribute__((unused))
#define NOINLINE __attribute__((noinline))   /* what is rare keeps its registers to itself */
#define COLD __attribute__((noinline, cold)) /* an error's way */

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* The object of type `type` whose member `member` is at `ptr`. */
#define container_of(ptr, type, member) ((type *)(void *)(((char *)(ptr)) - offsetof(type, member)))

#endif
