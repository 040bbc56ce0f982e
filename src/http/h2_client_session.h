/* SPDX-License-Identifier: MIT */
/* What the files of h2_client share. */
#ifndef WEIR_HTTP_H2_CLIENT_SESSION_H
#define WEIR_HTTP_H2_CLIENT_SESSION_H

#include <nghttp2/nghttp2.h>

#include "h2_block.h"

#include "weir/http/h2_client.h"

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

static inline struct h2_client_stream *h2_client_stream_of(struct h2_client *h2, int32_t id)
{
	return nghttp2_session_get_stream_user_data(h2->session, id);
}

static inline nghttp2_nv h2_client_field(struct view name, struct view value, uint8_t flags)
{
	/* nghttp2 copies both, and lowers the case of names */
	return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name.ptr,
			    .namelen = name.len,
			    .value = (uint8_t *)(uintptr_t)value.ptr,
			    .valuelen = value.len,
			    .flags = flags};
}

/* ---- h2_client_events.c: what nghttp2 calls ---- */

nghttp2_session *h2_client_session(struct h2_client *h2);
/* The head that waits for its first DATA goes to its stream. */
void h2_client_give_head(struct h2_client *h2, char *body, size_t len, bool end);
void h2_client_drop_text(struct h2_client *h2);
/* Of a request's body. */
ssize_t h2_client_on_source(nghttp2_session *session, int32_t id, uint8_t *to, size_t cap,
			    uint32_t *flags, nghttp2_data_source *source, void *user);

#endif
