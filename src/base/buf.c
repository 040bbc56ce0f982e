/* SPDX-License-Identifier: MIT */
/* Buffers out of slabs by size: a buffer grows by moving to the next size. */
#include "weir/base/buf.h"

#include "weir/base/check.h"
#include "weir/base/defs.h"

/* Whole objects, so many of which fill a page of a slab; the largest besides its head. */
#define WHOLE(size) ((size) - sizeof(struct buf))
static const uint32_t capacity[BUF_CLASSES] = {
    WHOLE(1024),  WHOLE(2048),  WHOLE(4032),  WHOLE(8128), WHOLE(16320),
    WHOLE(21824), WHOLE(32704), WHOLE(49152), BUF_MAX,
};

void buf_pool_init(struct buf_pool *pool, uint32_t max)
{
	for (unsigned i = 0; i < BUF_CLASSES; i++)
		slab_init(&pool->classes[i], sizeof(struct buf) + capacity[i], max);
}

void buf_pool_fini(struct buf_pool *pool)
{
	for (unsigned i = 0; i < BUF_CLASSES; i++)
		slab_fini(&pool->classes[i]);
}

void buf_pool_watch(struct buf_pool *pool, struct slab_watch *watch, unsigned kind)
{
	for (unsigned i = 0; i < BUF_CLASSES; i++)
		slab_watch_add(watch, &pool->classes[i], kind);
}

uint32_t buf_pool_live(const struct buf_pool *pool)
{
	uint32_t n = 0;
	for (unsigned i = 0; i < BUF_CLASSES; i++)
		n += pool->classes[i].n_live;
	return n;
}

struct buf *buf_get(struct buf_pool *pool, size_t size)
{
	unsigned class = 0;
	while (class < BUF_CLASSES && capacity[class] < size)
		class ++;
	if (class == BUF_CLASSES)
		return NULL;
	struct buf *buf = slab_get(&pool->classes[class]);
	if (!buf)
		return NULL;
	buf->cap = capacity[class];
	buf->start = buf->len = 0;
	buf->class = (uint8_t)class;
	return buf;
}

void buf_put(struct buf_pool *pool, struct buf *buf)
{
	if (buf)
		slab_put(&pool->classes[buf->class], buf);
}

void buf_take(struct buf *buf, size_t n)
{
	check(n <= buf->len);
	buf->start += (uint32_t)n;
	buf->len -= (uint32_t)n;
	if (buf->len == 0)
		buf->start = 0;
}

/* Not where there is room as it is: that is nearly always, and takes no registers to be saved. */
static NOINLINE bool make_room(struct buf_pool *pool, struct buf **bufp, size_t len)
{
	struct buf *buf = *bufp;
	size_t have = buf ? buf->len : 0;
	if (buf && buf_room(buf) >= len) {
		memmove(buf->data, buf->data + buf->start, have);
		buf->start = 0;
		return true;
	}
	struct buf *bigger = have + len > BUF_MAX ? NULL : buf_get(pool, have + len);
	if (!bigger)
		return false;
	if (have)
		memcpy(bigger->data, buf->data + buf->start, have);
	bigger->len = (uint32_t)have;
	buf_put(pool, buf);
	*bufp = bigger;
	return true;
}

bool buf_append(struct buf_pool *pool, struct buf **bufp, const void *ptr, size_t len)
{
	struct buf *buf = *bufp;
	if (!buf || buf->start + buf->len + len > buf->cap) {
		if (!make_room(pool, bufp, len))
			return false;
		buf = *bufp;
	}
	if (len)
		memcpy(buf->data + buf->start + buf->len, ptr, len);
	buf->len += (uint32_t)len;
	return true;
}

/* ---- queues ---- */

/* Room for `len` more; buffers grow with the queue, so that crumbs fill them. */
static struct buf *extend(struct buf_pool *pool, struct buf_queue *queue, size_t len)
{
	size_t want = len > queue->len ? len : queue->len;
	struct buf *buf = buf_get(pool, want < BUF_MAX ? want : BUF_MAX);
	if (!buf)
		return NULL;
	buf->next = NULL;
	if (queue->last)
		queue->last->next = buf;
	else
		queue->first = buf;
	return queue->last = buf;
}

bool buf_queue_put(struct buf_pool *pool, struct buf_queue *queue, const void *ptr, size_t len)
{
	const char *from = ptr;
	while (len) {
		struct buf *buf = queue->last;
		size_t room = buf ? buf->cap - buf->start - buf->len : 0;
		if (room == 0) {
			if (!extend(pool, queue, len))
				return false;
			continue;
		}
		size_t n = len < room ? len : room;
		memcpy(buf->data + buf->start + buf->len, from, n);
		buf->len += (uint32_t)n;
		queue->len += n;
		from += n;
		len -= n;
	}
	return true;
}

static void drop_first(struct buf_pool *pool, struct buf_queue *queue)
{
	struct buf *buf = queue->first;
	queue->first = buf->next;
	if (!queue->first)
		queue->last = NULL;
	buf_put(pool, buf);
}

size_t buf_queue_take(struct buf_pool *pool, struct buf_queue *queue, void *to, size_t cap)
{
	size_t done = 0;
	while (done < cap && queue->first) {
		struct buf *buf = queue->first;
		size_t n = buf->len < cap - done ? buf->len : cap - done;
		memcpy((char *)to + done, buf->data + buf->start, n);
		buf_take(buf, n);
		done += n;
		if (buf->len == 0)
			drop_first(pool, queue);
	}
	queue->len -= done;
	return done;
}

void buf_queue_drop(struct buf_pool *pool, struct buf_queue *queue)
{
	while (queue->first)
		drop_first(pool, queue);
	queue->len = 0;
}
