/* SPDX-License-Identifier: MIT */
/*
 * A slab hands out objects of one size, last in first out, so that the warm
 * ones are used again.  Memory is type-stable: its addresses go back to the system
 * only with the slab, so a stale pointer still points to an object of its type, or
 * to zeroes (and dies on its magic).  One thread.
 *
 * `max` bounds the number of live objects; slab_get returns NULL past it or
 * when memory is out, and the caller fails that one request.
 *
 * What a burst took is given back by slab_trim, called now and then, out of a timer:
 *
 *            slab_get_page            nothing of it is used (swept)
 *   (system) -------------> in use <-------------------------------> released
 *                                          slab_get_page
 *
 *   in use    objects lie in the free list or are live
 *   released  the pages of the system are gone, the addresses remain
 */
#ifndef WEIR_BASE_SLAB_H
#define WEIR_BASE_SLAB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct slab_page;
struct slab_watch;

struct slab {
	void *free;                 /* singly linked through the first word */
	struct slab_page *pages;    /* owns; in use */
	struct slab_page *released; /* owns */
	char *fresh;                /* objects that nobody has had, of the newest page */
	size_t n_fresh;
	size_t size; /* of one object, cache-line multiple */
	size_t page_objects;
	size_t span; /* a page begins at a multiple of it */
	uint32_t n_live;
	uint32_t max;
	/* Before memory of a free object goes: it may lie in a timing wheel.  NULL: not so. */
	void (*retire)(void *obj);
	struct slab_watch *watch; /* who is told that it has grown; NULL: nobody */
	uint8_t kind;             /* what it holds, for those who tell */
	struct {
		uint32_t n_objects; /* of pages in use */
		uint32_t unused;    /* of them, at the least, since the last look */
		uint32_t n_swept;   /* taken out of `free` by the sweep under way */
		uint8_t looks;
		bool sweeps;
	} trim;
	/* taken from the system; readers: any thread, relaxed */
	_Atomic size_t bytes;
};

#define SLAB_WATCH_MAX 48

/* The slabs of a thread that are trimmed together. */
struct slab_watch {
	struct slab *slabs[SLAB_WATCH_MAX]; /* borrowed */
	_Atomic unsigned n;                 /* readers: any thread; released after the row */
	void (*grown)(struct slab_watch *watch);
};

/* `size` is rounded up to whole cache lines. */
void slab_init(struct slab *slab, size_t size, uint32_t max);
void slab_fini(struct slab *slab);

#ifdef WEIR_CHECK_SLOW
/* For tests of what happens without memory: true makes slab_get fail.  NULL: never. */
extern bool (*slab_refuses)(const struct slab *slab);
#endif

/* Slow path of slab_get: more of a page, or a page. */
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

/* ---- giving back ---- */

void slab_watch_init(struct slab_watch *watch, void (*grown)(struct slab_watch *watch));
/* There must be room. */
void slab_watch_add(struct slab_watch *watch, struct slab *slab, unsigned kind);

enum slab_trim {
	SLAB_TIGHT,   /* there is not enough to give back, until one has grown */
	SLAB_WAITING, /* look again after SLAB_LOOK_US */
	SLAB_BUSY,    /* a sweep is under way: go on after SLAB_STEP_US */
};
#define SLAB_LOOK_US 1000000
#define SLAB_STEP_US 20000

/* A bounded step: what was not used for SLAB_LOOKS looks goes. */
#define SLAB_LOOKS 4
enum slab_trim slab_trim(struct slab_watch *watch, bool look);

/* What those of a kind have taken; any thread, as long as the slabs live. */
size_t slab_watch_bytes(const struct slab_watch *watch, unsigned kind);

#endif
