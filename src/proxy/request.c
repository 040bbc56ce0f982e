/* SPDX-License-Identifier: MIT */
/* The bytes of a request: where they lie until a backend has them, and for how long after. */
#include "request.h"

#include <string.h>

#include "chunk.h"

#include "weir/base/check.h"

/* A longer body of a request that may not be repeated is sent from where it was received. */
#define DIRECT_MIN 2048
/* A request that waits for a backend keeps at most this much of its body. */
#define WAITING_BODY_MAX (64 * 1024)

/* The rewritten head and the body so far into a buffer, to be sent and sent again. */
static bool keep(struct exchange *ex, struct span body, bool complete)
{
	struct worker *w = ex->worker;
	bool framed = ex->req_chunked && (body.len || complete);
	size_t framing = framed ? H1_CHUNK_HEAD_MAX + 7 : 0;
	/* a guess, then whatever there is */
	size_t sizes[] = {w->req.head_len + 320 + body.len + framing, BUF_MAX};
	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
		struct buf *buf = buf_get(&w->pool.bufs, sizes[i]);
		if (!buf)
			return false;
		struct h1_out out = h1_out_init(buf->data, buf->cap);
		if (policy_request(ex, &out) && out.len + body.len + framing <= buf->cap) {
			/* not before: the framing overwrites the end of the head */
			if (framed)
				body = chunk_frame(body, complete);
			memcpy(buf->data + out.len, body.ptr, body.len);
			ex->req_head_len = (uint32_t)out.len;
			buf->len = (uint32_t)(out.len + body.len);
			ex->req = buf;
			return true;
		}
		buf_put(&w->pool.bufs, buf);
	}
	return false;
}

/* The rewritten head in front of the body where that lies: nothing is copied twice. */
static bool lay(struct exchange *ex, struct span body, bool complete)
{
	struct worker *w = ex->worker;
	scratch_take(w, SCRATCH_HEAD);
	struct h1_out out = h1_out_init(w->head, HEAD_ROOM - H1_CHUNK_HEAD_MAX);
	bool ok = policy_request(ex, &out);
	if (ok) {
		if (ex->req_chunked)
			body = chunk_frame(body, complete);
		memcpy(body.ptr - out.len, out.ptr, out.len);
		ex->req_head_len = (uint32_t)out.len;
		ex->direct = (struct span){body.ptr - out.len, body.len + out.len};
	}
	scratch_drop(w, SCRATCH_HEAD);
	return ok;
}

bool request_put(struct exchange *ex, struct span body, bool complete)
{
	bool direct = body.len > DIRECT_MIN && !method_is_idempotent(ex->method);
	ex->replayable = true;
	if (unlikely(direct))
		return lay(ex, body, complete);
	return keep(ex, body, complete);
}

bool exchange_keep_request(struct exchange *ex)
{
	if (ex->direct.len == 0)
		return true;
	bool kept = buf_append(&ex->worker->pool.bufs, &ex->req, ex->direct.ptr, ex->direct.len);
	ex->direct.len = 0;
	return kept;
}

size_t request_room(const struct exchange *ex)
{
	return ex->req->len >= WAITING_BODY_MAX ? 0 : WAITING_BODY_MAX - ex->req->len;
}

bool request_append(struct exchange *ex, struct span body)
{
	return buf_append(&ex->worker->pool.bufs, &ex->req, body.ptr, body.len);
}

/* Who was slow is told by it when the body is long gone. */
static void keep_line(struct exchange *ex)
{
	struct view head = view_head(buf_view(ex->req), ex->req_head_len);
	ex->line_len = (uint8_t)(head.len < EXCHANGE_LINE_MAX ? head.len : EXCHANGE_LINE_MAX);
	memcpy(ex->line, head.ptr, ex->line_len);
}

void request_keep_for_replay(struct exchange *ex, struct span body)
{
	const struct conf_pool *conf = ex->view->pool->conf;
	size_t kept = ex->req->len - ex->req_head_len;
	if (conf->retry.on && kept + body.len <= conf->retry.buffer &&
	    ex->req->len + body.len <= BUF_MAX && request_append(ex, body))
		return;
	ex->replayable = false;
	keep_line(ex);
	request_drop(ex);
}

bool request_gather(struct exchange *ex, struct span body)
{
	struct worker *w = ex->worker;
	size_t before = ex->gathered.len;
	bool ok = buf_queue_put(&w->pool.bufs, &ex->gathered, body.ptr, body.len);
	w->gathered.used += ex->gathered.len - before;
	return ok;
}

size_t request_gathered(struct exchange *ex, char *to, size_t cap)
{
	struct worker *w = ex->worker;
	size_t n = buf_queue_take(&w->pool.bufs, &ex->gathered, to, cap);
	w->gathered.used -= n;
	return n;
}

void request_free(struct exchange *ex)
{
	struct worker *w = ex->worker;
	request_drop(ex);
	if (likely(!ex->gathered.first && !ex->gathered_tail))
		return;
	w->gathered.used -= ex->gathered.len;
	buf_queue_drop(&w->pool.bufs, &ex->gathered);
	buf_put(&w->pool.bufs, ex->gathered_tail);
}

void request_drop(struct exchange *ex)
{
	buf_put(&ex->worker->pool.bufs, ex->req);
	ex->req = NULL;
}
