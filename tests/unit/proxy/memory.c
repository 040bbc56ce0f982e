/* SPDX-License-Identifier: MIT */
/* The linker leads weir's calls of the allocator here (--wrap). */
#include "memory.h"

#include <errno.h>
#include <stdlib.h>

#include "weir/base/slab.h"

static bool watching, refused;
static size_t left; /* until one is refused; 0: none */

static bool refuses(void)
{
	if (!watching || left == 0 || --left > 0)
		return false;
	refused = true;
	errno = ENOMEM;
	return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *ptr, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);

void *__wrap_malloc(size_t size)
{
	return refuses() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return refuses() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *ptr, size_t size)
{
	return refuses() ? NULL : __real_realloc(ptr, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	return refuses() ? NULL : __real_aligned_alloc(alignment, size);
}

#ifdef WEIR_CHECK_SLOW
/* Those without a bound are nghttp2's, which frees a block twice when it gets none. */
static bool slab_is_refused(const struct slab *slab)
{
	return slab->max != UINT32_MAX && refuses();
}
#endif

void memory_refuse(size_t n)
{
	left = n;
	refused = false;
#ifdef WEIR_CHECK_SLOW
	slab_refuses = slab_is_refused;
#endif
}

bool memory_has_refused(void)
{
	return refused;
}

void memory_watch(bool on)
{
	watching = on;
}

bool memory_is_watched(void)
{
	return watching;
}
