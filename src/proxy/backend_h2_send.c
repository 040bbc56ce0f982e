/* SPDX-License-Identifier: MIT */
/*
 * Requests to a backend over HTTP/2: the head that an exchange keeps, as HTTP/1,
 * becomes a stream; its body waits here until the session asks for it.
 */
#include <errno.h>
#include <string.h>

#include "backend_h2_conn.h"

#include "weir/base/clock.h"

/* Request bodies up to this size wait for the end of the turn. */
#define BODY_LATER 8192
_Static_assert(BODY_LATER + AREA_DATA <= BUF_MAX, "more of the body may come before it");

/* The body that is kept along with the head, as HTTP/1 would send it. */
static bool take_body(struct backend_stream *s, const struct exchange *ex, struct view body)
{
	struct h1_body reader;
	struct h1_piece piece;
	enum reject why;
	struct h1_limits limits = head_limits(ex->listener);
	if (body.len == 0)
		return true;
	if (!buf_append(backend_stream_bufs(s), &s->out, body.ptr, body.len))
		return false;
	if (!ex->req_chunked)
		return true;
	h1_body_init(&reader, &s->conn->owner->msg, &limits, 0);
	char *at = s->out->data + s->out->start;
	if (h1_body_read(&reader, at, s->out->len, &piece, &why) == H1_BAD)
		return false;
	if (piece.trailers.len && !buf_append(backend_stream_bufs(s), &s->out_tail,
					      piece.trailers.ptr, piece.trailers.len))
		return false;
	s->out->len = (uint32_t)piece.data.len;
	return true;
}

/* What cannot be told in HTTP/2 is no fault of the backend's, which has not heard of it. */
static enum outcome untold(enum reject why)
{
	return reject_status(why) == 431 || reject_status(why) == 414 ? OUTCOME_head_too_large
								      : OUTCOME_bad_request;
}

/* Opens the stream with what the exchange has of its request. */
static enum outcome submit(struct backend_stream *s, struct exchange *ex)
{
	struct message *msg = &s->conn->owner->msg;
	struct view all =
	    ex->direct.len ? view_of(ex->direct.ptr, ex->direct.len) : buf_view(ex->req);
	enum reject why = REJECT_NONE;
	if (h1_parse_own_request(view_head(all, ex->req_head_len), msg, &why) != H1_OK)
		return untold(why);
	msg->never = ex->never;
	if (!take_body(s, ex, view_skip(all, ex->req_head_len)))
		return OUTCOME_no_memory;
	s->out_end = ex->req_complete;
	s->body_over = s->out_end && !(s->out && s->out->len) && !s->out_tail;
	struct h2_client_request req = {
	    .msg = msg,
	    .scheme = s->conn->up->tls_id ? VIEW("https") : VIEW("http"),
	    .te_trailers = ex->te_trailers,
	    .has_body = !s->body_over,
	};
	s->id = h2_client_request(s->conn->session, &req, &s->st);
	return s->id ? OUTCOME_ok : OUTCOME_refused_stream;
}

size_t backend_h2_pending(const struct attempt *at)
{
	return at->h2->out ? at->h2->out->len : 0;
}

/* Sends at once what is large or has to wait, the rest with that of others. */
static enum io send_out(struct backend_stream *s)
{
	struct h2_conn *conn = s->conn;
	size_t n = backend_h2_pending(s->at);
	h2_conn_touch(conn);
	if (n <= BODY_LATER && h2_client_has_window(conn->session, s->id, n) &&
	    !stream_pending(&conn->up->stream))
		return IO_OK;
	if (!conn->busy)
		h2_conn_flush(conn);
	return backend_h2_pending(s->at) ? IO_WAIT : IO_OK;
}

void backend_h2_send(struct attempt *at)
{
	struct exchange *ex = at->ex;
	struct backend_stream *s = at->h2;
	struct h2_conn *conn = s->conn;
	enum outcome outcome = submit(s, ex);
	if (unlikely(outcome != OUTCOME_ok)) {
		if (outcome == OUTCOME_refused_stream) { /* none more on this connection */
			h2_conn_stop(conn);
			at->reused = true;
		}
		attempt_over(at, outcome);
		return;
	}
	conn->asked_id = s->id;
	conn->n_waiting--;
	conn->n_streams++;
	if (++conn->n_requests == conn->max_requests)
		h2_conn_stop(conn);
	if (ex->direct.len) { /* no copy is kept: it may not be repeated anyhow */
		ex->direct.len = 0;
		ex->replayable = false;
	}
	h2_conn_asked(conn);
	attempt_count(at);
	enum io io = send_out(s);
	if (likely(io == IO_OK && ex->req_complete)) {
		attempt_sent(at);
		return;
	}
	if (io == IO_WAIT)
		ex->unsent_mark = SIZE_MAX;
	at->send_from_us = clock_us();
	attempt_set_state(at, ATTEMPT_SENDING);
	if (io == IO_OK)
		at->on->takes_more(at);
}

enum io backend_h2_body(struct attempt *at, const struct request_part *part)
{
	struct backend_stream *s = at->h2;
	errno = EPIPE;
	if (s->closed || s->conn->state == H2_CONN_DEAD)
		return IO_ERR;
	errno = ENOBUFS;
	if (part->data.len &&
	    !buf_append(backend_stream_bufs(s), &s->out, part->data.ptr, part->data.len))
		return IO_ERR;
	/* "0 CRLF fields CRLF" */
	if (part->has_trailers && part->wire.len > 5 &&
	    !buf_append(backend_stream_bufs(s), &s->out_tail, part->wire.ptr + 3,
			part->wire.len - 5))
		return IO_ERR;
	s->out_end = part->end;
	h2_client_more(s->conn->session, s->id);
	return send_out(s);
}

size_t backend_h2_source(struct h2_client_stream *stream, char *to, size_t cap, bool *end,
			 bool *trailers)
{
	struct backend_stream *s = backend_stream_of(stream);
	size_t n = backend_h2_pending(s->at);
	n = n < cap ? n : cap;
	if (n) {
		memcpy(to, s->out->data + s->out->start, n);
		buf_take(s->out, n);
	}
	if (s->out && s->out->len == 0) {
		buf_put(backend_stream_bufs(s), s->out);
		s->out = NULL;
		s->drained = true;
		h2_conn_note(s);
	}
	*end = s->out_end && !s->out;
	*trailers = s->out_tail != NULL;
	s->body_over = *end;
	return n;
}

const struct message *backend_h2_source_trailers(struct h2_client_stream *stream)
{
	struct backend_stream *s = backend_stream_of(stream);
	struct message *msg = &s->conn->owner->msg;
	struct h1_limits limits = head_limits(s->at->ex->listener);
	enum reject why;
	if (h1_parse_trailers(buf_view(s->out_tail), &limits, msg, &why) != H1_OK)
		return NULL;
	msg->never = s->at->ex->never;
	return msg;
}
