/* SPDX-License-Identifier: MIT */
/* Private to slab*.c: what lies at the beginning of a page. */
#ifndef WEIR_BASE_SLAB_PAGE_H
#define WEIR_BASE_SLAB_PAGE_H

#include "weir/base/defs.h"
#include "weir/base/slab.h"

struct slab_page {
	struct slab_page *next;
	/* while the slab is swept: free objects that were found here */
	void *first, *last;
	uint32_t n_free;
	_Alignas(WEIR_CACHE_LINE) char data[];
};

/* So many bytes of the newest page go into the free list, or what there is. */
static inline void slab_carve(struct slab *slab, size_t bytes)
{
	size_t n = (bytes + slab->size - 1) / slab->size;
	n = n < slab->n_fresh ? n : slab->n_fresh;
	for (size_t i = n; i-- > 0;) {
		void *obj = slab->fresh + i * slab->size;
		*(void **)obj = slab->free;
		slab->free = obj;
	}
	slab->fresh += n * slab->size;
	slab->n_fresh -= n;
}

/* Everything swept is in the free list again. */
void slab_cancel_sweep(struct slab *slab);

#endif
