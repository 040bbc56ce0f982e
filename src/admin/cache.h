/* SPDX-License-Identifier: MIT */
/*
 * Large answers, for a moment: with a thousand backends one takes the control thread
 * 10 ms and more, and readers come in flocks.  What somebody asks for again within
 * CACHE_FRESH_US is the same text, not made again and not copied.  Small answers are
 * made anew each time: they cost nothing, and who counts wants to see what is.
 */
#ifndef WEIR_ADMIN_CACHE_H
#define WEIR_ADMIN_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "weir/base/str.h"

#define CACHE_FRESH_US 100000
#define CACHE_ROWS 8

/* A text that several sessions send; counted. */
struct text {
	unsigned refs;
	unsigned n_senders; /* of these */
	struct str str;
};

/* Takes over `body`; one count. */
struct text *text_new(struct str *body);
struct text *text_get(struct text *text);
void text_put(struct text *text); /* NULL is fine */

struct cache {
	const void *conf; /* of this configuration */
	unsigned n, next;
	struct cached {
		struct str key;    /* owns */
		struct text *text; /* counted */
		const char *type;  /* static */
		uint64_t made_us;
	} rows[CACHE_ROWS];
};

/* NULL: there is none, or it is too old, or of another configuration. */
const struct cached *cache_find(struct cache *cache, struct view key, const void *conf);
void cache_add(struct cache *cache, struct view key, struct text *text, const char *type);
/* Something has been changed. */
void cache_clear(struct cache *cache);

#endif
