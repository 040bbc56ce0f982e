/* SPDX-License-Identifier: MIT */
/* Responses become frames of the stream that asked: client_ops of HTTP/2. */
#include "client_h2.h"

#include "client_h1.h"

#include "weir/net/websocket.h"

/* After bytes were given: whether they are all on their way. */
static enum io given(struct client_stream *cs, bool ok)
{
	client_h2_dirty(cs->h2);
	if (!ok)
		return IO_ERR;
	if (h2_stream_pending(&cs->st) == 0)
		return IO_OK;
	cs->st.waits = true;
	return IO_WAIT;
}

static enum io op_head(struct exchange *ex, struct message *resp, struct span body, bool end)
{
	struct client_stream *cs = ex->client;
	ex->head_relayed = true;
	ex->body_out += body.len;
	/* heads count as they were before compression, 9 is a frame's own head */
	ex->bytes_out += resp->head_len + body.len + 9;
	return given(cs, h2_server_respond(&cs->h2->server, &cs->st, resp, resp->status,
					   view_of(body.ptr, body.len), end));
}

static enum io op_data(struct exchange *ex, struct span body, bool end)
{
	struct client_stream *cs = ex->client;
	ex->body_out += body.len;
	ex->bytes_out += body.len + 9;
	return given(cs,
		     h2_server_data(&cs->h2->server, &cs->st, view_of(body.ptr, body.len), end));
}

static enum io op_trailers(struct exchange *ex, const struct message *trailers)
{
	struct client_stream *cs = ex->client;
	return given(cs, h2_server_trailers(&cs->h2->server, &cs->st, trailers));
}

static enum io op_interim(struct exchange *ex, struct message *resp)
{
	struct client_stream *cs = ex->client;
	client_h2_dirty(cs->h2);
	return h2_server_interim(&cs->h2->server, &cs->st, resp) ? IO_OK : IO_ERR;
}

/* 101 of HTTP/1 is 200 here (RFC 8441); there was no key of the client's to accept. */
static enum io op_upgrade(struct exchange *ex, struct message *resp, struct span bytes)
{
	struct client_stream *cs = ex->client;
	struct header *accept = message_find_name(resp, VIEW("Sec-WebSocket-Accept"));
	message_drop_hop_by_hop(resp, false);
	if (accept)
		accept->drop = true;
	ex->bytes_out += resp->head_len + bytes.len + 9;
	ex->body_out += bytes.len;
	ex->status = 200;
	exchange_tunnel(ex);
	cs->open = true;
	if (cs->in.len || cs->ended)
		list_push_back(&cs->h2->todo, &cs->todo);
	return given(cs, h2_server_respond(&cs->h2->server, &cs->st, resp, 200,
					   view_of(bytes.ptr, bytes.len), false));
}

/*
 * The client's CONNECT was translated, so weir is whom the backend has to prove that
 * it understood (RFC 6455 4.1); and a status of 2xx would tell the client that its
 * tunnel is open.
 */
static bool op_takes(const struct exchange *ex, struct message *resp)
{
	const struct client_stream *cs = ex->client;
	char want[WEBSOCKET_ACCEPT_LEN];
	if (!cs->tunnel)
		return true;
	if (resp->status != 101)
		return resp->status >= 300;
	struct header *accept = message_find_name(resp, VIEW("Sec-WebSocket-Accept"));
	websocket_accept(view_of(cs->key, sizeof(cs->key)), want);
	return accept && view_eq(accept->value, view_of(want, sizeof(want)));
}

static enum io op_raw(struct exchange *ex, struct span bytes)
{
	return op_data(ex, bytes, false);
}

static void op_raw_end(struct exchange *ex)
{
	struct client_stream *cs = ex->client;
	given(cs, h2_server_data(&cs->h2->server, &cs->st, VIEW_NONE, true));
}

/* Not at once: the receive area may be in use. */
static void op_resume(struct exchange *ex)
{
	struct client_stream *cs = ex->client;
	if (!cs->paused)
		return;
	cs->paused = false;
	h2_server_taken(&cs->h2->server, &cs->st, cs->held);
	cs->held = 0;
	if (!list_is_linked(&cs->todo))
		list_push_back(&cs->h2->todo, &cs->todo);
	client_h2_dirty(cs->h2);
}

static size_t op_pending(const struct exchange *ex)
{
	const struct client_stream *cs = ex->client;
	return h2_stream_pending(&cs->st);
}

/* What the connection owes is owed by each of its streams. */
static size_t op_unsent(const struct exchange *ex)
{
	const struct client_stream *cs = ex->client;
	return h2_stream_pending(&cs->st) + stream_unsent(&cs->h2->conn->stream);
}

static void op_origin(const struct exchange *ex, struct proxy_header *out)
{
	const struct client_stream *cs = ex->client;
	client_origin(cs->h2->conn, out);
}

const struct client_ops client_h2_ops = {
    .head = op_head,
    .data = op_data,
    .trailers = op_trailers,
    .interim = op_interim,
    .takes = op_takes,
    .upgrade = op_upgrade,
    .raw = op_raw,
    .raw_end = op_raw_end,
    .resume = op_resume,
    .pending = op_pending,
    .unsent = op_unsent,
    .origin = op_origin,
};
