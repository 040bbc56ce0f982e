/* SPDX-License-Identifier: MIT */
/* HTTP/2 in clear text with prior knowledge, one stream after the other. */
#include <ctype.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <string.h>

#include "peer.h"

#include "weir/base/check.h"

static void flush(struct peer *peer)
{
	const uint8_t *bytes;
	struct str all = STR_INIT;
	for (ssize_t n; (n = nghttp2_session_mem_send(peer->session, &bytes)) > 0;)
		str_view(&all, view_of((const char *)bytes, (size_t)n));
	if (str_as_view(&all).len)
		peer_raw(peer, str_as_view(&all));
	str_fini(&all);
}

/* ---- hearing ---- */

static int on_begin(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct peer *peer = user;
	(void)session;
	if (!peer->is_backend || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	peer->n_reset += peer->heard.is_broken;
	peer_forget(peer);
	peer->stream = frame->hd.stream_id;
	return 0;
}

static int on_field(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		    size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
		    void *user)
{
	struct peer *peer = user;
	struct view n = view_of((const char *)name, name_len);
	struct view v = view_of((const char *)value, value_len);
	(void)session;
	if (frame->hd.stream_id != peer->stream)
		return 0;
	struct peer_message *m = &peer->heard;
	if (view_eq(n, VIEW(":method")) || view_eq(n, VIEW(":status")))
		str_view(&m->start, v);
	else if (view_eq(n, VIEW(":path")))
		str_printf(&m->start, " " VIEW_FMT, VIEW_ARG(v));
	else if (view_eq(n, VIEW(":authority")))
		str_printf(&m->fields, "host: " VIEW_FMT "\n", VIEW_ARG(v));
	else if (*n.ptr != ':')
		str_printf(&m->fields, "%s" VIEW_FMT ": " VIEW_FMT "\n",
			   m->has_head ? "trailer-" : "", VIEW_ARG(n), VIEW_ARG(v));
	if (flags & NGHTTP2_NV_FLAG_NO_INDEX)
		str_printf(&m->fields, "!%s" VIEW_FMT ": " VIEW_FMT "\n",
			   m->has_head ? "trailer-" : "", VIEW_ARG(n), VIEW_ARG(v));
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct peer *peer = user;
	struct peer_message *m = &peer->heard;
	(void)session;
	if (frame->hd.stream_id != peer->stream || peer->stream == 0)
		return 0;
	if (frame->hd.type == NGHTTP2_HEADERS) {
		struct view start = str_as_view(&m->start);
		if (!peer->is_backend && start.len && *start.ptr == '1') {
			m->n_interim++;
			str_reset(&m->start);
			str_reset(&m->fields);
			return 0;
		}
		m->has_head = true;
	}
	if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
	    (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		m->has_end = true;
	if (frame->hd.type == NGHTTP2_RST_STREAM && !m->has_end)
		m->is_broken = true;
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data,
		   size_t len, void *user)
{
	struct peer *peer = user;
	(void)session, (void)flags;
	if (stream == peer->stream)
		str_view(&peer->heard.body, view_of((const char *)data, len));
	return 0;
}

void peer_h2_understand(struct peer *peer, struct view bytes)
{
	ssize_t n = nghttp2_session_mem_recv(peer->session, (const uint8_t *)bytes.ptr, bytes.len);
	if (n < 0)
		peer->heard.is_broken = true;
	flush(peer);
}

/* ---- speaking ---- */

static nghttp2_nv nv(struct view name, struct view value)
{
	return (nghttp2_nv){(uint8_t *)name.ptr, (uint8_t *)value.ptr, name.len, value.len,
			    NGHTTP2_NV_FLAG_NONE};
}

#define FIELDS_MAX 64

static size_t say_fields(nghttp2_nv *out, struct view fields, char *lower)
{
	struct view name, value;
	size_t n = 0;
	while (peer_next_field(&fields, &name, &value)) {
		check(n < FIELDS_MAX - 4);
		bool never = *name.ptr == '!';
		name = view_skip(name, never);
		for (size_t i = 0; i < name.len; i++)
			lower[i] = (char)tolower((unsigned char)name.ptr[i]);
		out[n] = nv(view_of(lower, name.len), value);
		out[n++].flags = never ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE;
		lower += name.len;
	}
	return n;
}

/* What is to be said of the end of the body where trailers follow. */
static uint32_t say_trailers(struct peer *peer)
{
	nghttp2_nv fields[FIELDS_MAX];
	char lower[4096];
	size_t n = say_fields(fields, str_as_view(&peer->trailers), lower);
	if (!n)
		return NGHTTP2_DATA_FLAG_NONE;
	check(nghttp2_submit_trailer(peer->session, peer->stream, fields, n) == 0);
	return NGHTTP2_DATA_FLAG_NO_END_STREAM;
}

static ssize_t source(nghttp2_session *session, int32_t stream, uint8_t *to, size_t cap,
		      uint32_t *flags, nghttp2_data_source *from, void *user)
{
	struct peer *peer = user;
	struct view rest = view_skip(str_as_view(&peer->out), peer->out_sent);
	size_t n = rest.len < cap ? rest.len : cap;
	(void)session, (void)stream, (void)from;
	if (n)
		memcpy(to, rest.ptr, n);
	peer->out_sent += n;
	if (n == rest.len && peer->out_end)
		*flags |= NGHTTP2_DATA_FLAG_EOF | say_trailers(peer);
	else if (n == 0)
		return NGHTTP2_ERR_DEFERRED;
	return (ssize_t)n;
}

static void say_request(struct peer *peer, const struct peer_words *words, nghttp2_nv *fields,
			nghttp2_data_provider *body)
{
	ptrdiff_t space = view_chr(words->start, ' ');
	char lower[4096];
	check(space > 0);
	fields[0] = nv(VIEW(":method"), view_head(words->start, (size_t)space));
	fields[1] = nv(VIEW(":path"), view_skip(words->start, (size_t)space + 1));
	fields[2] = nv(VIEW(":scheme"), VIEW("http"));
	fields[3] = nv(VIEW(":authority"), VIEW("script.test"));
	size_t n = 4 + say_fields(fields + 4, words->fields, lower);
	peer->stream = nghttp2_submit_request(peer->session, NULL, fields, n, body, NULL);
	check(peer->stream > 0);
}

static void say_response(struct peer *peer, const struct peer_words *words, nghttp2_nv *fields,
			 nghttp2_data_provider *body)
{
	char lower[4096];
	fields[0] = nv(VIEW(":status"), words->start);
	size_t n = 1 + say_fields(fields + 1, words->fields, lower);
	if (*words->start.ptr == '1')
		nghttp2_submit_headers(peer->session, NGHTTP2_FLAG_NONE, peer->stream, NULL, fields,
				       n, NULL);
	else
		nghttp2_submit_response(peer->session, peer->stream, fields, n, body);
}

void peer_h2_say(struct peer *peer, const struct peer_words *words)
{
	nghttp2_data_provider from = {.read_callback = source};
	nghttp2_nv fields[FIELDS_MAX];
	bool has_body = words->unfinished || words->body.len;
	str_reset(&peer->out);
	str_reset(&peer->trailers);
	str_view(&peer->out, words->body);
	peer->out_sent = 0;
	peer->out_end = !words->unfinished;
	if (peer->is_backend)
		say_response(peer, words, fields, has_body ? &from : NULL);
	else
		say_request(peer, words, fields, has_body ? &from : NULL);
	flush(peer);
}

void peer_h2_say_body(struct peer *peer, struct view body)
{
	str_view(&peer->out, body);
	nghttp2_session_resume_data(peer->session, peer->stream);
	flush(peer);
}

void peer_h2_end(struct peer *peer, struct view trailers)
{
	str_view(&peer->trailers, trailers);
	peer->out_end = true;
	nghttp2_session_resume_data(peer->session, peer->stream);
	flush(peer);
}

/* ---- life ---- */

#define WIDE (16 * 1024 * 1024)

void peer_h2_widen(struct peer *peer)
{
	const int32_t streams[] = {0, peer->stream};
	for (size_t i = 0; i < ARRAY_LEN(streams); i++)
		nghttp2_session_set_local_window_size(peer->session, NGHTTP2_FLAG_NONE, streams[i],
						      WIDE);
	flush(peer);
}

bool peer_reset(struct peer *peer, struct view code)
{
	for (uint32_t c = NGHTTP2_NO_ERROR; c <= NGHTTP2_HTTP_1_1_REQUIRED; c++) {
		if (!view_eq(code, view_str(nghttp2_http2_strerror(c))))
			continue;
		nghttp2_submit_rst_stream(peer->session, NGHTTP2_FLAG_NONE, peer->stream, c);
		flush(peer);
		return true;
	}
	return false;
}

void peer_h2_open(struct peer *peer)
{
	static const nghttp2_settings_entry settings[] = {
	    {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 100}};
	nghttp2_session_callbacks *on;
	nghttp2_session *session;
	check(nghttp2_session_callbacks_new(&on) == 0);
	nghttp2_session_callbacks_set_on_begin_headers_callback(on, on_begin);
	nghttp2_session_callbacks_set_on_header_callback(on, on_field);
	nghttp2_session_callbacks_set_on_frame_recv_callback(on, on_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(on, on_data);
	if (peer->is_backend)
		check(nghttp2_session_server_new(&session, on, peer) == 0);
	else
		check(nghttp2_session_client_new(&session, on, peer) == 0);
	nghttp2_session_callbacks_del(on);
	peer->session = session;
	nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, peer->is_backend);
	flush(peer);
}

void peer_h2_close(struct peer *peer)
{
	nghttp2_session_del(peer->session);
	peer->session = NULL;
}
