/* SPDX-License-Identifier: MIT */
/*
 * A slab hands out objects of one size, last in first out, so that the warm
 * ones are used again.  Memory is type-stable: it goes back to the system only
 * with the slab, so a stale pointer still points to an object of its type (and
 * dies on its magic).  One thread.
 *
 * `max` bounds the number of live objects; slab_get returns NULL past it or
 * when memory is out, and the caller fails that one request.
 */
#ifndef WEIR_BASE_SLAB_H
#define WEIR_BASE_SLAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct slab_page;

struct slab {
	void *free;              /* singly linked through the first word */
	struct slab_page *pages; /* owns */
	size_t size;             /* of one object, cache-line multiple */
	size_t page_objects;
	uint32_t n_live;
	uint32_t max;
};

/* `size` is rounded up to whole cache lines. */
void slab_init(struct slab *slab, size_t size, uint32_t max);
void slab_fini(struct slab *slab);

#ifdef WEIR_CHECK_SLOW
/* For tests of what happens without memory: true makes slab_get fail.  NULL: never. */
extern bool (*slab_refuses)(const struct slab *slab);
#endif

/* Slow path of slab_get: takes a page from the heap. */
void *slab_get_page(struct slab *slab);

/* Not zeroed: a fresh object is all zeroes, a reused one as its last user left
 * it except for its first word, which is zero too (so no stale magic survives). */
static inline void *slab_get(struct slab *slab)
{
#ifdef WEIR_CHECK_SLOW
	if (slab_refuses && slab_refuses(slab))
		return NULL;
#endif
	void *obj = slab->free;
	if (__builtin_expect(obj == NULL || slab->n_live >= slab->max, 0)) {
		if (slab->n_live >= slab->max)
			return NULL;
		return slab_get_page(slab);
	}
	slab->free = *(void **)obj;
	*(void **)obj = NULL;
	slab->n_live++;
	return obj;
}

static inline void slab_put(struct slab *slab, void *obj)
{
	*(void **)obj = slab->free;
	slab->free = obj;
	slab->n_live--;
}

#endif
