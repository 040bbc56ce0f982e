/* SPDX-License-Identifier: MIT */
/*
 * Writing of a server session.  nghttp2 pulls: it asks each stream for payload
 * when windows and urgency (RFC 9218) say so.  weir pushes: bytes of a response
 * lie in a receive area during one call.  So a call offers its bytes as `now`,
 * pumps, and copies only what was not pulled to `out`.
 */
#include "h2_never.h"
#include "h2_session.h"

#include "weir/base/check.h"
#include "weir/base/defs.h"

static bool gather(struct h2_server *s, const void *ptr, size_t len)
{
	return buf_append(s->codec->bufs, &s->gather, ptr, len);
}

static bool is_full(const struct h2_server *s)
{
	return s->gather && s->gather->len >= H2_GATHER_FULL;
}

static void tell(struct h2_server *s, struct h2_stream *st)
{
	if (st->waits && !list_is_linked(&st->event) && h2_stream_pending(st) == 0)
		list_push_back(&s->events, &st->event);
}

/* ---- name-value pairs ---- */

#define NV_MAX (HEADERS_ROOM + 1)

static nghttp2_nv nv_of(struct view name, struct view value, uint8_t flags)
{
	return (nghttp2_nv){
	    .name = (uint8_t *)(uintptr_t)name.ptr,
	    .value = (uint8_t *)(uintptr_t)(value.ptr ? value.ptr : ""),
	    .namelen = name.len,
	    .valuelen = value.len,
	    .flags = flags,
	};
}

/* nghttp2 makes names lower case. */
static size_t put_fields(nghttp2_nv *out, const struct message *msg)
{
	size_t n = 0;
	for (uint32_t i = 0; i < msg->n_headers; i++)
		if (!msg->headers[i].drop)
			out[n++] = nv_of(msg->headers[i].name, msg->headers[i].value,
					 h2_index_flag(msg->never, msg->headers[i].id));
	return n;
}

static size_t put_head(nghttp2_nv *out, char digits[4], const struct message *msg, unsigned status)
{
	digits[0] = (char)('0' + status / 100 % 10);
	digits[1] = (char)('0' + status / 10 % 10);
	digits[2] = (char)('0' + status % 10);
	out[0] = nv_of(VIEW(":status"), view_of(digits, 3), NGHTTP2_NV_FLAG_NONE);
	return 1 + put_fields(out + 1, msg);
}

/* ---- what nghttp2 pulls ---- */

/* The trailer fields, kept as lines, go behind the last payload. */
static void submit_trailers(struct h2_server *s, struct h2_stream *st)
{
	nghttp2_nv nva[NV_MAX];
	struct view rest = buf_view(st->trailers);
	size_t n = 0;
	while (rest.len && n < NV_MAX) {
		size_t colon = (size_t)view_chr(rest, ':'), cr = (size_t)view_chr(rest, '\r');
		struct view name = view_head(rest, colon);
		nva[n++] = nv_of(name, view_of(rest.ptr + colon + 2, cr - colon - 2),
				 h2_index_flag(st->never, hdr_lookup(name)));
		rest = view_skip(rest, cr + 2);
	}
	nghttp2_submit_trailer(s->session, st->id, nva, n);
	buf_put(s->codec->bufs, st->trailers);
	st->trailers = NULL;
}

static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *room, size_t cap,
		       uint32_t *flags, nghttp2_data_source *source, void *user)
{
	struct h2_stream *st = source->ptr;
	size_t have = st->out ? st->out->len : st->now_len;
	size_t whole = st->out ? st->out->len + st->now_len : st->now_len;
	size_t n = have < cap ? have : cap;
	(void)session;
	(void)id;
	(void)room;
	if (whole == 0 && !st->end) {
		st->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	if (n == whole && st->end) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		if (st->trailers) {
			*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
			submit_trailers(user, st);
		}
	}
	return (ssize_t)n;
}

static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
			size_t len, nghttp2_data_source *source, void *user)
{
	struct h2_server *s = user;
	struct h2_stream *st = source->ptr;
	const char *from = st->out ? st->out->data + st->out->start : st->now;
	(void)session;
	(void)frame;
	/* one pull sends frames of all streams that may: the pump goes on once there is room */
	if (unlikely(is_full(s)))
		return NGHTTP2_ERR_WOULDBLOCK;
	if (!gather(s, head, 9))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	if (!gather(s, from, len)) {
		s->gather->len -= 9; /* a head without its payload would be taken for payload */
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	}
	h2_server_earn(s, H2_FLOOD_windows, 2);
	if (!st->out) {
		st->now += len;
		st->now_len -= (uint32_t)len;
		return 0;
	}
	buf_take(st->out, len);
	if (st->out->len == 0) {
		buf_put(s->codec->bufs, st->out);
		st->out = NULL;
	}
	return 0;
}

static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct h2_server *s = user;
	if (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS)
		return 0;
	struct h2_stream *st = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	if (!st)
		return 0;
	if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
		st->end_sent = true;
	tell(s, st);
	return 0;
}

