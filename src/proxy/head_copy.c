/* SPDX-License-Identifier: MIT */
/* A head that outlives the moment it was read in. */
#include "head_copy.h"

#include <stddef.h>
#include <string.h>

/* What a header takes of the texts: its line, or name and value. */
static size_t text_len(const struct header *h)
{
	return h->line_len ? h->line_len : h->name.len + h->value.len;
}

/* What a head says beside its fields: counted and copied by the same list. */
static const size_t texts_at[] = {
    offsetof(struct message, method_text), offsetof(struct message, target),
    offsetof(struct message, scheme),      offsetof(struct message, authority),
    offsetof(struct message, path),        offsetof(struct message, reason),
};

static const struct view *text_of(const struct message *msg, size_t i)
{
	return (const void *)((const char *)msg + texts_at[i]);
}

static size_t head_len(const struct message *msg)
{
	size_t len = 0;
	for (size_t i = 0; i < ARRAY_LEN(texts_at); i++)
		len += text_of(msg, i)->len;
	for (uint32_t i = 0; i < msg->n_headers; i++)
		len += text_len(&msg->headers[i]);
	return len;
}

static struct view copy(char **to, struct view v)
{
	char *at = *to;
	if (v.len)
		memcpy(at, v.ptr, v.len);
	*to += v.len;
	return v.ptr ? view_of(at, v.len) : VIEW_NONE;
}

static void copy_header(char **to, struct header *h)
{
	if (!h->line_len) {
		h->name = copy(to, h->name);
		h->value = copy(to, h->value);
		return;
	}
	size_t from = (size_t)(h->value.ptr - h->name.ptr);
	struct view line = copy(to, view_of(h->name.ptr, h->line_len));
	h->name.ptr = line.ptr;
	h->value.ptr = line.ptr + from;
}

static size_t table_size(uint32_t n)
{
	return offsetof(struct message, headers) + n * sizeof(struct header);
}

/* What was dropped already does not come back. */
static void copy_head(struct message *out, const struct message *msg, char *texts)
{
	memcpy(out, msg, table_size(0));
	for (size_t i = 0; i < ARRAY_LEN(texts_at); i++)
		*(struct view *)(void *)((char *)out + texts_at[i]) =
		    copy(&texts, *text_of(msg, i));
	out->n_headers = 0;
	for (uint32_t i = 0; i < msg->n_headers; i++) {
		struct header *h = &out->headers[out->n_headers];
		if (msg->headers[i].drop == HEADER_DROPPED)
			continue;
		*h = msg->headers[i];
		copy_header(&texts, h);
		out->n_headers++;
	}
}

static size_t align(size_t n)
{
	return (n + _Alignof(max_align_t) - 1) & ~(_Alignof(max_align_t) - 1);
}

/* The bytes of a buffer begin anywhere. */
static char *base_of(const struct buf *buf)
{
	return (char *)align((size_t)(uintptr_t)buf->data);
}

enum err head_copy(struct buf_pool *bufs, const struct message *msg, size_t size,
		   struct head_copy *out)
{
	const size_t head = align(size);
	const size_t texts = align(head + table_size(msg->n_headers));
	const size_t all = texts + head_len(msg) + _Alignof(max_align_t);
	if (all > BUF_MAX)
		return ERR_RANGE;
	struct buf *buf = buf_get(bufs, all);
	if (!buf)
		return ERR_NOMEM;
	char *base = base_of(buf);
	memset(base, 0, size);
	out->buf = buf;
	out->front = base;
	out->head = (struct message *)(void *)(base + head);
	copy_head(out->head, msg, base + texts);
	return ERR_OK;
}

void head_restore(struct message *msg, const struct message *head)
{
	memcpy(msg, head, table_size(head->n_headers));
}
