/* SPDX-License-Identifier: MIT */
/* nghttp2 as client: what it calls, heads, frames and bodies. */
#include <string.h>

#include "h2_client_session.h"
#include "h2_never.h"

#include "weir/base/check.h"

/* Streams before the backend's SETTINGS are here, as RFC 9113 6.5.2 recommends. */
#define FIRST_STREAMS 100

/* ---- heads ---- */

static bool put(struct h2_client *h2, struct view v)
{
	size_t have = h2->text ? h2->text->len : 0;
	return have + v.len <= H2_CLIENT_HEAD_MAX && buf_append(h2->bufs, &h2->text, v.ptr, v.len);
}

void h2_client_drop_text(struct h2_client *h2)
{
	buf_put(h2->bufs, h2->text);
	h2->text = NULL;
	h2->text_of = 0;
}

static struct view text(const struct h2_client *h2)
{
	return h2->text ? buf_view(h2->text) : VIEW_NONE;
}

void h2_client_give_head(struct h2_client *h2, char *body, size_t len, bool end)
{
	struct h2_client_stream *stream = h2_client_stream_of(h2, h2->text_of);
	/* what it leads to may not find this one still waiting */
	struct buf *head = h2->text;
	h2->text = NULL;
	h2->text_of = 0;
	if (stream)
		h2->on->head(stream, buf_view(head), body, len, end);
	buf_put(h2->bufs, head);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct h2_client *h2 = user;
	(void)session;
	h2_client_drop_text(h2);
	h2->is_head = false;
	h2->head_of = frame->hd.stream_id;
	return 0;
}

static void note_never(struct h2_client *h2, int32_t id, struct view name)
{
	struct h2_client_stream *stream = h2_client_stream_of(h2, id);
	if (stream)
		stream->never |= UINT64_C(1) << hdr_lookup(name);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t n_name, const uint8_t *value, size_t n_value, uint8_t flags, void *user)
{
	struct h2_client *h2 = user;
	struct view n = view_of((const char *)name, n_name),
		    v = view_of((const char *)value, n_value);
	bool ok;
	(void)session;
	if (unlikely(flags & NGHTTP2_NV_FLAG_NO_INDEX))
		note_never(h2, frame->hd.stream_id, n);
	if (unlikely(h2->only_table))
		ok = false;
	else if (n.len && n.ptr[0] == ':') {
		h2->is_head = true;
		ok = put(h2, VIEW("HTTP/1.1 ")) && put(h2, v) && put(h2, VIEW(" \r\n"));
	} else {
		ok = put(h2, n) && put(h2, VIEW(": ")) && put(h2, v) && put(h2, VIEW("\r\n"));
	}
	if (ok)
		return 0;
	h2->too_large = frame->hd.stream_id;
	return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* resets the stream */
}

/* nghttp2 would pass over a malformed field: the response is refused instead. */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame,
			     const uint8_t *name, size_t n_name, const uint8_t *value,
			     size_t n_value, uint8_t flags, void *user)
{
	(void)session, (void)frame, (void)name, (void)n_name;
	(void)value, (void)n_value, (void)flags, (void)user;
	return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int headers_done(struct h2_client *h2, const nghttp2_frame *frame)
{
	bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
	int32_t id = frame->hd.stream_id;
	h2->head_of = 0;
	if (!h2->is_head) {
		struct h2_client_stream *stream = h2_client_stream_of(h2, id);
		struct buf *fields = h2->text;
		h2->text = NULL;
		if (stream && end)
			h2->on->trailers(stream, fields ? buf_view(fields) : VIEW_NONE);
		buf_put(h2->bufs, fields);
		return 0;
	}
	if (!put(h2, VIEW("\r\n")))
		return nghttp2_submit_rst_stream(h2->session, 0, id, NGHTTP2_INTERNAL_ERROR);
	h2->text_of = id;
	bool interim = text(h2).len > 9 && text(h2).ptr[9] == '1';
	if (end || interim)
		h2_client_give_head(h2, NULL, 0, end);
	return 0;
}

/* ---- frames ---- */

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *user)
{
	struct h2_client *h2 = user;
	(void)session;
	h2->head_len = hd->type == NGHTTP2_CONTINUATION ? h2->head_len + hd->length : hd->length;
	if (hd->type != NGHTTP2_DATA) {
		if (h2->text_of)
			h2_client_give_head(h2, NULL, 0, false);
		return 0;
	}
	if (h2->text_of && h2->text_of != hd->stream_id)
		h2_client_give_head(h2, NULL, 0, false);
	h2->data_left = hd->flags & NGHTTP2_FLAG_PADDED ? SIZE_MAX : hd->length;
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
		   size_t len, void *user)
{
	struct h2_client *h2 = user;
	char *body = (char *)(uintptr_t)data, behind[H2_CLIENT_BACK];
	bool end = false;
	h2->idle_frames = 0;
	if (h2->data_left != SIZE_MAX) {
		h2->data_left -= len;
		end = h2->data_left == 0 && (flags & NGHTTP2_FLAG_END_STREAM);
	}
	nghttp2_session_consume_connection(session, len);
	struct h2_client_stream *stream = h2_client_stream_of(h2, id);
	if (!stream)
		return 0;
	h2_window_came(&stream->window, len);
	if (end)
		h2_window_end(&stream->window);
	/* framing for the client may be put there, where the next frames lie */
	memcpy(behind, body + len, sizeof(behind));
	if (h2->text_of == id)
		h2_client_give_head(h2, body, len, end);
	else
		h2->on->data(stream, body, len, end);
	memcpy(body + len, behind, sizeof(behind));
	if (end)
		h2->told = id;
	return 0;
}

