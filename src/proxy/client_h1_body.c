/* SPDX-License-Identifier: MIT */
/* What an exchange gets of its client's connection over HTTP/1: the body of its request, or the
 * bytes of a tunnel. */
#include <string.h>

#include "bulk.h"
#include "client_h1.h"

static void body_refused(struct client *c, enum reject why)
{
	counter_add(&c->worker->counters.rejects[why], 1);
	c->keep = false;
	exchange_refuse(c->ex,
			why == REJECT_BODY_TOO_LARGE ? OUTCOME_body_too_large : OUTCOME_bad_body,
			reject_sentence(why));
}

enum io client_give_trailers(struct client *c, struct view raw)
{
	struct h1_limits limits = head_limits(c->conf);
	enum reject why;
	struct worker *w = c->worker;
	enum io io = IO_ERR;
	scratch_take(w, SCRATCH_REQ);
	if (h1_parse_trailers(raw, &limits, &w->req, &why) == H1_OK)
		io = exchange_body_trailers(c->ex, &w->req);
	else
		body_refused(c, why);
	scratch_drop(w, SCRATCH_REQ);
	return io;
}

/* Body bytes in the receive area; what is left over is kept in `in`. */
static void feed_body(struct client *c, char *ptr, size_t len)
{
	struct h1_piece piece;
	enum reject why;
	enum h1_result result = h1_body_read(&c->body, ptr, len, &piece, &why);
	if (result == H1_BAD) {
		body_refused(c, why);
		return;
	}
	if (!client_keep_in(c, ptr + piece.consumed, len - piece.consumed))
		return;
	bool over = result == H1_OK, trailers = over && piece.trailers.len;
	enum io io = IO_OK;
	if (piece.data.len || (over && !trailers))
		io = exchange_body(c->ex, (struct span){ptr, piece.data.len}, over && !trailers);
	if (trailers && io != IO_ERR && !exchange_is_over(c->ex))
		io = client_give_trailers(c, piece.trailers);
	if (io == IO_WAIT && !over && !exchange_is_over(c->ex))
		client_pause_body(c);
}

/* True: not now, since others come first. */
static bool waits_as_bulk(struct client *c)
{
	struct exchange *ex = c->ex;
	if (unlikely(bulk_is(&c->body, ex->bytes_in - ex->in_seen)) && stream_put_off(&c->stream))
		return true;
	ex->in_seen = ex->bytes_in;
	return false;
}

void client_read_body(struct client *c)
{
	struct worker *w = c->worker;
	if (waits_as_bulk(c))
		return;
	char *at = w->from_client.data;
	size_t have = 0, n, room = exchange_body_room(c->ex);
	if (room == 0 || exchange_upload_pending(c->ex)) {
		client_pause_body(c);
		return;
	}
	if (c->in) { /* part of a trailer section */
		memcpy(at, c->in->data + c->in->start, have = c->in->len);
		if (have >= AREA_DATA) {
			body_refused(c, REJECT_TRAILER_TOO_LARGE);
			return;
		}
	}
	if (room > AREA_DATA - have)
		room = AREA_DATA - have;
	enum io io = stream_read(&c->stream, at + have, room, &n);
	if (io == IO_WAIT)
		return;
	if (io != IO_OK) {
		c->keep = false;
		exchange_client_gone(c->ex);
		return;
	}
	c->ex->bytes_in += n;
	buf_put(&w->pool.bufs, c->in);
	c->in = NULL;
	feed_body(c, at, have + n);
}

void client_read_raw(struct client *c)
{
	size_t n;
	char *at = c->worker->from_client.data;
	if (waits_as_bulk(c))
		return;
	if (exchange_upload_pending(c->ex)) {
		client_pause_body(c);
		return;
	}
	enum io io = stream_read(&c->stream, at, AREA_DATA, &n);
	if (io == IO_WAIT)
		return;
	if (io == IO_EOF) {
		stream_pause(&c->stream); /* half closed: nothing more to read */
		client_watch_gone(c);
		exchange_raw_end(c->ex);
		return;
	}
	if (io == IO_ERR) {
		exchange_client_gone(c->ex);
		return;
	}
	c->ex->bytes_in += n;
	if (exchange_raw(c->ex, (struct span){at, n}) == IO_WAIT)
		client_pause_body(c);
}
