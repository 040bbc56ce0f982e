/* SPDX-License-Identifier: MIT */
/*
 * Memory that runs out once: of what weir asks for in its own turns, out of the heap and,
 * in builds with WEIR_CHECK_SLOW, out of its slabs.
 */
#ifndef TESTS_UNIT_PROXY_MEMORY_H
#define TESTS_UNIT_PROXY_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* The n-th time from now memory is refused, once; 0: never. */
void memory_refuse(size_t n);
/* Whether that has happened. */
bool memory_has_refused(void);
/* What worlds give back stays in this process, for the next one. */
void memory_keep(void);
/* Only what is asked for between these is counted. */
void memory_watch(bool on);
bool memory_is_watched(void);

#endif
