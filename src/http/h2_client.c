/* SPDX-License-Identifier: MIT */
/* nghttp2 as client: see the header for what is promised. */
#include "weir/http/h2_client.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "h2_block.h"

#include "weir/base/check.h"

/* Streams before the backend's SETTINGS are here, as RFC 9113 6.5.2 recommends. */
#define FIRST_STREAMS 100
/* A list that is too large, or the part of it before there were too many frames, takes so much
 * at least: no code of HPACK has less than 5 bits a character. */
#define TOO_LARGE_LEAST (64 * 1024 * 5 / 8)

struct h2_client {
	nghttp2_session *session; /* owns */
	struct buf_pool *bufs;
	const struct h2_client_events *on;
	void *owner;
	struct h2_budget budget; /* of the streams' windows */
	struct buf *text;        /* the header block at hand, as HTTP/1; owns */
	int32_t text_of;         /* stream of `text` while it waits for its first DATA; or 0 */
	bool is_head;            /* the block has a :status */
	bool bad;                /* what it holds is refused */
	int32_t not_sent;        /* stream whose request could not go any more; or 0 */
	int32_t told;            /* stream whose end was told along with its last bytes */
	size_t data_left;        /* of the DATA frame at hand; SIZE_MAX: not known */
	uint32_t idle_frames;    /* since the last one that brought something */
	int32_t too_large;       /* the stream whose fields were, last */
	struct h2_block block;   /* of more than a frame */
	bool only_table;         /* fields come that count for the table only */
	bool given_up;           /* what still comes means nothing */
	int32_t head_of;         /* whose head or trailers are being read; 0: nobody's */
	size_t head_len;         /* of that, as it came */
	int32_t reset;           /* the stream the backend reset, last */
	const char *pending;     /* serialized by nghttp2, not yet taken by h2_client_write */
	size_t n_pending;
};

static struct h2_client_stream *stream_of(struct h2_client *h2, int32_t id)
{
	return nghttp2_session_get_stream_user_data(h2->session, id);
}

/* ---- heads ---- */

static bool put(struct h2_client *h2, struct view v)
{
	size_t have = h2->text ? h2->text->len : 0;
	return have + v.len <= H2_CLIENT_HEAD_MAX && buf_append(h2->bufs, &h2->text, v.ptr, v.len);
}

static void drop_text(struct h2_client *h2)
{
	buf_put(h2->bufs, h2->text);
	h2->text = NULL;
	h2->text_of = 0;
}

static struct view text(const struct h2_client *h2)
{
	return h2->text ? buf_view(h2->text) : VIEW_NONE;
}

static void give_head(struct h2_client *h2, char *body, size_t len, bool end)
{
	struct h2_client_stream *stream = stream_of(h2, h2->text_of);
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
	drop_text(h2);
	h2->is_head = false;
	h2->head_of = frame->hd.stream_id;
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t n_name, const uint8_t *value, size_t n_value, uint8_t flags, void *user)
{
	struct h2_client *h2 = user;
	struct view n = view_of((const char *)name, n_name),
		    v = view_of((const char *)value, n_value);
	bool ok;
	(void)session;
	(void)flags;
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
		struct h2_client_stream *stream = stream_of(h2, id);
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
		give_head(h2, NULL, 0, end);
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
			give_head(h2, NULL, 0, false);
		return 0;
	}
	if (h2->text_of && h2->text_of != hd->stream_id)
		give_head(h2, NULL, 0, false);
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
	struct h2_client_stream *stream = stream_of(h2, id);
	if (!stream)
		return 0;
	h2_window_came(&stream->window, len);
	if (end)
		h2_window_end(&stream->window);
	/* framing for the client may be put there, where the next frames lie */
	memcpy(behind, body + len, sizeof(behind));
	if (h2->text_of == id)
		give_head(h2, body, len, end);
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
	struct h2_client_stream *stream = stream_of(h2, id);
	if (!stream)
		return;
	if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
		h2_window_padding(&stream->window, (struct h2_window_at){h2->session, id},
				  frame->data.padlen);
		return;
	}
	h2_window_end(&stream->window);
	if (h2->text_of == id)
		give_head(h2, NULL, 0, true);
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

/* It was submitted, then GOAWAY came. */
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
	struct h2_client_stream *stream = stream_of(h2, id);
	(void)session;
	if (h2->text_of == id)
		drop_text(h2);
	enum h2_end end = code == NGHTTP2_REFUSED_STREAM || h2->not_sent == id ? H2_END_UNSEEN
			  : h2->too_large == id                                ? H2_END_TOO_LARGE
			  : h2->reset == id                                    ? H2_END_RESET
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
		fields[n++] = (nghttp2_nv){.name = (uint8_t *)(uintptr_t)h->name.ptr,
					   .namelen = h->name.len,
					   .value = (uint8_t *)(uintptr_t)h->value.ptr,
					   .valuelen = h->value.len};
	}
	return nghttp2_submit_trailer(h2->session, id, fields, n);
}

