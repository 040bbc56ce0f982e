/* SPDX-License-Identifier: MIT */
/*
 * Chunks of growing size in a list; an allocation bumps a pointer in the
 * newest.  Large requests get a chunk of their own.
 */
#include "weir/base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "weir/base/check.h"

#define CHUNK_FIRST 4096
#define CHUNK_MAX (256 * 1024)
#define ALIGN 16

struct chunk {
	struct chunk *next;
	size_t size;
	size_t used;
	_Alignas(ALIGN) char data[];
};

struct cleanup {
	struct cleanup *next;
	void (*fn)(void *arg);
	void *arg;
};

struct arena {
	struct chunk *chunks; /* owns; newest first */
	struct cleanup *cleanups;
	size_t next_size;
	size_t total;
};

static void die_of_memory(size_t size)
{
	fprintf(stderr, "weir: out of memory (%zu bytes wanted)\n", size);
	exit(1);
}

struct arena *arena_new(void)
{
	struct arena *arena = calloc(1, sizeof(*arena));
	if (!arena)
		die_of_memory(sizeof(*arena));
	arena->next_size = CHUNK_FIRST;
	return arena;
}

void arena_free(struct arena *arena)
{
	if (!arena)
		return;
	for (struct cleanup *c = arena->cleanups; c; c = c->next)
		c->fn(c->arg);
	for (struct chunk *c = arena->chunks, *next; c; c = next) {
		next = c->next;
		free(c);
	}
	free(arena);
}

static struct chunk *chunk_add(struct arena *arena, size_t need)
{
	size_t size = arena->next_size;
	if (size < need)
		size = need;
	else if (arena->next_size < CHUNK_MAX)
		arena->next_size *= 2;
	struct chunk *c = malloc(sizeof(*c) + size);
	if (!c)
		die_of_memory(size);
	c->size = size;
	c->used = 0;
	c->next = arena->chunks;
	arena->chunks = c;
	arena->total += sizeof(*c) + size;
	return c;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	check(size < (size_t)1 << 40);
	size_t need = (size + ALIGN) & ~(size_t)(ALIGN - 1); /* at least one byte more */
	struct chunk *c = arena->chunks;
	if (!c || c->size - c->used < need)
		c = chunk_add(arena, need);
	void *p = c->data + c->used;
	c->used += need;
	return p;
}

void *arena_zalloc(struct arena *arena, size_t size)
{
	return memset(arena_alloc(arena, size), 0, size);
}

void *arena_array(struct arena *arena, size_t n, size_t size)
{
	size_t total;
	check(!__builtin_mul_overflow(n, size, &total));
	return arena_zalloc(arena, total);
}

void *arena_zalloc_line(struct arena *arena, size_t size)
{
	uintptr_t p = (uintptr_t)arena_zalloc(arena, size + WEIR_CACHE_LINE);
	return (void *)((p + WEIR_CACHE_LINE - 1) & ~(uintptr_t)(WEIR_CACHE_LINE - 1));
}

struct view arena_view(struct arena *arena, struct view v)
{
	char *p = arena_alloc(arena, v.len + 1);
	if (v.len)
		memcpy(p, v.ptr, v.len);
	p[v.len] = '\0';
	return view_of(p, v.len);
}

char *arena_strdup(struct arena *arena, const char *s)
{
	return (char *)arena_view(arena, view_str(s)).ptr;
}

char *arena_printf(struct arena *arena, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	check(n >= 0);
	char *p = arena_alloc(arena, (size_t)n + 1);
	va_start(ap, fmt);
	vsnprintf(p, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return p;
}

void arena_defer(struct arena *arena, void (*fn)(void *arg), void *arg)
{
	struct cleanup *c = arena_alloc(arena, sizeof(*c));
	c->fn = fn;
	c->arg = arg;
	c->next = arena->cleanups;
	arena->cleanups = c;
}

size_t arena_size(const struct arena *arena)
{
	return arena->total;
}
