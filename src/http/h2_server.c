/* SPDX-License-Identifier: MIT */
/* Reading, life and limits of a server session; see weir/http/h2_server.h. */
#include "h2_session.h"

#include <stdlib.h>

#include "weir/base/check.h"
#include "weir/base/defs.h"

/* ---- streams ---- */

static struct h2_stream *stream_of(struct h2_server *s, int32_t id)
{
	return nghttp2_session_get_stream_user_data(s->session, id);
}

void h2_stream_init(struct h2_stream *st)
{
	memset(st, 0, sizeof(*st));
	list_init(&st->link);
	list_init(&st->event);
}

void h2_stream_fini(struct h2_server *s, struct h2_stream *st)
{
	buf_put(s->codec->bufs, st->out);
	buf_put(s->codec->bufs, st->trailers);
	st->out = st->trailers = NULL;
	h2_window_fini(&st->window);
	list_del(&st->link);
	list_del(&st->event);
}

/* ---- heads ---- */

/* For a WebSocket that may be asked for. */
static struct view key_of(struct h2_server *s)
{
	return view_eq(s->head.method, VIEW("CONNECT")) ? s->on->key(s) : VIEW_NONE;
}

/* The request that was held back begins now, with the payload at hand. */
static void begin_held(struct h2_server *s, bool end, char *ptr, size_t len)
{
	int32_t id = s->held_id;
	struct h2_stream *st = s->on->open(s);
	s->held_id = 0;
	if (!st) {
		nghttp2_submit_rst_stream(s->session, NGHTTP2_FLAG_NONE, id,
					  NGHTTP2_REFUSED_STREAM);
		return;
	}
	struct h2_request req = {
	    .msg = s->head.msg,
	    .why = h2_head_request(&s->head, end && !ptr, key_of(s)),
	    .end = end,
	    .weight = h2_head_weight(&s->head, s->block),
	    .ptr = ptr,
	    .len = len,
	};
	st->id = id;
	st->request_ended = end;
	h2_window_init(&st->window, &s->budget);
	h2_window_came(&st->window, len);
	if (end)
		h2_window_end(&st->window);
	list_push_back(&s->streams, &st->link);
	s->n_streams++;
	nghttp2_session_set_stream_user_data(s->session, id, st);
	s->on->request(st, &req);
}