static bool brings_nothing(const nghttp2_frame *frame)
{
	switch (frame->hd.type) {
	case NGHTTP2_DATA:
		return frame->hd.length == 0 && !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM);
	case NGHTTP2_HEADERS:
		return !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM);
	default:
		return true;
	}
}

static void data_complete(struct h2_client *h2, const nghttp2_frame *frame)
{
	int32_t id = frame->hd.stream_id;
	struct h2_client_stream *stream = h2_client_stream_of(h2, id);
	if (!stream)
		return;
	if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
		h2_window_padding(&stream->window, (struct h2_window_at){h2->session, id},
				  frame->data.padlen);
		return;
	}
	h2_window_end(&stream->window);
	if (h2->text_of == id)
		h2_client_give_head(h2, NULL, 0, true);
	else if (h2->told != id)
		h2->on->data(stream, NULL, 0, true);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct h2_client *h2 = user;
	(void)session;
	if (!brings_nothing(frame))
		h2->idle_frames = 0;
	else if (++h2->idle_frames > H2_CLIENT_IDLE_FRAMES)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	switch (frame->hd.type) {
	case NGHTTP2_HEADERS:
		return headers_done(h2, frame);
	case NGHTTP2_DATA:
		data_complete(h2, frame);
		return 0;
	case NGHTTP2_SETTINGS:
		if (!(frame->hd.flags & NGHTTP2_FLAG_ACK))
			h2->on->settings(h2->owner);
		return 0;
	case NGHTTP2_RST_STREAM:
		h2->reset = frame->hd.stream_id;
		return 0;
	case NGHTTP2_GOAWAY:
		h2->on->goaway(h2->owner);
		return 0;
	default:
		return 0;
	}
}

/* It was submitted, then GOAWAY came, or went. */
static int on_not_sent(nghttp2_session *session, const nghttp2_frame *frame, int error, void *user)
{
	struct h2_client *h2 = user;
	(void)session;
	(void)error;
	if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
		h2->not_sent = frame->hd.stream_id;
	return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
	struct h2_client *h2 = user;
	struct h2_client_stream *stream = h2_client_stream_of(h2, id);
	(void)session;
	if (h2->text_of == id)
		h2_client_drop_text(h2);
	enum h2_end end = h2->not_sent == id               ? H2_END_UNSENT
			  : code == NGHTTP2_REFUSED_STREAM ? H2_END_UNSEEN
			  : h2->too_large == id            ? H2_END_TOO_LARGE
			  : h2->reset == id                ? H2_END_RESET
							   : H2_END_PLAIN;
	h2->on->closed(h2->owner, stream, code, end);
	return 0;
}

/* ---- request bodies ---- */

static int submit_trailers(struct h2_client *h2, int32_t id, const struct message *msg)
{
	nghttp2_nv fields[HEADERS_ROOM];
	size_t n = 0;
	for (uint32_t i = 0; i < msg->n_headers; i++) {
		const struct header *h = &msg->headers[i];
		if (h->drop)
			continue;
		fields[n++] = h2_client_field(h->name, h->value, h2_index_flag(msg->never, h->id));
	}
	return nghttp2_submit_trailer(h2->session, id, fields, n);
}

ssize_t h2_client_on_source(nghttp2_session *session, int32_t id, uint8_t *to, size_t cap,
			    uint32_t *flags, nghttp2_data_source *source, void *user)
{
	struct h2_client *h2 = user;
	struct h2_client_stream *stream = h2_client_stream_of(h2, id);
	bool end = false, trailers = false;
	(void)session;
	(void)source;
	if (!stream)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	size_t n = h2->on->source(stream, (char *)to, cap, &end, &trailers);
	if (end)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	if (end && trailers) {
		const struct message *msg = h2->on->source_trailers(stream);
		if (msg && submit_trailers(h2, id, msg) == 0)
			*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
	}
	if (n)
		h2->idle_frames = 0; /* it may give windows back */
	return n == 0 && !end ? NGHTTP2_ERR_DEFERRED : (ssize_t)n;
}

/* ---- the session ---- */

nghttp2_session *h2_client_session(struct h2_client *h2)
{
	nghttp2_session *session = NULL;
	nghttp2_session_callbacks *cb = NULL;
	nghttp2_option *option = NULL;
	if (nghttp2_session_callbacks_new(&cb) || nghttp2_option_new(&option))
		goto out;
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_invalid_header_callback(cb, on_invalid_header);
	nghttp2_session_callbacks_set_on_begin_frame_callback(cb, on_begin_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_callbacks_set_on_frame_not_send_callback(cb, on_not_sent);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
	nghttp2_option_set_no_auto_window_update(option, 1);
	nghttp2_option_set_peer_max_concurrent_streams(option, FIRST_STREAMS);
	nghttp2_option_set_no_closed_streams(option, 1);
	nghttp2_option_set_max_send_header_block_length(option, 2 * H2_CLIENT_HEAD_MAX);
	if (nghttp2_session_client_new2(&session, cb, h2, option))
		session = NULL;
out:
	nghttp2_session_callbacks_del(cb);
	nghttp2_option_del(option);
	return session;
}
