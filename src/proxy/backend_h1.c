/* SPDX-License-Identifier: MIT */
/*
 * The backend's side over HTTP/1: events of the upstream connection become
 * events of the exchange it serves.
 */
#include <errno.h>
#include <string.h>

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/base/parse.h"
#include "weir/proxy/exchange.h"

/* Full receives in one event before other connections have their turn. */
#define READS_PER_EVENT 4

static struct exchange *exchange_of(struct stream *stream)
{
	struct upconn *up = container_of(stream, struct upconn, stream);
	check_magic(up, UPCONN_MAGIC);
	struct exchange *ex = up->owner;
	check_magic(ex, EXCHANGE_MAGIC);
	return ex;
}

/* ---- sending ---- */

/* Hands the request to the kernel, from wherever it is. */
static enum io write_request(struct exchange *ex)
{
	struct view bytes =
	    ex->direct.len ? view_of(ex->direct.ptr, ex->direct.len) : buf_view(ex->req);
	enum io io = stream_write(&ex->up->stream, bytes.ptr, bytes.len);
	if (unlikely(io == IO_ERR))
		return IO_ERR;
	counter_add(&ex->up->local->counters.bytes_out, bytes.len);
	if (ex->direct.len) { /* no copy is kept: it may not be repeated anyhow */
		ex->direct.len = 0;
		ex->replayable = false;
	}
	return io;
}

void backend_h1_send(struct exchange *ex)
{
	enum io io = write_request(ex);
	if (unlikely(io == IO_ERR)) {
		bool closed = errno == EPIPE || errno == ECONNRESET;
		ex->replayable = exchange_keep_request(ex);
		attempt_failed(ex, closed ? OUTCOME_backend_reset : OUTCOME_no_memory);
		return;
	}
	ex->unsent = false;
	if (likely(!ex->counted)) /* once an attempt: not again for a stale connection */
		counter_add(&ex->up->local->counters.requests, 1);
	ex->counted = true;
	if (likely(io == IO_OK && ex->req_complete)) {
		exchange_sent(ex);
		return;
	}
	if (io == IO_WAIT)
		ex->unsent_mark = stream_unsent(&ex->up->stream);
	ex->send_from_us = clock_us();
	exchange_set_state(ex, EXCHANGE_SENDING);
	if (io == IO_OK)
		ex->client_ops->resume(ex);
}

static void on_connected(struct stream *stream, enum err err)
{
	attempt_connected(exchange_of(stream), err);
}

static void on_drained(struct stream *stream)
{
	struct exchange *ex = exchange_of(stream);
	switch (ex->state) {
	case EXCHANGE_SENDING:
		if (ex->req_complete)
			exchange_sent(ex);
		else
			exchange_arm(ex);
		break;
	case EXCHANGE_TUNNEL:
		exchange_arm(ex);
		if (ex->client_eof)
			stream_shutdown(stream);
		break;
	default:
		break;
	}
	if (!ex->req_complete || ex->state == EXCHANGE_TUNNEL)
		ex->client_ops->resume(ex);
}

/* ---- the end of a response ---- */

static void response_done(struct exchange *ex)
{
	bool keep = ex->resp_keep && ex->req_complete && !ex->upload_dead;
	ex->resp_complete = true;
	attempt_finish(ex, keep, ex->status >= 500);
	if (ex->client_ops->pending(ex)) {
		ex->outcome = OUTCOME_ok;
		if (!ex->blocked_from_us)
			ex->blocked_from_us = clock_us();
		ex->unsent_mark = ex->client_ops->unsent(ex);
		exchange_set_state(ex, EXCHANGE_FLUSH);
	} else {
		exchange_end(ex, OUTCOME_ok);
	}
}

/*
 * After bytes were given to the client.  True when reading may go on; false
 * when the exchange is over, moved on, or has to wait for the client.
 */
static bool relayed(struct exchange *ex, enum io io, bool end)
{
	if (unlikely(io == IO_ERR)) {
		exchange_client_gone(ex);
		return false;
	}
	if (end) {
		response_done(ex);
		return false;
	}
	if (io == IO_WAIT) {
		ex->write_blocked = true;
		ex->blocked_from_us = clock_us();
		ex->unsent_mark = ex->client_ops->unsent(ex);
		stream_pause(&ex->up->stream);
	}
	if (ex->state == EXCHANGE_WAITING || ex->state == EXCHANGE_SENDING)
		exchange_set_state(ex, EXCHANGE_TRANSFER);
	else
		exchange_arm(ex);
	return io == IO_OK;
}

