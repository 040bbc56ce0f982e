/* SPDX-License-Identifier: MIT */
/* The head of a request that waits for a filter. */
#include "asking.h"

#include <stddef.h>
#include <string.h>

#include "request.h"

#include "weir/base/check.h"

/* ---- a copy ---- */

/* What a header takes of the texts: its line, or name and value. */
static size_t text_len(const struct header *h)
{
	return h->line_len ? h->line_len : h->name.len + h->value.len;
}

static size_t head_len(const struct message *msg)
{
	size_t len = msg->method_text.len + msg->target.len + msg->scheme.len + msg->authority.len +
		     msg->path.len;
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
	out->method_text = copy(&texts, msg->method_text);
	out->target = copy(&texts, msg->target);
	out->scheme = copy(&texts, msg->scheme);
	out->authority = copy(&texts, msg->authority);
	out->path = copy(&texts, msg->path);
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

static void keep_facts(struct asking *asking, const struct exchange_request *req)
{
	asking->req = *req;
	asking->client = *req->peer;
	asking->req.peer = &asking->client;
	/* they were read from the head, and have been written into it */
	asking->req.who.host = VIEW_NONE;
	asking->req.who.forwarded = NULL;
}

/* ---- waiting ---- */

static void on_ready(struct filter_wait *wait)
{
	struct asking *asking = container_of(wait, struct asking, wait);
	struct exchange *ex = asking->ex;
	check_magic(ex, EXCHANGE_MAGIC);
	asking->filter = NULL;
	list_push_back(&ex->worker->asked, &ex->link);
}

enum err asking_hold(struct exchange *ex, const struct exchange_request *req, struct span body)
{
	struct worker *w = ex->worker;
	const struct message *msg = &w->req;
	const size_t head = align(sizeof(struct asking));
	const size_t texts = align(head + table_size(msg->n_headers));
	const size_t size = texts + head_len(msg) + _Alignof(max_align_t);
	if (size > BUF_MAX)
		return ERR_RANGE;
	struct buf *buf = buf_get(&w->pool.bufs, size);
	if (!buf)
		return ERR_NOMEM;
	char *base = base_of(buf);
	struct asking *asking = (struct asking *)(void *)base;
	memset(asking, 0, sizeof(*asking));
	asking->ex = ex;
	asking->wait.ready = on_ready;
	asking->since_us = w->loop.now_us;
	asking->head = (struct message *)(void *)(base + head);
	keep_facts(asking, req);
	copy_head(asking->head, msg, base + texts);
	asking->buf = buf;
	ex->held = asking;
	list_init(&ex->link);
	return body.len == 0 || request_gather(ex, body) ? ERR_OK : ERR_NOMEM;
}

void asking_wait_for(struct exchange *ex, enum filter_id id)
{
	ex->held->filter = filter_at(id);
	ex->held->id = (uint8_t)id;
	exchange_set_state(ex, EXCHANGE_ASKING);
}

void asking_cancel(struct exchange *ex)
{
	struct asking *asking = ex->held;
	if (asking->filter)
		asking->filter->cancel(&asking->wait);
	asking->filter = NULL;
	list_del(&ex->link);
}

struct span asking_restore(struct exchange *ex, const struct asking *asking)
{
	struct worker *w = ex->worker;
	memcpy(&w->req, asking->head, table_size(asking->head->n_headers));
	ex->upload_us += w->loop.now_us - asking->since_us;
	return (struct span){w->from_client.data,
			     request_gathered(ex, w->from_client.data, AREA_DATA)};
}

void asking_free(struct worker *w, struct asking *asking)
{
	if (asking)
		buf_put(&w->pool.bufs, asking->buf);
}