static void end_request(struct h2_stream *st)
{
	st->request_ended = true;
	h2_window_end(&st->window);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct h2_server *s = user;
	bool trailers = frame->headers.cat != NGHTTP2_HCAT_REQUEST;
	(void)session;
	h2_head_begin(&s->head, trailers ? s->codec->trailers : s->codec->msg, s->codec->lines,
		      &s->limits, trailers);
	s->head_id = frame->hd.stream_id;
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
		     void *user)
{
	struct h2_server *s = user;
	(void)session;
	(void)frame;
	if (unlikely(flags & NGHTTP2_NV_FLAG_NO_INDEX))
		h2_head_never(&s->head, view_of((const char *)name, name_len));
	if (h2_head_add(&s->head, view_of((const char *)name, name_len),
			view_of((const char *)value, value_len)))
		return 0;
	h2_server_flood(s, H2_FLOOD_header_lists);
	return NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* Malformed fields are never left out in silence: the stream is refused. */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame,
			     const uint8_t *name, size_t name_len, const uint8_t *value,
			     size_t value_len, uint8_t flags, void *user)
{
	(void)session;
	(void)frame;
	(void)name;
	(void)name_len;
	(void)value;
	(void)value_len;
	(void)flags;
	(void)user;
	return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

/* ---- frames ---- */

static int32_t flood_of(nghttp2_session *session, const nghttp2_frame_hd *hd)
{
	switch (hd->type) {
	case NGHTTP2_SETTINGS:
		return hd->flags & NGHTTP2_FLAG_ACK ? -1 : H2_FLOOD_settings;
	case NGHTTP2_PING:
		return H2_FLOOD_pings;
	case NGHTTP2_PRIORITY:
	case NGHTTP2_PRIORITY_UPDATE:
		return H2_FLOOD_priorities;
	case NGHTTP2_WINDOW_UPDATE:
		return H2_FLOOD_windows;
	case NGHTTP2_DATA:
		return hd->length == 0 && !(hd->flags & NGHTTP2_FLAG_END_STREAM)
			   ? H2_FLOOD_empty_data
			   : -1;
	case NGHTTP2_RST_STREAM: /* else it counts when the stream ends by it */
		return nghttp2_session_find_stream(session, hd->stream_id) ? -1 : H2_FLOOD_others;
	case NGHTTP2_HEADERS:
	case NGHTTP2_CONTINUATION: /* bounded by nghttp2 */
		return -1;
	default:
		return H2_FLOOD_others;
	}
}

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *user)
{
	struct h2_server *s = user;
	int32_t kind = flood_of(session, hd);
	if (unlikely(kind >= 0 && !h2_server_charge(s, (enum h2_flood)kind)))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	if (unlikely(s->dead)) /* what came before was too much */
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	if (s->held_id && !(hd->type == NGHTTP2_DATA && hd->stream_id == s->held_id))
		begin_held(s, false, NULL, 0);
	if (hd->type == NGHTTP2_HEADERS)
		s->block = (uint32_t)hd->length;
	else if (hd->type == NGHTTP2_CONTINUATION)
		s->block += (uint32_t)hd->length;
	if (hd->type == NGHTTP2_DATA) {
		s->data_left = (uint32_t)hd->length;
		/* with padding the end is not where the payload is */
		s->data_last = (hd->flags & NGHTTP2_FLAG_END_STREAM) &&
			       !(hd->flags & NGHTTP2_FLAG_PADDED) && hd->length > 0;
	}
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *ptr,
		   size_t len, void *user)
{
	struct h2_server *s = user;
	char *at = (char *)(uintptr_t)ptr; /* the caller's own bytes: see h2_server_recv */
	(void)session;
	(void)flags;
	s->data_left -= (uint32_t)len;
	bool last = s->data_last && s->data_left == 0;
	/* one stream that is not taken must not stop the others */
	nghttp2_session_consume_connection(s->session, len);
	if (s->held_id == id) {
		begin_held(s, last, at, len);
		return 0;
	}
	struct h2_stream *st = stream_of(s, id);
	if (!st || st->closed)
		return 0;
	h2_window_came(&st->window, len);
	if (last)
		end_request(st);
	s->on->data(st, at, len, last);
	return 0;
}

static void request_complete(struct h2_server *s, const nghttp2_frame *frame)
{
	bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
	s->head_id = 0;
	s->held_id = frame->hd.stream_id;
	if (end || s->head.why != REJECT_NONE)
		begin_held(s, end, NULL, 0);
}

static void trailers_complete(struct h2_server *s, const nghttp2_frame *frame)
{
	struct h2_stream *st = stream_of(s, frame->hd.stream_id);
	s->head_id = 0;
	if (!st || st->closed)
		return;
	end_request(st);
	enum reject why = h2_head_trailers(&s->head);
	if (why != REJECT_NONE)
		h2_server_blame(s);
	s->on->trailers(st, s->head.msg, why);
}

static void data_complete(struct h2_server *s, const nghttp2_frame *frame)
{
	int32_t id = frame->hd.stream_id;
	bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
	if (end && s->held_id == id) /* an empty frame behind the head */
		begin_held(s, true, NULL, 0);
	struct h2_stream *st = stream_of(s, id);
	if (!st || st->closed || st->request_ended)
		return;
	if (end) {
		end_request(st);
		s->on->end(st);
	} else if (frame->data.padlen) {
		h2_window_padding(&st->window, (struct h2_window_at){s->session, id},
				  frame->data.padlen);
	}
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct h2_server *s = user;
	(void)session;
	if (frame->hd.type == NGHTTP2_HEADERS) {
		if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
			request_complete(s, frame);
		else
			trailers_complete(s, frame);
	} else if (frame->hd.type == NGHTTP2_DATA) {
		data_complete(s, frame);
	} else if (frame->hd.type == NGHTTP2_RST_STREAM) {
		s->reset_id = frame->hd.stream_id;
	}
	return 0;
}

