/* SPDX-License-Identifier: MIT */
/* The linker leads weir's calls of the allocator here (--wrap). */
#include "memory.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

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

/* ---- what goes from one world to the next ---- */

/*
 * A mapping that is given back costs a flush of every core's translations, and its pages a fault
 * each when they come again: worlds that come and go by the thousand hand theirs on.
 */
#define KEPT_MAX 64
#define KEPT_BYTES ((size_t)256 * 1024)

static struct {
	void *ptr;
	size_t len;
} kept[KEPT_MAX];
static size_t n_kept;

/* Where there is a sanitizer, who uses what was given back is told of it all the same. */
extern void __asan_poison_memory_region(const volatile void *ptr, size_t len) __attribute__((weak));
extern void __asan_unpoison_memory_region(const volatile void *ptr, size_t len)
    __attribute__((weak));

void *__real_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset);
int __real_munmap(void *ptr, size_t len);

void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
	bool plain = !at && fd < 0 && prot == (PROT_READ | PROT_WRITE) &&
		     flags == (MAP_PRIVATE | MAP_ANONYMOUS);
	for (size_t i = n_kept; plain && i-- > 0;) {
		if (kept[i].len != len)
			continue;
		void *ptr = kept[i].ptr;
		kept[i] = kept[--n_kept];
		if (__asan_unpoison_memory_region)
			__asan_unpoison_memory_region(ptr, len);
		return memset(ptr, 0, len);
	}
	return __real_mmap(at, len, prot, flags, fd, offset);
}

/* Only what is aligned to its length, as slabs want it. */
int __wrap_munmap(void *ptr, size_t len)
{
	if (len > KEPT_BYTES || (uintptr_t)ptr % len || n_kept == KEPT_MAX)
		return __real_munmap(ptr, len);
	if (__asan_poison_memory_region)
		__asan_poison_memory_region(ptr, len);
	kept[n_kept].ptr = ptr;
	kept[n_kept++].len = len;
	return 0;
}

void memory_keep(void)
{
	mallopt(M_MMAP_THRESHOLD, 32 * 1024 * 1024);
	mallopt(M_TRIM_THRESHOLD, 256 * 1024 * 1024);
}

/* ---- what is refused ---- */

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
