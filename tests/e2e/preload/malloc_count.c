/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into weir by test_malloc.py: counts what worker threads ask of the
 * heap.  The count is kept in the file that MALLOC_COUNT_FILE names, 8 bytes.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

/* glibc's own names of what is replaced here */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *ptr, size_t size);
void *__libc_memalign(size_t align, size_t size);

static _Atomic uint64_t *count;
static __thread int is_worker __attribute__((tls_model("initial-exec")));

__attribute__((constructor)) static void open_count(void)
{
	const char *path = getenv("MALLOC_COUNT_FILE");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	if (fd < 0)
		return;
	void *map = mmap(NULL, sizeof(*count), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map != MAP_FAILED)
		count = map;
}

static void note(void)
{
	char name[16] = "";
	if (!count)
		return;
	if (!is_worker) { /* a thread is named after it was started: look until it is */
		prctl(PR_GET_NAME, name);
		is_worker = strncmp(name, "worker", 6) == 0;
	}
	if (is_worker)
		atomic_fetch_add(count, 1);
}

void *malloc(size_t size)
{
	note();
	return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	note();
	return __libc_calloc(n, size);
}

void *realloc(void *ptr, size_t size)
{
	note();
	return __libc_realloc(ptr, size);
}

void *aligned_alloc(size_t align, size_t size)
{
	note();
	return __libc_memalign(align, size);
}

int posix_memalign(void **out, size_t align, size_t size)
{
	note();
	*out = __libc_memalign(align, size);
	return *out ? 0 : 12; /* ENOMEM */
}