/* Frames of unknown types count as others (on_begin_frame) and mean nothing. */
static int on_unknown(nghttp2_session *session, void **payload, const nghttp2_frame_hd *hd,
		      void *user)
{
	(void)session;
	(void)payload;
	(void)hd;
	(void)user;
	return NGHTTP2_ERR_CANCEL;
}

/* ---- the end of streams ---- */

/* A stream beyond the limit, before the client has acknowledged the limit, is refused without
 * having been open: its end is not told, but it cost as much as any other. */
static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error,
			    void *user)
{
	struct h2_server *s = user;
	(void)session;
	bool malformed = error == NGHTTP2_ERR_HTTP_HEADER || error == NGHTTP2_ERR_HTTP_MESSAGING;
	if (malformed && frame->hd.type == NGHTTP2_HEADERS && !stream_of(s, frame->hd.stream_id))
		s->on->malformed(s);
	if (error != NGHTTP2_ERR_REFUSED_STREAM || s->dead || h2_server_charge(s, H2_FLOOD_resets))
		return 0;
	return NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
	struct h2_server *s = user;
	struct h2_stream *st = nghttp2_session_get_stream_user_data(session, id);
	bool malformed = code == NGHTTP2_PROTOCOL_ERROR && id != s->reset_id;
	if (s->head_id == id)
		s->head_id = 0;
	if (s->held_id == id)
		s->held_id = 0;
	bool by_us = st && st->reset;
	bool early = code != NGHTTP2_NO_ERROR || (st && !st->end_sent);
	if (st) {
		st->closed = true;
		st->code = code;
		st->malformed = malformed && !by_us;
		s->n_streams--;
		if (!list_is_linked(&st->event))
			list_push_back(&s->events, &st->event);
	}
	/* CVE-2023-44487 and CVE-2025-8671: whoever sends RST_STREAM, the client is why */
	if (early && !by_us && !s->dead && !h2_server_charge(s, H2_FLOOD_resets))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	return 0;
}

void h2_server_settle(struct h2_server *s)
{
	if (s->in_call)
		return;
	while (!list_is_empty(&s->events)) {
		struct h2_stream *st = list_first(&s->events, struct h2_stream, event);
		list_del(&st->event);
		if (st->closed) {
			s->on->closed(st);
		} else if (st->waits && h2_stream_pending(st) == 0) {
			st->waits = false;
			s->on->drained(st);
		}
	}
}

/* ---- life ---- */

static bool set_options(struct h2_codec *codec)
{
	nghttp2_option *option;
	if (nghttp2_option_new(&option))
		return false;
	codec->option = option;
	nghttp2_option_set_no_auto_window_update(option, 1);
	nghttp2_option_set_no_closed_streams(option, 1);
	nghttp2_option_set_builtin_recv_extension_type(option, NGHTTP2_PRIORITY_UPDATE);
	for (unsigned type = NGHTTP2_CONTINUATION + 1; type <= UINT8_MAX; type++)
		if (type != NGHTTP2_PRIORITY_UPDATE)
			nghttp2_option_set_user_recv_extension_type(option, (uint8_t)type);
	/* ours counts more kinds, and answers ENHANCE_YOUR_CALM */
	nghttp2_option_set_stream_reset_rate_limit(option, UINT32_MAX, UINT32_MAX);
	return true;
}

