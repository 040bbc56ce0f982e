/* SPDX-License-Identifier: MIT */
/* Answers that are asked for again within a moment: many readers cost hardly more than one. */
#include "cache.h"

#include <stdlib.h>

#include "weir/base/clock.h"

struct text *text_new(struct str *body)
{
	struct text *text = malloc(sizeof(*text));
	if (!text)
		return NULL;
	*text = (struct text){.refs = 1, .str = *body};
	*body = STR_INIT;
	return text;
}

struct text *text_get(struct text *text)
{
	text->refs++;
	return text;
}

void text_put(struct text *text)
{
	if (!text || --text->refs > 0)
		return;
	str_fini(&text->str);
	free(text);
}

static void drop(struct cached *row)
{
	str_fini(&row->key);
	text_put(row->text);
	*row = (struct cached){.key = STR_INIT};
}

void cache_clear(struct cache *cache)
{
	for (unsigned i = 0; i < cache->n; i++)
		drop(&cache->rows[i]);
	cache->n = cache->next = 0;
}

const struct cached *cache_find(struct cache *cache, struct view key, const void *conf)
{
	if (cache->conf != conf)
		cache_clear(cache);
	cache->conf = conf;
	uint64_t now = clock_us();
	for (unsigned i = 0; i < cache->n; i++)
		if (view_eq(str_as_view(&cache->rows[i].key), key))
			return now - cache->rows[i].made_us < CACHE_FRESH_US ? &cache->rows[i]
									     : NULL;
	return NULL;
}

/* Its own row again, a free one, or that of whoever came first. */
static struct cached *row_for(struct cache *cache, struct view key)
{
	for (unsigned i = 0; i < cache->n; i++)
		if (view_eq(str_as_view(&cache->rows[i].key), key))
			return &cache->rows[i];
	if (cache->n < CACHE_ROWS)
		return &cache->rows[cache->n++];
	return &cache->rows[cache->next++ % CACHE_ROWS];
}

void cache_add(struct cache *cache, struct view key, struct text *text, const char *type)
{
	struct cached *row = row_for(cache, key);
	drop(row);
	str_view(&row->key, key);
	row->text = text_get(text);
	row->type = type;
	row->made_us = clock_us();
}
