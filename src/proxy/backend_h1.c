/* SPDX-License-Identifier: MIT */
/*
 * The backend's side over HTTP/1: events of the upstream connection become
 * events of the exchange it serves.
 */
#include <string.h>

#include "bulk.h"
#include "exchange.h"
#include "refused.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/base/parse.h"

/* Full receives in one event before other connections have their turn. */
#define READS_PER_EVENT 4
/* Bytes of a body still to come from which on they pass through a pipe.  More than one pipe
 * takes: the end is received here, where bytes behind it are seen. */
#define SPLICE_MIN BULK_BYTES

static struct attempt *attempt_of(struct stream *stream)
{
	struct upconn *up = container_of(stream, struct upconn, stream);
	check_magic(up, UPCONN_MAGIC);
	struct attempt *at = up->owner;
	check_magic(at->ex, EXCHANGE_MAGIC);
	return at;
}

/* ---- sending ---- */

/* Hands the request to the kernel, from wherever it is. */
static enum io write_request(struct attempt *at)
{
	struct exchange *ex = at->ex;
	struct view bytes =
	    ex->direct.len ? view_of(ex->direct.ptr, ex->direct.len) : buf_view(ex->req);
	enum io io = stream_write(&at->up->stream, bytes.ptr, bytes.len);
	if (unlikely(io == IO_ERR))
		return IO_ERR;
	counter_add(&at->local->counters.bytes_out, bytes.len);
	if (ex->direct.len) { /* no copy is kept: it may not be repeated anyhow */
		ex->direct.len = 0;
		ex->replayable = false;
	}
	return io;
}

void backend_h1_send(struct attempt *at)
{
	struct exchange *ex = at->ex;
	enum io io = write_request(at);
	if (unlikely(io == IO_ERR)) {
		bool lacks = attempt_lacks_room();
		ex->replayable = exchange_keep_request(ex);
		attempt_over(at, lacks ? OUTCOME_no_memory : OUTCOME_backend_reset);
		return;
	}
	attempt_count(at);
	if (likely(io == IO_OK && ex->req_complete)) {
		attempt_sent(at);
		return;
	}
	if (unlikely(at != ex->at)) { /* a head alone: the kernel takes the rest soon */
		attempt_sent(at);
		return;
	}
	if (io == IO_WAIT)
		ex->unsent_mark = stream_unsent(&at->up->stream);
	at->send_from_us = clock_us();
	attempt_set_state(at, ATTEMPT_SENDING);
	if (io == IO_OK)
		at->on->takes_more(at);
}

static enum io op_raw(struct attempt *at, struct span bytes)
{
	enum io io = stream_write(&at->up->stream, bytes.ptr, bytes.len);
	counter_add(&at->local->counters.bytes_out, bytes.len);
	return io;
}

static enum io op_body(struct attempt *at, const struct request_part *part)
{
	return op_raw(at, part->wire);
}

static void op_raw_end(struct attempt *at)
{
	if (!stream_pending(&at->up->stream))
		stream_shutdown(&at->up->stream);
}

static size_t op_pending(const struct attempt *at)
{
	return stream_pending(&at->up->stream);
}

static size_t op_unsent(const struct attempt *at)
{
	return stream_unsent(&at->up->stream);
}

static void op_pause(struct attempt *at)
{
	stream_pause(&at->up->stream);
}

static void op_resume(struct attempt *at)
{
	stream_resume(&at->up->stream);
}

static void op_finish(struct attempt *at, bool keep)
{
	struct upconn *up = at->up;
	at->up = NULL;
	buf_put(up->stream.bufs, at->resp_in);
	at->resp_in = NULL;
	if (keep)
		upconn_release(up, at->ex->view->pool->conf);
	else
		upconn_close(up);
}

const struct backend_ops backend_h1_ops = {
    .send = backend_h1_send,
    .body = op_body,
    .raw = op_raw,
    .raw_end = op_raw_end,
    .pending = op_pending,
    .unsent = op_unsent,
    .pause = op_pause,
    .resume = op_resume,
    .finish = op_finish,
};

