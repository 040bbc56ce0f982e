/* SPDX-License-Identifier: MIT */
/*
 * Pages of objects; pages that nobody uses go back to the system, at the same address when they
 * are needed again.
 */
#include "slab_page.h"

#include <string.h>
#include <sys/mman.h>

#include "weir/base/check.h"
#include "weir/base/defs.h"

#define PAGE_BYTES ((size_t)64 * 1024)

#ifdef WEIR_CHECK_SLOW
bool (*slab_refuses)(const struct slab *slab);
#endif

/* A leak checker that is linked in has to be told where pointers may lie. */
extern void __lsan_register_root_region(const void *ptr, size_t size) __attribute__((weak));
extern void __lsan_unregister_root_region(const void *ptr, size_t size) __attribute__((weak));

void slab_init(struct slab *slab, size_t size, uint32_t max)
{
	size = (size + WEIR_CACHE_LINE - 1) & ~(size_t)(WEIR_CACHE_LINE - 1);
	size_t span = PAGE_BYTES;
	while (span - sizeof(struct slab_page) < size)
		span *= 2;
	*slab = (struct slab){
	    .size = size,
	    .span = span,
	    .page_objects = (span - sizeof(struct slab_page)) / size,
	    .max = max,
	};
}

/* ---- memory of the system ---- */

/* Twice as much is mapped, and what lies beside the aligned part given back. */
static struct slab_page *map(size_t span)
{
	char *at = mmap(NULL, 2 * span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		return NULL;
	size_t before = (span - (uintptr_t)at % span) % span;
	if (before)
		munmap(at, before);
	munmap(at + before + span, span - before);
	if (__lsan_register_root_region)
		__lsan_register_root_region(at + before, span);
	return (struct slab_page *)(void *)(at + before);
}

static void unmap_all(struct slab_page *pages, size_t span)
{
	for (struct slab_page *p = pages, *next; p; p = next) {
		next = p->next;
		if (__lsan_unregister_root_region)
			__lsan_unregister_root_region(p, span);
		munmap(p, span);
	}
}

void slab_fini(struct slab *slab)
{
	unmap_all(slab->pages, slab->span);
	unmap_all(slab->released, slab->span);
	memset(slab, 0, sizeof(*slab));
}

/* ---- pages ---- */

static struct slab_page *take_released(struct slab *slab)
{
	struct slab_page *page = slab->released;
	if (page)
		slab->released = page->next;
	return page;
}

static void *pop(struct slab *slab)
{
	void *obj = slab->free;
	slab->free = *(void **)obj;
	*(void **)obj = NULL;
	slab->n_live++;
	return obj;
}

void *slab_get_page(struct slab *slab)
{
	check(slab->size > 0);
	slab_cancel_sweep(slab);
	if (slab->free)
		return pop(slab);
	struct slab_page *page = take_released(slab);
	if (!page)
		page = map(slab->span);
	if (!page)
		return NULL;
	page->next = slab->pages;
	slab->pages = page;
	for (size_t i = slab->page_objects; i-- > 0;) {
		void *obj = page->data + i * slab->size;
		*(void **)obj = slab->free;
		slab->free = obj;
	}
	slab->trim.n_objects += (uint32_t)slab->page_objects;
	atomic_fetch_add_explicit(&slab->bytes, slab->span, memory_order_relaxed);
	if (slab->watch)
		slab->watch->grown(slab->watch);
	return pop(slab);
}