enum err h2_codec_init(struct h2_codec *codec, const struct h2_codec *parts)
{
	nghttp2_session_callbacks *cb;
	*codec = *parts;
	h2_mem_init(&codec->mem);
	codec->lines = malloc(H2_LINES_MAX);
	if (!codec->lines || nghttp2_session_callbacks_new(&cb))
		return ERR_NOMEM;
	codec->callbacks = cb;
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_invalid_header_callback(cb, on_invalid_header);
	nghttp2_session_callbacks_set_on_begin_frame_callback(cb, on_begin_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_callbacks_set_unpack_extension_callback(cb, on_unknown);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cb, on_invalid_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	h2_send_callbacks(cb);
	return set_options(codec) ? ERR_OK : ERR_NOMEM;
}

void h2_codec_fini(struct h2_codec *codec)
{
	nghttp2_session_callbacks_del(codec->callbacks);
	nghttp2_option_del(codec->option);
	free(codec->lines);
	h2_mem_fini(&codec->mem);
}

static bool submit_settings(struct h2_server *s, const struct h2_settings *settings)
{
	nghttp2_settings_entry rows[] = {
	    {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, settings->streams},
	    {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_WINDOW_FIRST},
	    {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, settings->limits.head_bytes},
	    {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
	    {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
	};
	return !nghttp2_submit_settings(s->session, NGHTTP2_FLAG_NONE, rows, ARRAY_LEN(rows)) &&
	       !nghttp2_session_set_local_window_size(s->session, NGHTTP2_FLAG_NONE, 0,
						      NGHTTP2_MAX_WINDOW_SIZE);
}

enum err h2_server_open(struct h2_server *s, struct h2_codec *codec,
			const struct h2_settings *settings, const struct h2_server_events *on,
			uint64_t now_us)
{
	nghttp2_mem mem = {&codec->mem, h2_mem_alloc, h2_mem_free, h2_mem_calloc, h2_mem_realloc};
	nghttp2_session *session;
	memset(s, 0, sizeof(*s));
	s->codec = codec;
	s->on = on;
	s->limits = settings->limits;
	s->budget = (struct h2_budget){.limit = settings->window_bytes, .all = codec->windows};
	s->now_us = now_us;
	s->flood = H2_N_FLOODS;
	list_init(&s->streams);
	list_init(&s->events);
	for (unsigned i = 0; i < H2_N_RATES; i++) {
		s->buckets[i] = (struct h2_bucket){0, settings->per_second[i], now_us};
		s->buckets[i].tokens = h2_bucket_burst(&s->buckets[i]);
	}
	if (nghttp2_session_server_new3(&session, codec->callbacks, s, codec->option, &mem))
		return ERR_NOMEM;
	s->session = session;
	if (submit_settings(s, settings))
		return ERR_OK;
	h2_server_close(s);
	return ERR_NOMEM;
}

void h2_server_close(struct h2_server *s)
{
	nghttp2_session_del(s->session);
	s->session = NULL;
	buf_put(s->codec->bufs, s->gather);
	buf_put(s->codec->bufs, s->kept);
	s->gather = s->kept = NULL;
}

/* A head that goes on in the next read leaves the scratch area to others. */
static bool keep_head(struct h2_server *s)
{
	return !s->head_id || buf_append(s->codec->bufs, &s->kept, s->head.lines, s->head.len);
}

static void restore_head(struct h2_server *s)
{
	struct message *msg = s->head.trailers ? s->codec->trailers : s->codec->msg;
	struct view kept = s->kept ? buf_view(s->kept) : VIEW_NONE;
	h2_head_again(&s->head, msg, kept);
	buf_put(s->codec->bufs, s->kept);
	s->kept = NULL;
}

/* Says why before the connection ends, if nghttp2 is still able to. */
static void say_goodbye(struct h2_server *s, ssize_t result)
{
	uint32_t code = NGHTTP2_PROTOCOL_ERROR;
	if (result == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS)
		h2_server_flood(s, H2_FLOOD_continuations);
	if (s->flood != H2_N_FLOODS || result == NGHTTP2_ERR_FLOODED ||
	    result == NGHTTP2_ERR_CALLBACK_FAILURE)
		code = NGHTTP2_ENHANCE_YOUR_CALM;
	s->dead = true;
	if (result != NGHTTP2_ERR_BAD_CLIENT_MAGIC)
		nghttp2_session_terminate_session(s->session, code);
}

bool h2_server_recv(struct h2_server *s, char *ptr, size_t len, uint64_t now_us)
{
	if (s->dead)
		return false;
	s->now_us = now_us;
	s->in_call = true;
	if (unlikely(s->head_id))
		restore_head(s);
	ssize_t n = nghttp2_session_mem_recv(s->session, (const uint8_t *)ptr, len);
	if (n >= 0 && s->held_id)
		begin_held(s, false, NULL, 0);
	s->in_call = false;
	if (unlikely(n < 0 || s->dead || !keep_head(s))) {
		say_goodbye(s, n);
		return false;
	}
	return true;
}

bool h2_server_is_over(const struct h2_server *s)
{
	return !nghttp2_session_want_read(s->session) && !nghttp2_session_want_write(s->session);
}
