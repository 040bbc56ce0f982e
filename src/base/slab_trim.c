/* SPDX-License-Identifier: MIT */
/*
 * Giving back what a burst took.  Neither slab_get nor slab_put does anything for
 * it: a sweep takes the free objects out of their list, a bounded number at a
 * time, and sorts them by page; pages that turn out to be wholly free lose
 * their memory, the others' objects go back into the list.  If the list runs
 * empty meanwhile, the sweep is called off: the burst has come back.
 */
#include "slab_page.h"

#include <sys/mman.h>
#include <unistd.h>

#include "weir/base/check.h"

/* Less than this is not worth a sweep. */
#define KEEP_BYTES ((size_t)256 * 1024)
/* What a sweep leaves in the list for those who come meanwhile. */
#define RESERVE_BYTES ((size_t)64 * 1024)
/* Of one step. */
#define SWEEP_OBJECTS 4096
#define RELEASE_PAGES 64

void slab_watch_init(struct slab_watch *watch, void (*grown)(struct slab_watch *watch))
{
	atomic_init(&watch->n, 0);
	watch->grown = grown;
}

void slab_watch_add(struct slab_watch *watch, struct slab *slab, unsigned kind)
{
	slab->watch = watch;
	slab->kind = (uint8_t)kind;
	unsigned n = atomic_load_explicit(&watch->n, memory_order_relaxed);
	check(n < SLAB_WATCH_MAX);
	watch->slabs[n] = slab;
	atomic_store_explicit(&watch->n, n + 1, memory_order_release);
}

size_t slab_watch_bytes(const struct slab_watch *watch, unsigned kind)
{
	size_t sum = 0;
	unsigned n = atomic_load_explicit(&watch->n, memory_order_acquire);
	for (unsigned i = 0; i < n; i++)
		if (watch->slabs[i]->kind == kind)
			sum += atomic_load_explicit(&watch->slabs[i]->bytes, memory_order_relaxed);
	return sum;
}

static struct slab_page *page_of(const struct slab *slab, const void *obj)
{
	return (struct slab_page *)((uintptr_t)obj & ~(uintptr_t)(slab->span - 1));
}

static void give_back(struct slab *slab, struct slab_page *page)
{
	if (page->n_free == 0)
		return;
	*(void **)page->last = slab->free;
	slab->free = page->first;
	page->first = page->last = NULL;
	page->n_free = 0;
}

void slab_cancel_sweep(struct slab *slab)
{
	if (!slab->trim.sweeps)
		return;
	for (struct slab_page *page = slab->pages; page; page = page->next)
		give_back(slab, page);
	slab->trim.sweeps = false;
	slab->trim.n_swept = 0;
}

/* ---- sorting ---- */

static void sort_in(struct slab *slab, void *obj)
{
	struct slab_page *page = page_of(slab, obj);
	*(void **)obj = page->first;
	page->first = obj;
	if (!page->last)
		page->last = obj;
	page->n_free++;
}

/* True when what is to be swept is. */
static bool sweep(struct slab *slab)
{
	uint32_t n_free = slab->trim.n_objects - slab->n_live;
	uint32_t reserve = slab->n_live ? (uint32_t)(RESERVE_BYTES / slab->size) + 1 : 0;
	for (unsigned n = 0; n < SWEEP_OBJECTS; n++) {
		if (!slab->free || n_free - slab->trim.n_swept <= reserve)
			return true;
		void *obj = slab->free;
		slab->free = *(void **)obj;
		sort_in(slab, obj);
		slab->trim.n_swept++;
	}
	return false;
}

/* ---- releasing ---- */

/* The head of the page stays, and with it what else lies in the first page of the system. */
static void release(struct slab *slab, struct slab_page *page)
{
	size_t system = (size_t)sysconf(_SC_PAGESIZE);
	for (void *obj = page->first; obj && slab->retire; obj = *(void **)obj)
		slab->retire(obj);
	page->first = page->last = NULL;
	page->n_free = 0;
	madvise((char *)page + system, slab->span - system, MADV_DONTNEED);
	page->next = slab->released;
	slab->released = page;
	slab->trim.n_objects -= (uint32_t)slab->page_objects;
	slab->trim.n_swept -= (uint32_t)slab->page_objects;
	atomic_fetch_sub_explicit(&slab->bytes, slab->span, memory_order_relaxed);
}

/* True when all that are wholly free are released. */
static bool release_some(struct slab *slab)
{
	struct slab_page **at = &slab->pages;
	unsigned n = 0;
	while (*at && n < RELEASE_PAGES) {
		struct slab_page *page = *at;
		if (page->n_free < slab->page_objects) {
			at = &page->next;
			continue;
		}
		*at = page->next;
		release(slab, page);
		n++;
	}
	return n < RELEASE_PAGES;
}

/* ---- looking ---- */

static uint32_t n_unused(const struct slab *slab)
{
	return slab->trim.n_objects - slab->n_live;
}

static bool worth_it(const struct slab *slab, uint32_t unused)
{
	return unused >= slab->page_objects && unused * slab->size >= KEEP_BYTES;
}

/* True when enough has lain unused for so many looks. */
static bool look_at(struct slab *slab)
{
	uint32_t unused = n_unused(slab);
	if (slab->trim.looks == 0 || unused < slab->trim.unused)
		slab->trim.unused = unused;
	if (++slab->trim.looks < SLAB_LOOKS)
		return false;
	slab->trim.looks = 0;
	return worth_it(slab, slab->trim.unused);
}

static enum slab_trim trim_one(struct slab *slab, bool look)
{
	if (slab->trim.sweeps) {
		if (!sweep(slab) || !release_some(slab))
			return SLAB_BUSY;
		slab_cancel_sweep(slab);
		return SLAB_WAITING;
	}
	if (look && look_at(slab)) {
		slab_carve(slab, slab->span);
		slab->trim.sweeps = true;
		return SLAB_BUSY;
	}
	return slab->trim.n_objects * slab->size < KEEP_BYTES ? SLAB_TIGHT : SLAB_WAITING;
}

enum slab_trim slab_trim(struct slab_watch *watch, bool look)
{
	enum slab_trim most = SLAB_TIGHT;
	unsigned n = atomic_load_explicit(&watch->n, memory_order_relaxed);
	for (unsigned i = 0; i < n; i++) {
		enum slab_trim one = trim_one(watch->slabs[i], look);
		most = one > most ? one : most;
	}
	return most;
}