static void on_drained(struct stream *stream)
{
	struct attempt *at = attempt_of(stream);
	struct exchange *ex = at->ex;
	if (at->state == ATTEMPT_SENDING && ex->req_complete)
		attempt_sent(at);
	else if (at->state == ATTEMPT_SENDING)
		attempt_arm(at);
	if (ex->state == EXCHANGE_TUNNEL) {
		exchange_progress(ex);
		if (ex->client_eof)
			stream_shutdown(stream);
	}
	if (!ex->req_complete || ex->state == EXCHANGE_TUNNEL)
		at->on->takes_more(at);
}

/* ---- bodies ---- */

static bool relay_trailers(struct attempt *at, struct view raw)
{
	struct exchange *ex = at->ex;
	struct worker *w = ex->worker;
	struct h1_limits limits = response_limits(ex);
	enum reject why;
	scratch_take(w, SCRATCH_RESP);
	bool ok = h1_parse_trailers(raw, &limits, &w->resp, &why) == H1_OK;
	enum io io = IO_ERR;
	if (ok) {
		policy_response_trailers(ex, &w->resp);
		io = ex->client_ops->trailers(ex, &w->resp);
	}
	scratch_drop(w, SCRATCH_RESP);
	if (ok)
		return attempt_relayed(at, io, true);
	response_refused(at, why);
	return false;
}

/*
 * Keeps what the body reader could not use yet (part of a trailer section)
 * until more comes; false: no memory.
 */
static bool keep_rest(struct attempt *at, const char *ptr, size_t len)
{
	struct exchange *ex = at->ex;
	return len == 0 || buf_append(&ex->worker->pool.bufs, &at->resp_in, ptr, len);
}

/* The head, if this is about one, has been made use of. */
static void let_go(struct attempt *at, const struct message *resp)
{
	if (resp)
		scratch_drop(at->ex->worker, SCRATCH_RESP);
}

/* Body bytes at `ptr`; `resp` is the head to send along with them, or NULL. */
static bool relay_body(struct attempt *at, struct message *resp, char *ptr, size_t len)
{
	struct exchange *ex = at->ex;
	struct h1_piece piece;
	enum reject why;
	enum h1_result result = h1_body_read(&at->resp_body, ptr, len, &piece, &why);
	if (unlikely(result == H1_BAD)) {
		let_go(at, resp);
		response_refused(at, why);
		return false;
	}
	bool over = result == H1_OK, trailers = over && piece.trailers.len;
	struct span body = {ptr, piece.data.len};
	if (over && piece.consumed < len) /* more than the response: never use it again */
		at->resp_keep = false;
	if (!over && !keep_rest(at, ptr + piece.consumed, len - piece.consumed)) {
		let_go(at, resp);
		attempt_over(at, OUTCOME_no_memory);
		return false;
	}
	enum io io = IO_OK;
	if (resp)
		io = ex->client_ops->head(ex, resp, body, over && !trailers);
	else if (body.len || over)
		io = ex->client_ops->data(ex, body, over && !trailers);
	let_go(at, resp);
	if (!trailers || io == IO_ERR)
		return attempt_relayed(at, io, over && !trailers);
	return relay_trailers(at, piece.trailers);
}

/* ---- heads ---- */

static void note_keep_alive(struct attempt *at, struct message *resp)
{
	at->resp_keep = resp->keep_alive && resp->body != BODY_CLOSE;
	if (likely(!(resp->ids & HDR_BIT(KEEP_ALIVE))))
		return;
	struct header *h = message_find(resp, HDR_KEEP_ALIVE);
	struct view rest = h ? h->value : VIEW_NONE, param;
	while (view_next_token(&rest, &param)) {
		uint64_t seconds;
		if (view_istarts(param, VIEW("timeout=")) &&
		    parse_u64(view_skip(param, 8), &seconds) && seconds > 0 && seconds < 100000)
			at->up->idle_limit_us = seconds * 1000000;
	}
}

static bool takes(const struct exchange *ex, struct message *resp)
{
	return !ex->client_ops->takes || ex->client_ops->takes(ex, resp);
}

