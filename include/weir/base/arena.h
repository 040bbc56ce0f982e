/* SPDX-License-Identifier: MIT */
/*
 * An arena hands out memory that all dies at once.  One per generation (a
 * loaded configuration) and one wherever else many small objects share a death.
 *
 *   struct arena *a = arena_new();
 *   struct conf_pool *p = arena_zalloc(a, sizeof(*p));
 *   arena_free(a);             // p is gone
 *
 * Thread: one owner at a time.  Out of memory ends the process with a
 * sentence: arenas are used at start and on reload, never for a request.
 */
#ifndef WEIR_BASE_ARENA_H
#define WEIR_BASE_ARENA_H

#include <stddef.h>

#include "weir/base/defs.h"
#include "weir/base/view.h"

struct arena;

struct arena *arena_new(void);
void arena_free(struct arena *arena); /* NULL is fine */

/* Aligned for any type.  Zero bytes give a valid, distinct pointer. */
void *arena_alloc(struct arena *arena, size_t size);
void *arena_zalloc(struct arena *arena, size_t size);
/* Array of n zeroed members; ends the process on overflow. */
void *arena_array(struct arena *arena, size_t n, size_t size);
/* Aligned to a cache line, zeroed. */
void *arena_zalloc_line(struct arena *arena, size_t size);

/* Terminated copies; the view's length excludes the terminator. */
char *arena_strdup(struct arena *arena, const char *s);
struct view arena_view(struct arena *arena, struct view v);
char *arena_printf(struct arena *arena, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Calls fn(arg) when the arena is freed, latest first. */
void arena_defer(struct arena *arena, void (*fn)(void *arg), void *arg);

/* Bytes taken from the heap so far. */
size_t arena_size(const struct arena *arena);

#endif
