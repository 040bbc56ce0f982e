/* SPDX-License-Identifier: MIT */
/* The client's side over HTTP/1.1 and 1.0: writing responses (struct client_ops). */
#include "client_h1.h"

#include <string.h>

#include "chunk.h"

static enum io put(struct exchange *ex, const char *ptr, size_t len)
{
	struct client *c = ex->client;
	ex->bytes_out += len;
	return stream_write(&c->stream, ptr, len);
}

/* May this connection carry another request once the response is out? */
static bool may_keep(const struct client *c, const struct exchange *ex)
{
	return c->keep && exchange_request_came(ex) && !ex->close_client && !c->worker->draining &&
	       !c->retired && c->worker->loop.now_us < c->expires_us && (!c->half_closed || c->in);
}

static enum client_framing framing_of(const struct exchange *ex, const struct message *resp)
{
	if (resp->body == BODY_LENGTH || resp->body == BODY_NONE)
		return FRAMING_LENGTH;
	return ex->client_minor >= 1 ? FRAMING_CHUNKED : FRAMING_CLOSE;
}

/* Not a byte of it has gone to the client, who is still there. */
static enum io too_large(struct exchange *ex)
{
	ex->not_given = OUTCOME_response_too_large;
	return IO_ERR;
}

/* The head in worker->head, which it takes. */
static struct h1_out put_head(struct exchange *ex, const struct message *resp)
{
	struct client *c = ex->client;
	scratch_take(c->worker, SCRATCH_HEAD);
	struct h1_out out = h1_out_init(c->worker->head, HEAD_ROOM - 64);
	h1_put_status_line(&out, resp->status, resp->reason);
	h1_put_headers(&out, resp);
	if (c->framing == FRAMING_CHUNKED)
		h1_put(&out, VIEW("Transfer-Encoding: chunked\r\n"));
	if (!c->keep)
		h1_put(&out, VIEW("Connection: close\r\n"));
	else if (ex->client_minor == 0)
		h1_put(&out, VIEW("Connection: keep-alive\r\n"));
	h1_put(&out, VIEW("\r\n"));
	return out;
}

static struct span frame(const struct client *c, struct span body, bool end)
{
	return c->framing == FRAMING_CHUNKED ? chunk_frame(body, end) : body;
}

static enum io op_head(struct exchange *ex, struct message *resp, struct span body, bool end)
{
	struct client *c = ex->client;
	c->framing = (uint8_t)framing_of(ex, resp);
	if (c->framing == FRAMING_CLOSE || !may_keep(c, ex))
		c->keep = false;
	struct h1_out head = put_head(ex, resp);
	if (unlikely(head.overflow)) {
		scratch_drop(c->worker, SCRATCH_HEAD);
		return too_large(ex);
	}
	ex->head_relayed = true;
	ex->body_out += body.len;
	body = frame(c, body, end);
	body.ptr -= head.len;
	memcpy(body.ptr, head.ptr, head.len);
	scratch_drop(c->worker, SCRATCH_HEAD);
	return put(ex, body.ptr, body.len + head.len);
}

static enum io op_data(struct exchange *ex, struct span body, bool end)
{
	ex->body_out += body.len;
	body = frame(ex->client, body, end);
	return put(ex, body.ptr, body.len);
}

static bool op_takes_pipe(const struct exchange *ex, const struct stream *from)
{
	const struct client *c = ex->client;
	return c->framing == FRAMING_LENGTH && stream_can_pipe(from, &c->stream);
}

static enum io op_piped(struct exchange *ex, struct pipe *pipe)
{
	struct client *c = ex->client;
	ex->body_out += pipe->held;
	ex->bytes_out += pipe->held;
	return stream_write_pipe(&c->stream, pipe);
}

/* What was put together in worker->head; lets go of that. */
static enum io put_small(struct exchange *ex, const struct h1_out *out)
{
	enum io io = out->overflow ? too_large(ex) : put(ex, out->ptr, out->len);
	scratch_drop(ex->worker, SCRATCH_HEAD);
	return io;
}

