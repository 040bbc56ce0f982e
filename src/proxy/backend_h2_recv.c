/* SPDX-License-Identifier: MIT */
/*
 * Responses of a backend over HTTP/2.  Heads and trailers come as HTTP/1 text, for
 * the same strict parser; the length of a body is checked against what was
 * announced.
 */
#include <string.h>

#include "backend_h2_conn.h"
#include "bulk.h"
#include "refused.h"

static void reset(struct backend_stream *s)
{
	h2_client_reset(s->conn->session, s->id, H2_PROTOCOL_ERROR);
	s->closed = true; /* already reset */
}

/* Of a final head: worker->resp has been made use of. */
static void let_go(const struct backend_stream *s)
{
	scratch_drop(s->at->ex->worker, SCRATCH_RESP);
}

static void refuse(struct backend_stream *s)
{
	reset(s);
	backend_stream_lost(s, OUTCOME_bad_response);
}

/* So much more, and its end: whether it fits what was announced. */
static bool fits(struct backend_stream *s, size_t len, bool end)
{
	if (s->left >= BULK_BYTES)
		s->conn->bulk += len;
	if (s->left == UINT64_MAX)
		return true;
	if (len > s->left)
		return false;
	s->left -= len;
	return !end || s->left == 0;
}

static void took(struct backend_stream *s, size_t len)
{
	h2_client_took(s->conn->session, s->id, &s->st, len);
}

/* `len` bytes were given to the client. */
static void relayed(struct backend_stream *s, enum io io, size_t len, bool end)
{
	if (io == IO_WAIT)
		s->owed += (uint32_t)len;
	else if (io == IO_OK && !end && !s->closed)
		took(s, len);
	attempt_relayed(s->at, io, end);
}

static void final_head(struct backend_stream *s, char *body, size_t len, bool end)
{
	struct exchange *ex = s->at->ex;
	struct message *resp = &ex->worker->resp;
	s->left = resp->body == BODY_LENGTH ? resp->content_length
		  : resp->body == BODY_NONE ? 0
					    : UINT64_MAX;
	if (resp->body == BODY_CLOSE) /* its end is marked, unlike that of HTTP/1 */
		resp->body = BODY_CHUNKED;
	if (!fits(s, len, end)) {
		let_go(s);
		refuse(s);
		return;
	}
	ex->status = resp->status;
	s->at->resp_keep = true;
	policy_response(ex, resp);
	enum io io = ex->client_ops->head(ex, resp, (struct span){body, len}, end);
	let_go(s);
	relayed(s, io, len, end);
}

void backend_h2_head(struct h2_client_stream *stream, struct view text, char *body, size_t len,
		     bool end)
{
	struct backend_stream *s = backend_stream_of(stream);
	struct exchange *ex = s->at->ex;
	struct worker *w = ex->worker;
	struct h1_limits limits = response_limits(ex);
	enum reject why;
	s->conn->answered = true;
	attempt_answered(s->at);
	scratch_take(w, SCRATCH_RESP);
	if (h1_parse_response(text, &limits, ex->method, &w->resp, &why) != H1_OK) {
		let_go(s);
		reset(s);
		response_refused(s->at, why);
		return;
	}
	w->resp.never = stream->never;
	s->ended = end;
	if (!attempt_head(s->at))
		return;
	if (w->resp.status >= 200) {
		final_head(s, body ? body : s->conn->owner->in.data, len, end);
		return;
	}
	attempt_interim(s->at);
}

static void give(struct backend_stream *s, char *body, size_t len, bool end)
{
	struct exchange *ex = s->at->ex;
	relayed(s, ex->client_ops->data(ex, (struct span){body, len}, end), len, end);
}

void backend_h2_data(struct h2_client_stream *stream, char *body, size_t len, bool end)
{
	struct backend_stream *s = backend_stream_of(stream);
	if (!fits(s, len, end)) {
		refuse(s);
		return;
	}
	if (s->paused) {
		s->held_end |= end;
		if (!buf_queue_put(backend_stream_bufs(s), &s->held, body, len))
			attempt_over(s->at, OUTCOME_no_memory);
	} else if (len || end) {
		give(s, body ? body : s->conn->owner->in.data, len, end);
	}
}

static void give_trailers(struct backend_stream *s, struct view text)
{
	struct exchange *ex = s->at->ex;
	struct worker *w = ex->worker;
	struct h1_limits limits = response_limits(ex);
	enum reject why;
	scratch_take(w, SCRATCH_RESP);
	w->resp.n_headers = 0;
	if (text.len && h1_parse_trailers(text, &limits, &w->resp, &why) != H1_OK) {
		let_go(s);
		reset(s);
		response_refused(s->at, why);
		return;
	}
	w->resp.never = s->st.never;
	if (unlikely(ex->grpc) && ex->status == 200)
		attempt_grpc_status(s->at);
	policy_response_trailers(ex, &w->resp);
	enum io io = ex->client_ops->trailers(ex, &w->resp);
	let_go(s);
	relayed(s, io, 0, true);
}

void backend_h2_trailers(struct h2_client_stream *stream, struct view text)
{
	struct backend_stream *s = backend_stream_of(stream);
	if (!fits(s, 0, true)) {
		refuse(s);
	} else if (!s->paused) {
		give_trailers(s, text);
	} else {
		s->held_end = true;
		if (text.len &&
		    !buf_append(backend_stream_bufs(s), &s->held_tail, text.ptr, text.len))
			attempt_over(s->at, OUTCOME_no_memory);
	}
}

void backend_h2_pause(struct attempt *at)
{
	at->h2->paused = true;
}

/* A part of what was held, and the end where that is all; false: there is none. */
static bool give_held(struct backend_stream *s)
{
	char *area = s->at->ex->worker->from_backend.data;
	size_t len = buf_queue_take(backend_stream_bufs(s), &s->held, area, AREA_DATA);
	bool end = s->held_end && !s->held_tail && s->held.len == 0;
	if (len == 0 && !end)
		return false;
	give(s, area, len, end);
	return true;
}

void backend_h2_resume(struct attempt *at)
{
	struct backend_stream *s = at->h2;
	struct worker *w = at->ex->worker;
	if (!s->paused)
		return;
	s->paused = false;
	if (!s->closed && s->conn->state != H2_CONN_DEAD)
		took(s, s->owed);
	s->owed = 0;
	h2_conn_touch(s->conn);
	while (give_held(s))
		if (at->h2 != s || s->paused)
			return;
	if (!s->held_tail)
		return;
	struct buf *tail = s->held_tail;
	s->held_tail = NULL;
	give_trailers(s, buf_view(tail));
	buf_put(&w->pool.bufs, tail);
}