static ssize_t on_source(nghttp2_session *session, int32_t id, uint8_t *to, size_t cap,
			 uint32_t *flags, nghttp2_data_source *source, void *user)
{
	struct h2_client *h2 = user;
	struct h2_client_stream *stream = stream_of(h2, id);
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

/* ---- life ---- */

static nghttp2_session *session_new(struct h2_client *h2)
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

struct h2_client *h2_client_new(const struct h2_client_setup *setup)
{
	static const nghttp2_settings_entry settings[] = {
	    {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
	    {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_WINDOW_FIRST},
	    {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, H2_CLIENT_HEAD_MAX},
	};
	struct h2_client *h2 = calloc(1, sizeof(*h2));
	if (!h2)
		return NULL;
	h2->bufs = setup->bufs;
	h2->on = setup->on;
	h2->owner = setup->owner;
	h2->budget = (struct h2_budget){.limit = setup->window_bytes, .all = setup->windows};
	h2->session = session_new(h2);
	if (!h2->session ||
	    nghttp2_submit_settings(h2->session, 0, settings, ARRAY_LEN(settings)) ||
	    nghttp2_session_set_local_window_size(h2->session, 0, 0, NGHTTP2_MAX_WINDOW_SIZE)) {
		h2_client_free(h2);
		return NULL;
	}
	return h2;
}

void h2_client_free(struct h2_client *h2)
{
	if (!h2)
		return;
	nghttp2_session_del(h2->session);
	buf_put(h2->bufs, h2->text);
	h2_block_end(&h2->block);
	free(h2);
}

static bool feed(struct h2_client *h2, const void *ptr, size_t len)
{
	return nghttp2_session_mem_recv(h2->session, ptr, len) == (ssize_t)len;
}

static bool feed_frame(struct h2_client *h2, const nghttp2_frame_hd *hd, const void *ptr)
{
	uint32_t id = (uint32_t)hd->stream_id;
	const uint8_t head[H2_FRAME_HEAD] = {
	    (uint8_t)(hd->length >> 16),
	    (uint8_t)(hd->length >> 8),
	    (uint8_t)hd->length,
	    hd->type,
	    hd->flags,
	    (uint8_t)(id >> 24),
	    (uint8_t)(id >> 16),
	    (uint8_t)(id >> 8),
	    (uint8_t)id,
	};
	return feed(h2, head, sizeof(head)) && feed(h2, ptr, hd->length);
}

/* What was gathered of a block of more than a frame.  One that is too large goes in parts, of
 * which the first resets the stream, if that is still there, and the others are for the table. */
static bool feed_block(struct h2_client *h2, const struct h2_block_next *next)
{
	const struct h2_block *block = &h2->block;
	bool ok = true;
	h2->only_table = block->too_large;
	nghttp2_frame_hd hd = {
	    .stream_id = block->id,
	    .type = NGHTTP2_HEADERS,
	    .flags = block->too_large ? 0 : block->flags & NGHTTP2_FLAG_END_STREAM,
	};
	size_t at = 0;
	do {
		size_t left = next->n - at;
		hd.length = left < H2_FRAME_MAX ? left : H2_FRAME_MAX;
		hd.flags |= hd.length == left ? NGHTTP2_FLAG_END_HEADERS : 0;
		ok = feed_frame(h2, &hd, next->ptr + at);
		at += hd.length;
		hd.type = NGHTTP2_CONTINUATION;
		hd.flags = 0;
	} while (ok && at < next->n);
	h2->only_table = false;
	if (next->step == H2_BLOCK_WHOLE)
		h2_block_end(&h2->block);
	return ok;
}

/* Nobody can know any more what the table holds. */
static void give_up_block(struct h2_client *h2, uint32_t why)
{
	h2->head_of = h2->block.id;
	h2->head_len = h2->block.came;
	h2_block_end(&h2->block);
	h2->given_up = true;
	nghttp2_session_terminate_session(h2->session, why);
}

bool h2_client_read(struct h2_client *h2, char *ptr, size_t len)
{
	const char *at = ptr, *end = ptr + len;
	while (at < end && !h2->given_up) {
		struct h2_block_next next = h2_block_next(&h2->block, &at, end);
		bool ok = true;
		if (likely(next.step == H2_BLOCK_PASS))
			ok = feed(h2, next.ptr, next.n);
		else if (next.step == H2_BLOCK_PART || next.step == H2_BLOCK_WHOLE)
			ok = feed_block(h2, &next);
		else if (next.step == H2_BLOCK_BAD)
			give_up_block(h2, next.why);
		if (unlikely(!ok))
			return false;
	}
	if (h2->text_of)
		give_head(h2, NULL, 0, false);
	return true;
}

bool h2_client_is_over(const struct h2_client *h2)
{
	return !nghttp2_session_want_read(h2->session) &&
	       !nghttp2_session_want_write(h2->session) && h2->n_pending == 0;
}

ptrdiff_t h2_client_write(struct h2_client *h2, char *to, size_t cap)
{
	size_t used = 0;
	while (used < cap) {
		if (h2->n_pending == 0) {
			const uint8_t *bytes;
			ssize_t n = nghttp2_session_mem_send(h2->session, &bytes);
			if (n < 0)
				return -1;
			if (n == 0)
				break;
			h2->pending = (const char *)bytes;
			h2->n_pending = (size_t)n;
		}
		size_t n = h2->n_pending < cap - used ? h2->n_pending : cap - used;
		memcpy(to + used, h2->pending, n);
		used += n;
		h2->pending += n;
		h2->n_pending -= n;
	}
	return (ptrdiff_t)used;
}

/* ---- requests ---- */

/* Fields that belong to a connection of HTTP/1, or have another place here. */
static bool stays_behind(const struct header *h)
{
	switch (h->id) {
	case HDR_HOST:
	case HDR_CONNECTION:
	case HDR_KEEP_ALIVE:
	case HDR_PROXY_CONNECTION:
	case HDR_TE:
	case HDR_TRANSFER_ENCODING:
	case HDR_UPGRADE:
	case HDR_HTTP2_SETTINGS:
		return true;
	default:
		return h->drop;
	}
}

static nghttp2_nv field(struct view name, struct view value)
{
	/* nghttp2 copies both, and lowers the case of names */
	return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name.ptr,
			    .namelen = name.len,
			    .value = (uint8_t *)(uintptr_t)value.ptr,
			    .valuelen = value.len};
}

int32_t h2_client_request(struct h2_client *h2, const struct h2_client_request *req,
			  struct h2_client_stream *stream)
{
	const struct message *msg = req->msg;
	nghttp2_nv nv[HEADERS_ROOM + 6];
	nghttp2_data_provider source = {.read_callback = on_source};
	size_t n = 0;
	nv[n++] = field(VIEW(":method"), msg->method_text);
	nv[n++] = field(VIEW(":scheme"), req->scheme);
	if (msg->authority.len)
		nv[n++] = field(VIEW(":authority"), msg->authority);
	nv[n++] = field(VIEW(":path"), msg->path);
	for (uint32_t i = 0; i < msg->n_headers; i++)
		if (!stays_behind(&msg->headers[i]))
			nv[n++] = field(msg->headers[i].name, msg->headers[i].value);
	if (req->te_trailers)
		nv[n++] = field(VIEW("te"), VIEW("trailers"));
	int32_t id = nghttp2_submit_request(h2->session, NULL, nv, n,
					    req->has_body ? &source : NULL, stream);
	h2_window_init(&stream->window, &h2->budget);
	return id > 0 ? id : 0;
}

void h2_client_stream_fini(struct h2_client_stream *stream)
{
	h2_window_fini(&stream->window);
}

void h2_client_more(struct h2_client *h2, int32_t id)
{
	nghttp2_session_resume_data(h2->session, id); /* fails when it was not waiting */
}

void h2_client_took(struct h2_client *h2, int32_t id, struct h2_client_stream *stream, size_t len)
{
	h2_window_took(&stream->window, (struct h2_window_at){h2->session, id}, len);
}

void h2_client_reset(struct h2_client *h2, int32_t id, enum h2_code code)
{
	h2_client_let_go(h2, id);
	nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, id, code);
}

void h2_client_let_go(struct h2_client *h2, int32_t id)
{
	nghttp2_session_set_stream_user_data(h2->session, id, NULL);
	if (h2->text_of == id)
		drop_text(h2);
}

void h2_client_ping(struct h2_client *h2)
{
	nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, NULL);
}

void h2_client_goaway(struct h2_client *h2, enum h2_code code)
{
	nghttp2_session_terminate_session(h2->session, code);
}

int32_t h2_client_broke_at(const struct h2_client *h2)
{
	return h2->head_len >= TOO_LARGE_LEAST ? h2->head_of : 0;
}

uint32_t h2_client_max_streams(const struct h2_client *h2)
{
	return nghttp2_session_get_remote_settings(h2->session,
						   NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

bool h2_client_has_window(const struct h2_client *h2, int32_t id, size_t len)
{
	int32_t whole = nghttp2_session_get_remote_window_size(h2->session);
	int32_t one = nghttp2_session_get_stream_remote_window_size(h2->session, id);
	if (one < 0) /* not opened yet: it will have the initial size */
		one = (int32_t)nghttp2_session_get_remote_settings(
		    h2->session, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE);
	return (int64_t)len <= whole && (int64_t)len <= one;
}
