/* SPDX-License-Identifier: MIT */
#include "weir/base/slab.h"

#include <stdlib.h>
#include <string.h>

#include "weir/base/check.h"
#include "weir/base/defs.h"

#define PAGE_BYTES (64 * 1024)

#ifdef WEIR_CHECK_SLOW
bool (*slab_refuses)(const struct slab *slab);
#endif

struct slab_page {
	struct slab_page *next;
	_Alignas(WEIR_CACHE_LINE) char data[];
};

void slab_init(struct slab *slab, size_t size, uint32_t max)
{
	size = (size + WEIR_CACHE_LINE - 1) & ~(size_t)(WEIR_CACHE_LINE - 1);
	size_t n = (PAGE_BYTES - sizeof(struct slab_page)) / size;
	*slab = (struct slab){.size = size, .page_objects = n ? n : 1, .max = max};
}

void slab_fini(struct slab *slab)
{
	for (struct slab_page *p = slab->pages, *next; p; p = next) {
		next = p->next;
		free(p);
	}
	*slab = (struct slab){0};
}

void *slab_get_page(struct slab *slab)
{
	check(slab->size > 0);
	size_t bytes = sizeof(struct slab_page) + slab->page_objects * slab->size;
	struct slab_page *page = aligned_alloc(WEIR_CACHE_LINE, bytes);
	if (!page)
		return NULL;
	memset(page, 0, bytes);
	page->next = slab->pages;
	slab->pages = page;
	for (size_t i = slab->page_objects; i-- > 0;) {
		void *obj = page->data + i * slab->size;
		*(void **)obj = slab->free;
		slab->free = obj;
	}
	void *obj = slab->free;
	slab->free = *(void **)obj;
	*(void **)obj = NULL;
	slab->n_live++;
	return obj;
}