/* ---- bodies ---- */

static bool relay_trailers(struct exchange *ex, struct view raw)
{
	struct worker *w = ex->worker;
	struct h1_limits limits = head_limits(ex->listener);
	enum reject why;
	if (h1_parse_trailers(raw, &limits, &w->resp, &why) != H1_OK) {
		counter_add(&w->counters.rejects[why], 1);
		exchange_end(ex, OUTCOME_backend_bad_body);
		return false;
	}
	return relayed(ex, ex->client_ops->trailers(ex, &w->resp), true);
}

/*
 * Keeps what the body reader could not use yet (part of a trailer section)
 * until more comes.
 */
static bool keep_rest(struct exchange *ex, const char *ptr, size_t len)
{
	if (len == 0)
		return true;
	if (buf_append(&ex->worker->pool.bufs, &ex->resp_in, ptr, len))
		return true;
	exchange_end(ex, OUTCOME_no_memory);
	return false;
}

/* Body bytes at `ptr`; `resp` is the head to send along with them, or NULL. */
static bool relay_body(struct exchange *ex, struct message *resp, char *ptr, size_t len)
{
	struct h1_piece piece;
	enum reject why;
	enum h1_result result = h1_body_read(&ex->resp_body, ptr, len, &piece, &why);
	if (unlikely(result == H1_BAD)) {
		counter_add(&ex->worker->counters.rejects[why], 1);
		if (resp)
			attempt_failed(ex, OUTCOME_bad_response);
		else
			exchange_end(ex, OUTCOME_backend_bad_body);
		return false;
	}
	bool over = result == H1_OK, trailers = over && piece.trailers.len;
	struct span body = {ptr, piece.data.len};
	if (over && piece.consumed < len) /* more than the response: never use it again */
		ex->resp_keep = false;
	if (!over && !keep_rest(ex, ptr + piece.consumed, len - piece.consumed))
		return false;
	enum io io = IO_OK;
	if (resp)
		io = ex->client_ops->head(ex, resp, body, over && !trailers);
	else if (body.len || over)
		io = ex->client_ops->data(ex, body, over && !trailers);
	if (!trailers || io == IO_ERR)
		return relayed(ex, io, over && !trailers);
	return relay_trailers(ex, piece.trailers);
}

/* ---- heads ---- */

static void note_keep_alive(struct exchange *ex, struct message *resp)
{
	struct header *h = message_find(resp, HDR_KEEP_ALIVE);
	ex->resp_keep = resp->keep_alive && resp->body != BODY_CLOSE;
	struct view rest = h ? h->value : VIEW_NONE, param;
	while (view_next_token(&rest, &param)) {
		uint64_t seconds;
		if (view_istarts(param, VIEW("timeout=")) &&
		    parse_u64(view_skip(param, 8), &seconds) && seconds > 0 && seconds < 100000)
			ex->up->idle_limit_us = seconds * 1000000;
	}
}

static void count_response(struct exchange *ex, unsigned status)
{
	struct backend_counters *c = &ex->up->local->counters;
	struct counter *const classes[] = {&c->responses_1xx, &c->responses_2xx, &c->responses_3xx,
					   &c->responses_4xx, &c->responses_5xx};
	counter_add(classes[status / 100 - 1], 1);
}

static bool upgraded(struct exchange *ex, struct message *resp, char *rest, size_t len)
{
	if (!ex->wants_upgrade || !resp->upgrade) {
		attempt_failed(ex, OUTCOME_bad_response);
		return false;
	}
	ex->status = 101;
	ex->head_relayed = true;
	policy_response(ex, resp);
	exchange_set_state(ex, EXCHANGE_TUNNEL);
	return relayed(ex, ex->client_ops->upgrade(ex, resp, (struct span){rest, len}), false);
}

static bool final_head(struct exchange *ex, struct message *resp, char *rest, size_t len)
{
	struct h1_limits limits = head_limits(ex->listener);
	ex->status = resp->status;
	note_keep_alive(ex, resp);
	policy_response(ex, resp);
	h1_body_init(&ex->resp_body, resp, &limits, 0);
	return relay_body(ex, resp, rest, len);
}