static enum io op_trailers(struct exchange *ex, const struct message *trailers)
{
	struct client *c = ex->client;
	if (c->framing != FRAMING_CHUNKED)
		return IO_OK;
	scratch_take(c->worker, SCRATCH_HEAD);
	struct h1_out out = h1_out_init(c->worker->head, HEAD_ROOM);
	h1_put(&out, VIEW("0\r\n"));
	h1_put_headers(&out, trailers);
	h1_put(&out, VIEW("\r\n"));
	return put_small(ex, &out);
}

static enum io op_interim(struct exchange *ex, struct message *resp)
{
	struct client *c = ex->client;
	if (ex->client_minor == 0)
		return IO_OK;
	scratch_take(c->worker, SCRATCH_HEAD);
	struct h1_out out = h1_out_init(c->worker->head, HEAD_ROOM);
	h1_put_status_line(&out, resp->status, resp->reason);
	h1_put_headers(&out, resp);
	h1_put(&out, VIEW("\r\n"));
	return put_small(ex, &out);
}

static enum io op_upgrade(struct exchange *ex, struct message *resp, struct span bytes)
{
	struct client *c = ex->client;
	struct worker *w = c->worker;
	scratch_take(w, SCRATCH_HEAD);
	struct h1_out out = h1_out_init(w->head, HEAD_ROOM);
	c->keep = false;
	h1_put_status_line(&out, resp->status, resp->reason);
	h1_put_headers(&out, resp);
	h1_put(&out, VIEW("Connection: upgrade\r\n\r\n"));
	if (!out.overflow)
		memcpy(bytes.ptr -= out.len, out.ptr, out.len);
	scratch_drop(w, SCRATCH_HEAD);
	if (out.overflow)
		return too_large(ex);
	exchange_tunnel(ex);
	enum io io = put(ex, bytes.ptr, bytes.len + out.len);
	if (unlikely(c->half_closed)) /* reads the end once more, as the tunnel's */
		stream_resume(&c->stream);
	if (io == IO_ERR || !c->in)
		return io;
	/* bytes the client sent ahead, trusting in the upgrade */
	struct buf *early = c->in;
	c->in = NULL;
	ex->bytes_in += early->len;
	struct span ahead = {early->data + early->start, early->len};
	enum io up = ex->at->ops->raw(ex->at, ahead);
	buf_put(&w->pool.bufs, early);
	if (up == IO_WAIT)
		client_pause_body(c);
	else if (c->stream.paused)
		stream_resume(&c->stream);
	return up == IO_ERR ? IO_ERR : io;
}

static enum io op_raw(struct exchange *ex, struct span bytes)
{
	ex->body_out += bytes.len;
	return put(ex, bytes.ptr, bytes.len);
}

static void op_raw_end(struct exchange *ex)
{
	struct client *c = ex->client;
	if (!stream_pending(&c->stream))
		stream_shutdown(&c->stream);
}

static void op_resume(struct exchange *ex)
{
	struct client *c = ex->client;
	if (!c->body_paused)
		return;
	c->body_paused = false;
	stream_resume(&c->stream);
}

static size_t op_pending(const struct exchange *ex)
{
	const struct client *c = ex->client;
	return stream_pending(&c->stream);
}

static size_t op_unsent(const struct exchange *ex)
{
	const struct client *c = ex->client;
	return stream_unsent(&c->stream);
}

static void op_origin(const struct exchange *ex, struct proxy_header *out)
{
	client_origin(ex->client, out);
}

const struct client_ops client_h1_ops = {
    .head = op_head,
    .data = op_data,
    .takes_pipe = op_takes_pipe,
    .piped = op_piped,
    .trailers = op_trailers,
    .interim = op_interim,
    .upgrade = op_upgrade,
    .raw = op_raw,
    .raw_end = op_raw_end,
    .resume = op_resume,
    .pending = op_pending,
    .unsent = op_unsent,
    .origin = op_origin,
};