static bool upgraded(struct attempt *at, struct message *resp, char *rest, size_t len)
{
	struct exchange *ex = at->ex;
	if (!ex->wants_upgrade || !resp->upgrade || !takes(ex, resp)) {
		let_go(at, resp);
		attempt_over(at, OUTCOME_bad_response);
		return false;
	}
	ex->status = 101;
	policy_response(ex, resp);
	enum io io = ex->client_ops->upgrade(ex, resp, (struct span){rest, len});
	let_go(at, resp);
	return attempt_relayed(at, io, false);
}

static bool final_head(struct attempt *at, struct message *resp, char *rest, size_t len)
{
	struct exchange *ex = at->ex;
	struct h1_limits limits = response_limits(ex);
	if (unlikely(ex->wants_upgrade) && !takes(ex, resp)) {
		let_go(at, resp);
		attempt_over(at, OUTCOME_bad_response);
		return false;
	}
	ex->status = resp->status;
	note_keep_alive(at, resp);
	policy_response(ex, resp);
	h1_body_init(&at->resp_body, resp, &limits, 0);
	return relay_body(at, resp, rest, len);
}

/* Heads at `ptr`, of which `seen` bytes were not enough the last time. */
static bool relay_head(struct attempt *at, char *ptr, size_t len, size_t seen)
{
	struct exchange *ex = at->ex;
	struct worker *w = ex->worker;
	struct h1_limits limits = response_limits(ex);
	while (len) {
		enum reject why;
		enum h1_result result = H1_MORE;
		scratch_take(w, SCRATCH_RESP);
		if (!seen || h1_head_may_be_complete(view_of(ptr, len), seen, &limits))
			result = h1_parse_response(view_of(ptr, len), &limits, ex->method, &w->resp,
						   &why);
		if (result != H1_OK)
			scratch_drop(w, SCRATCH_RESP);
		if (result == H1_BAD) {
			response_refused(at, why);
			return false;
		}
		if (result == H1_MORE) {
			if (keep_rest(at, ptr, len))
				return true;
			attempt_over(at, OUTCOME_no_memory);
			return false;
		}
		if (!attempt_head(at))
			return false;
		size_t head_len = w->resp.head_len;
		if (w->resp.status == 101)
			return upgraded(at, &w->resp, ptr + head_len, len - head_len);
		if (w->resp.status >= 200)
			return final_head(at, &w->resp, ptr + head_len, len - head_len);
		if (!attempt_interim(at))
			return false;
		ptr += head_len;
		len -= head_len;
		seen = 0;
	}
	return true;
}

static bool relay(struct attempt *at, char *ptr, size_t len, size_t seen)
{
	struct exchange *ex = at->ex;
	if (ex->state == EXCHANGE_TUNNEL)
		return attempt_relayed(at, ex->client_ops->raw(ex, (struct span){ptr, len}), false);
	if (ex->head_relayed)
		return relay_body(at, NULL, ptr, len);
	return relay_head(at, ptr, len, seen);
}

/* ---- reading ---- */

/* The backend ended the connection, or it broke (`reset`). */
static void connection_over(struct attempt *at, bool reset)
{
	struct exchange *ex = at->ex;
	if (ex->state == EXCHANGE_TUNNEL) {
		if (reset) {
			attempt_over(at, OUTCOME_tunnel);
			return;
		}
		ex->backend_eof = true;
		stream_pause(&at->up->stream);
		ex->client_ops->raw_end(ex);
		if (ex->client_eof)
			attempt_over(at, OUTCOME_tunnel);
		return;
	}
	if (!ex->head_relayed) {
		attempt_over(at, at->resp_in ? OUTCOME_backend_head_cut
				 : reset     ? OUTCOME_backend_reset
					     : OUTCOME_backend_closed);
		return;
	}
	at->resp_keep = false;
	if (reset || !h1_body_may_end(&at->resp_body)) {
		attempt_over(at, OUTCOME_backend_cut);
		return;
	}
	char *area = ex->worker->from_backend.data;
	attempt_relayed(at, ex->client_ops->data(ex, (struct span){area, 0}, true), true);
}

