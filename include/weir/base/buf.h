/* SPDX-License-Identifier: MIT */
/*
 * Buffers for bytes that cannot go on at once: an incomplete head, what a slow
 * peer has not taken, a request kept for replay.  They come from slabs in a few
 * sizes, belong to one worker, and are given back as soon as they are empty.  A
 * queue of them holds more than one can.
 *
 *   +--------+----------------+-----------+
 *   | taken  |  bytes         |  room     |
 *   +--------+----------------+-----------+
 *   0        start            start+len   cap
 */
#ifndef WEIR_BASE_BUF_H
#define WEIR_BASE_BUF_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/slab.h"
#include "weir/base/view.h"

#define BUF_CLASSES 9
/* One full receive of 64 KiB plus the head or chunk framing weir adds. */
#define BUF_MAX (72 * 1024)

struct buf {
	struct buf *next; /* while free the slab's; in a queue */
	uint32_t cap;
	uint32_t start;
	uint32_t len;
	uint8_t class;
	char data[];
};

struct buf_pool {
	struct slab classes[BUF_CLASSES];
};

/* `max` bounds the number of buffers of each size. */
void buf_pool_init(struct buf_pool *pool, uint32_t max);
void buf_pool_fini(struct buf_pool *pool);
void buf_pool_watch(struct buf_pool *pool, struct slab_watch *watch, unsigned kind);
/* Buffers given out. */
uint32_t buf_pool_live(const struct buf_pool *pool);

/* Room for at least `size` bytes (at most BUF_MAX); NULL when exhausted. */
struct buf *buf_get(struct buf_pool *pool, size_t size);
void buf_put(struct buf_pool *pool, struct buf *buf); /* NULL is fine */

static inline struct view buf_view(const struct buf *buf)
{
	return view_of(buf->data + buf->start, buf->len);
}

/* Bytes that still fit, after moving what is there to the front. */
static inline size_t buf_room(const struct buf *buf)
{
	return buf->cap - buf->len;
}

void buf_take(struct buf *buf, size_t n); /* n bytes from the front are gone */

/*
 * Appends to *buf, getting one when it is NULL and moving to a larger one when
 * it is too small.  False, with nothing changed, when it would pass BUF_MAX or
 * memory is out.
 */
bool buf_append(struct buf_pool *pool, struct buf **buf, const void *ptr, size_t len);

/* All zeroes: empty. */
struct buf_queue {
	struct buf *first, *last; /* owns */
	size_t len;
};

/* False without memory: some of the bytes may be in it. */
bool buf_queue_put(struct buf_pool *pool, struct buf_queue *queue, const void *ptr, size_t len);
/* Up to `cap` bytes from the front; how many. */
size_t buf_queue_take(struct buf_pool *pool, struct buf_queue *queue, void *to, size_t cap);
void buf_queue_drop(struct buf_pool *pool, struct buf_queue *queue);

#endif
