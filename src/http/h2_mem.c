/* SPDX-License-Identifier: MIT */
/*
 * nghttp2 asks for a handful of small blocks per stream.  They come from slabs of
 * the worker, so that no request asks the heap.  A block remembers its class in
 * front of it.
 */
#include "weir/http/h2.h"

#include <stdlib.h>
#include <string.h>

#include "weir/base/check.h"

#define HEAP H2_MEM_CLASSES
#define SMALLEST 64

struct block {
	uint32_t class;
	uint32_t size; /* usable bytes behind; of HEAP blocks too */
	uint64_t pad;  /* keeps what follows aligned to 16 bytes */
};

void h2_mem_init(struct h2_mem *mem)
{
	for (unsigned i = 0; i < H2_MEM_CLASSES; i++)
		slab_init(&mem->classes[i], (size_t)SMALLEST << i, UINT32_MAX);
}

void h2_mem_fini(struct h2_mem *mem)
{
	for (unsigned i = 0; i < H2_MEM_CLASSES; i++)
		slab_fini(&mem->classes[i]);
}

void h2_mem_watch(struct h2_mem *mem, struct slab_watch *watch, unsigned kind)
{
	for (unsigned i = 0; i < H2_MEM_CLASSES; i++)
		slab_watch_add(watch, &mem->classes[i], kind);
}

/* The smallest class that is large enough; there may be none such. */
static inline unsigned class_of(size_t whole)
{
	size_t more = (whole - 1) / SMALLEST;
	return more ? 64 - (unsigned)__builtin_clzll(more) : 0;
}

void *h2_mem_alloc(size_t size, void *arg)
{
	struct h2_mem *mem = arg;
	size_t whole = size + sizeof(struct block);
	if (size > UINT32_MAX / 2)
		return NULL;
	unsigned class = class_of(whole);
	struct block *b = class < H2_MEM_CLASSES ? slab_get(&mem->classes[class]) : malloc(whole);
	if (!b)
		return NULL;
	if (class < H2_MEM_CLASSES)
		whole = (size_t)SMALLEST << class;
	else
		class = HEAP;
	b->class = class;
	b->size = (uint32_t)(whole - sizeof(*b));
	return b + 1;
}

void h2_mem_free(void *ptr, void *arg)
{
	struct h2_mem *mem = arg;
	if (!ptr)
		return;
	struct block *b = (struct block *)ptr - 1;
	check(b->class <= HEAP);
	if (b->class == HEAP)
		free(b);
	else
		slab_put(&mem->classes[b->class], b);
}

void *h2_mem_calloc(size_t n, size_t size, void *mem)
{
	if (size && n > SIZE_MAX / size)
		return NULL;
	void *ptr = h2_mem_alloc(n * size, mem);
	if (ptr)
		memset(ptr, 0, n * size);
	return ptr;
}

void *h2_mem_realloc(void *ptr, size_t size, void *mem)
{
	size_t have = ptr ? ((struct block *)ptr - 1)->size : 0;
	if (ptr && size <= have)
		return ptr;
	void *bigger = h2_mem_alloc(size, mem);
	if (bigger && ptr) {
		memcpy(bigger, ptr, have);
		h2_mem_free(ptr, mem);
	}
	return bigger;
}