/* So much of a counted body is to come that two calls for each part beat two copies of it. */
static bool may_splice(const struct attempt *at)
{
	const struct exchange *ex = at->ex;
	return at->resp_body.state == H1_BODY_LENGTH && at->resp_body.left >= SPLICE_MIN &&
	       ex->head_relayed && !at->resp_in && ex->client_ops->takes_pipe &&
	       ex->client_ops->takes_pipe(ex, &at->up->stream);
}

/* A part of the body by the kernel's own hands; true when reading may go on. */
static bool splice_part(struct attempt *at, struct pipe *pipe)
{
	struct exchange *ex = at->ex;
	size_t n;
	enum io io = pipe_fill(pipe, stream_fd(&at->up->stream), at->resp_body.left, &n);
	if (io != IO_OK) {
		pipe_put(pipe);
		if (io != IO_WAIT)
			connection_over(at, io == IO_ERR);
		return false;
	}
	counter_add(&at->local->counters.bytes_in, n);
	counter_add(&ex->worker->counters.bytes_spliced, n);
	h1_body_skip(&at->resp_body, n);
	io = ex->client_ops->piped(ex, pipe);
	return attempt_relayed(at, io, at->resp_body.state == H1_BODY_DONE);
}

/* True: not now, since others come first. */
static bool waits_as_bulk(const struct attempt *at, struct stream *stream)
{
	struct exchange *ex = at->ex;
	if (!ex->head_relayed)
		return false;
	if (unlikely(ex->is_copy || bulk_is(&at->resp_body, ex->body_out - ex->out_seen)) &&
	    stream_put_off(stream))
		return true;
	ex->out_seen = ex->body_out;
	return false;
}

static void on_readable(struct stream *stream)
{
	struct attempt *at = attempt_of(stream);
	struct exchange *ex = at->ex;
	struct worker *w = ex->worker;
	if (unlikely(waits_as_bulk(at, stream)))
		return;
	const unsigned reads = unlikely(ex->is_copy) ? 1 : READS_PER_EVENT; /* clients first */
	for (unsigned i = 0; i < reads; i++) {
		struct pipe *pipe = unlikely(may_splice(at)) ? pipe_get(&w->pipes) : NULL;
		if (pipe) {
			if (!splice_part(at, pipe))
				return;
			continue;
		}
		char *area = w->from_backend.data;
		size_t have = 0, room = ex->head_relayed ? AREA_DATA : AREA_ANSWER, n;
		if (unlikely(at->resp_in != NULL)) {
			struct view kept = buf_view(at->resp_in);
			memcpy(area, kept.ptr, have = kept.len);
		}
		enum io io = stream_read(stream, area + have, room - have, &n);
		if (unlikely(io != IO_OK)) {
			if (io != IO_WAIT)
				connection_over(at, io == IO_ERR);
			return;
		}
		counter_add(&at->local->counters.bytes_in, n);
		if (at->resp_in) {
			buf_put(&w->pool.bufs, at->resp_in);
			at->resp_in = NULL;
		}
		attempt_answered(at);
		bool full = n == room - have;
		if (!relay(at, area, have + n, have) || !full)
			return;
	}
}

static void on_broken(struct stream *stream)
{
	struct attempt *at = attempt_of(stream);
	struct exchange *ex = at->ex;
	if (ex->state == EXCHANGE_TUNNEL) {
		attempt_over(at, OUTCOME_tunnel);
		return;
	}
	if (attempt_lacks_room()) {
		attempt_over(at, OUTCOME_no_memory);
		return;
	}
	/* it may have answered before it stopped reading: the answer is read first */
	at->upload_dead = true;
	buf_put(stream->bufs, stream->out);
	stream->out = NULL;
	stream_resume(stream);
	if (!ex->req_complete)
		at->on->takes_more(at);
	else if (at->state == ATTEMPT_SENDING)
		attempt_waits(at);
}

const struct stream_events backend_h1_events = {
    .readable = on_readable,
    .drained = on_drained,
    .broken = on_broken,
};