void h2_send_callbacks(nghttp2_session_callbacks *cb)
{
	nghttp2_session_callbacks_set_send_data_callback(cb, on_send_data);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_sent);
}

/* ---- pumping ---- */

bool h2_server_pump(struct h2_server *s)
{
	if (s->in_call)
		return true;
	s->in_call = true;
	bool alive = true;
	for (bool again = true; again;) {
		if (unlikely(is_full(s)) && !s->on->flush(s))
			break;
		const uint8_t *ptr;
		ssize_t n = nghttp2_session_mem_send(s->session, &ptr);
		again = n != 0 || is_full(s); /* 0 when it stopped because of that, too */
		if (n == 0)
			continue;
		if (n < 0 || !gather(s, ptr, (size_t)n)) {
			alive = false;
			s->dead = true;
			break;
		}
	}
	s->in_call = false;
	return alive;
}

/* What the pump left of `now` waits. */
static bool keep_now(struct h2_server *s, struct h2_stream *st)
{
	if (likely(st->now_len == 0))
		return true;
	bool kept = buf_append(s->codec->bufs, &st->out, st->now, st->now_len);
	st->now_len = 0;
	return kept;
}

static void offer(struct h2_stream *st, struct view body, bool end)
{
	st->now = body.ptr;
	st->now_len = (uint32_t)body.len;
	st->end |= end;
}

/* Inside h2_server_recv there is no pumping: everything waits in `out`. */
static bool give(struct h2_server *s, struct h2_stream *st)
{
	bool alive = h2_server_pump(s);
	return keep_now(s, st) && alive;
}

/* ---- calls ---- */

bool h2_server_respond(struct h2_server *s, struct h2_stream *st, const struct message *msg,
		       unsigned status, struct view body, bool end)
{
	nghttp2_nv nva[NV_MAX];
	char digits[4];
	if (st->closed || s->dead)
		return false;
	size_t n = put_head(nva, digits, msg, status);
	nghttp2_data_provider provider = {.source.ptr = st, .read_callback = on_read};
	bool empty = end && body.len == 0;
	st->head_queued = true;
	offer(st, body, end);
	if (nghttp2_submit_response(s->session, st->id, nva, n, empty ? NULL : &provider))
		return false;
	return give(s, st);
}

bool h2_server_interim(struct h2_server *s, struct h2_stream *st, const struct message *msg)
{
	nghttp2_nv nva[NV_MAX];
	char digits[4];
	if (st->closed || s->dead)
		return false;
	size_t n = put_head(nva, digits, msg, msg->status);
	return nghttp2_submit_headers(s->session, NGHTTP2_FLAG_NONE, st->id, NULL, nva, n, NULL) >=
		   0 &&
	       h2_server_pump(s);
}

static void resume(struct h2_server *s, struct h2_stream *st)
{
	if (!st->deferred)
		return;
	st->deferred = false;
	nghttp2_session_resume_data(s->session, st->id);
}

bool h2_server_data(struct h2_server *s, struct h2_stream *st, struct view body, bool end)
{
	if (st->closed || s->dead)
		return false;
	offer(st, body, end);
	resume(s, st);
	return give(s, st);
}

bool h2_server_trailers(struct h2_server *s, struct h2_stream *st, const struct message *msg)
{
	if (st->closed || s->dead)
		return false;
	bool ok = true;
	st->never = msg->never;
	for (uint32_t i = 0; ok && i < msg->n_headers; i++) {
		const struct header *hdr = &msg->headers[i];
		struct buf_pool *bufs = s->codec->bufs;
		if (hdr->drop)
			continue;
		ok = buf_append(bufs, &st->trailers, hdr->name.ptr, hdr->name.len) &&
		     buf_append(bufs, &st->trailers, ": ", 2) &&
		     buf_append(bufs, &st->trailers, hdr->value.ptr, hdr->value.len) &&
		     buf_append(bufs, &st->trailers, "\r\n", 2);
	}
	return ok && h2_server_data(s, st, VIEW_NONE, true);
}

void h2_server_reset(struct h2_server *s, struct h2_stream *st, enum h2_code code)
{
	if (st->closed || st->reset || s->dead)
		return;
	st->reset = true;
	nghttp2_submit_rst_stream(s->session, NGHTTP2_FLAG_NONE, st->id, code);
	h2_server_pump(s);
}

void h2_server_taken(struct h2_server *s, struct h2_stream *st, size_t n)
{
	if (!st->closed)
		h2_window_took(&st->window, (struct h2_window_at){s->session, st->id}, n);
}

void h2_server_notice(struct h2_server *s)
{
	nghttp2_submit_shutdown_notice(s->session);
	h2_server_pump(s);
}

void h2_server_goaway(struct h2_server *s, enum h2_code code)
{
	int32_t last = nghttp2_session_get_last_proc_stream_id(s->session);
	nghttp2_submit_goaway(s->session, NGHTTP2_FLAG_NONE, last, code, NULL, 0);
	h2_server_pump(s);
}
