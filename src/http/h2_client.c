/* SPDX-License-Identifier: MIT */
/* nghttp2 as client: see the header for what is promised. */
#include <stdlib.h>
#include <string.h>

#include "h2_client_session.h"
#include "h2_never.h"

#include "weir/base/check.h"

/* A list that is too large, or the part of it before there were too many frames, takes so much
 * at least: no code of HPACK has less than 5 bits a character. */
#define TOO_LARGE_LEAST (64 * 1024 * 5 / 8)

/* ---- life ---- */

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
	h2->session = h2_client_session(h2);
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
		h2_client_give_head(h2, NULL, 0, false);
	return true;
}

bool h2_client_is_open(const struct h2_client *h2)
{
	return nghttp2_session_check_request_allowed(h2->session) != 0;
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

int32_t h2_client_request(struct h2_client *h2, const struct h2_client_request *req,
			  struct h2_client_stream *stream)
{
	const struct message *msg = req->msg;
	nghttp2_nv nv[HEADERS_ROOM + 6];
	nghttp2_data_provider source = {.read_callback = h2_client_on_source};
	const uint8_t others = h2_index_flag(msg->never, HDR_OTHER);
	size_t n = 0;
	nv[n++] = h2_client_field(VIEW(":method"), msg->method_text, NGHTTP2_NV_FLAG_NONE);
	nv[n++] = h2_client_field(VIEW(":scheme"), req->scheme, NGHTTP2_NV_FLAG_NONE);
	if (msg->authority.len)
		nv[n++] = h2_client_field(VIEW(":authority"), msg->authority, others);
	nv[n++] = h2_client_field(VIEW(":path"), msg->path, others);
	for (uint32_t i = 0; i < msg->n_headers; i++)
		if (!stays_behind(&msg->headers[i]))
			nv[n++] = h2_client_field(msg->headers[i].name, msg->headers[i].value,
						  h2_index_flag(msg->never, msg->headers[i].id));
	if (req->te_trailers)
		nv[n++] = h2_client_field(VIEW("te"), VIEW("trailers"), NGHTTP2_NV_FLAG_NONE);
	int32_t id = nghttp2_submit_request(h2->session, NULL, nv, n,
					    req->has_body ? &source : NULL, stream);
	h2_window_init(&stream->window, &h2->budget);
	stream->never = 0;
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
		h2_client_drop_text(h2);
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

int32_t h2_client_block_of(const struct h2_client *h2)
{
	if (h2->given_up)
		return 0;
	return h2->block.gathers ? h2->block.id : h2->head_of;
}

bool h2_client_is_held_up(const struct h2_client *h2)
{
	return h2->block.too_large;
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