/* Heads at `ptr`, of which `seen` bytes were not enough the last time. */
static bool relay_head(struct exchange *ex, char *ptr, size_t len, size_t seen)
{
	struct worker *w = ex->worker;
	struct h1_limits limits = head_limits(ex->listener);
	while (len) {
		enum reject why;
		enum h1_result result = H1_MORE;
		if (!seen || h1_head_may_be_complete(view_of(ptr, len), seen, &limits))
			result = h1_parse_response(view_of(ptr, len), &limits, ex->method, &w->resp,
						   &why);
		if (result == H1_BAD) {
			counter_add(&w->counters.rejects[why], 1);
			attempt_failed(ex, OUTCOME_bad_response);
			return false;
		}
		if (result == H1_MORE)
			return keep_rest(ex, ptr, len);
		count_response(ex, w->resp.status);
		size_t head_len = w->resp.head_len;
		if (w->resp.status == 101)
			return upgraded(ex, &w->resp, ptr + head_len, len - head_len);
		if (w->resp.status >= 200)
			return final_head(ex, &w->resp, ptr + head_len, len - head_len);
		policy_response(ex, &w->resp);
		if (ex->client_ops->interim(ex, &w->resp) == IO_ERR) {
			exchange_client_gone(ex);
			return false;
		}
		ptr += head_len;
		len -= head_len;
		seen = 0;
	}
	return true;
}

static bool relay(struct exchange *ex, char *ptr, size_t len, size_t seen)
{
	if (ex->state == EXCHANGE_TUNNEL)
		return relayed(ex, ex->client_ops->raw(ex, (struct span){ptr, len}), false);
	if (ex->head_relayed)
		return relay_body(ex, NULL, ptr, len);
	return relay_head(ex, ptr, len, seen);
}

/* ---- reading ---- */

/* The backend ended the connection, or it broke (`reset`). */
static void connection_over(struct exchange *ex, bool reset)
{
	if (ex->state == EXCHANGE_TUNNEL) {
		ex->backend_eof = true;
		if (reset || ex->client_eof)
			exchange_end(ex, OUTCOME_tunnel);
		else {
			stream_pause(&ex->up->stream);
			ex->client_ops->raw_end(ex);
		}
		return;
	}
	if (!ex->head_relayed) {
		attempt_failed(ex, reset ? OUTCOME_backend_reset : OUTCOME_backend_closed);
		return;
	}
	ex->resp_keep = false;
	if (reset || !h1_body_may_end(&ex->resp_body)) {
		exchange_end(ex, OUTCOME_backend_cut);
		return;
	}
	char *at = ex->worker->from_backend.data;
	relayed(ex, ex->client_ops->data(ex, (struct span){at, 0}, true), true);
}

static void on_readable(struct stream *stream)
{
	struct exchange *ex = exchange_of(stream);
	struct worker *w = ex->worker;
	for (unsigned i = 0; i < READS_PER_EVENT; i++) {
		char *at = w->from_backend.data;
		size_t have = 0, n;
		if (unlikely(ex->resp_in != NULL)) {
			struct view kept = buf_view(ex->resp_in);
			memcpy(at, kept.ptr, have = kept.len);
		}
		enum io io = stream_read(stream, at + have, AREA_DATA - have, &n);
		if (unlikely(io != IO_OK)) {
			if (io != IO_WAIT)
				connection_over(ex, io == IO_ERR);
			return;
		}
		counter_add(&ex->up->local->counters.bytes_in, n);
		if (ex->resp_in) {
			buf_put(&w->pool.bufs, ex->resp_in);
			ex->resp_in = NULL;
		}
		if (!ex->resp_started) {
			ex->resp_started = true;
			ex->first_byte_us = clock_us();
		}
		bool full = n == AREA_DATA - have;
		if (!relay(ex, at, have + n, have) || !full)
			return;
	}
}

void backend_h1_resume(struct exchange *ex)
{
	if (ex->up)
		stream_resume(&ex->up->stream);
}

static void on_broken(struct stream *stream)
{
	struct exchange *ex = exchange_of(stream);
	if (ex->state == EXCHANGE_TUNNEL) {
		exchange_end(ex, OUTCOME_tunnel);
		return;
	}
	/* it may have answered before it stopped reading: the answer is read first */
	ex->upload_dead = true;
	buf_put(stream->bufs, stream->out);
	stream->out = NULL;
	stream_resume(stream);
	if (!ex->req_complete)
		ex->client_ops->resume(ex);
	else if (ex->state == EXCHANGE_SENDING)
		exchange_set_state(ex, EXCHANGE_WAITING);
}

const struct stream_events backend_h1_events = {
    .connected = on_connected,
    .readable = on_readable,
    .drained = on_drained,
    .broken = on_broken,
};
