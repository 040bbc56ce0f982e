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
/* Memory that no object has needed is not touched: the system gives it by this much. */
#define CARVE_BYTES ((size_t)4096)

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

static char *map_some(size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return at == MAP_FAILED ? NULL : at;
}

/* Twice as much is mapped, and what lies beside the aligned part given back. */
static char *map_aligned(size_t span)
{
	char *at = map_some(2 * span);
	if (!at)
		return NULL;
	size_t before = (span - (uintptr_t)at % span) % span;
	if (before)
		munmap(at, before);
	munmap(at + before + span, span - before);
	return at + before;
}

/* The system puts a mapping beside the one before, so that mostly it is aligned as that is. */
static struct slab_page *map(size_t span)
{
	char *at = map_some(span);
	if (at && (uintptr_t)at % span) {
		munmap(at, span);
		at = map_aligned(span);
	}
	if (at && __lsan_register_root_region)
		__lsan_register_root_region(at, span);
	return (struct slab_page *)(void *)at;
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

static bool add_page(struct slab *slab)
{
	struct slab_page *page = take_released(slab);
	if (!page)
		page = map(slab->span);
	if (!page)
		return false;
	page->next = slab->pages;
	slab->pages = page;
	slab->fresh = page->data;
	slab->n_fresh = slab->page_objects;
	slab->trim.n_objects += (uint32_t)slab->page_objects;
	atomic_fetch_add_explicit(&slab->bytes, slab->span, memory_order_relaxed);
	if (slab->watch)
		slab->watch->grown(slab->watch);
	return true;
}

void *slab_get_page(struct slab *slab)
{
	check(slab->size > 0);
	slab_cancel_sweep(slab);
	if (!slab->free && slab->n_fresh == 0 && !add_page(slab))
		return NULL;
	if (!slab->free)
		slab_carve(slab, CARVE_BYTES);
	return pop(slab);
}
