/* SPDX-License-Identifier: MIT */
/*
 * Counts what this process allocates: by standing in front of glibc's
 * allocator, or by the hooks of AddressSanitizer where it stands there itself.
 */
#include "model.h"

static unsigned long count;

unsigned long allocations(void)
{
	return count;
}

#if defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN 1
#endif
#endif

#ifdef HAS_ASAN
/* gcc ships the function but not sanitizer/allocator_interface.h */
int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void *, size_t),
					      void (*on_free)(const volatile void *));

static void on_malloc(const volatile void *ptr, size_t size)
{
	(void)ptr;
	(void)size;
	count++;
}

static void on_free(const volatile void *ptr)
{
	(void)ptr;
}

__attribute__((constructor)) static void install(void)
{
	__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
}
#else
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *ptr, size_t size);

__attribute__((visibility("default"))) void *malloc(size_t size)
{
	count++;
	return __libc_malloc(size);
}

__attribute__((visibility("default"))) void *calloc(size_t n, size_t size)
{
	count++;
	return __libc_calloc(n, size);
}

__attribute__((visibility("default"))) void *realloc(void *ptr, size_t size)
{
	count++;
	return __libc_realloc(ptr, size);
}
#endif
