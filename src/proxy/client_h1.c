/* SPDX-License-Identifier: MIT */
/* The client's side over HTTP/1.1 and 1.0: reading requests, one after the other. */
#include <string.h>

#include "client.h"
#include "client_h1.h"
#include "client_h2.h"
#include "handshake.h"
#include "reply.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"

/* How long a drain waits for the first request of a new connection. */
#define DRAIN_FIRST_US 250000
/* Requests answered at once before all others have their turn. */
#define REQUESTS_PER_TURN 16

static void note_end(struct client *c);
static void exchange_ended(struct exchange *ex);

/* Before anything else is made of its state: whether its exchange has ended. */
static inline void take_note(struct client *c)
{
	if (unlikely(c->ex && exchange_is_over(c->ex)))
		note_end(c);
}

/* ---- closing ---- */

void client_abort(struct client *c)
{
	c->keep = false;
	if (c->h2) {
		client_h2_abort(c);
		return;
	}
	if (c->ex)
		exchange_end(c->ex, OUTCOME_stopped);
	take_note(c);
	if (c->state != CLIENT_CLOSED)
		client_close(c);
}

void client_drain(struct client *c)
{
	if (c->h2) {
		client_h2_drain(c);
		return;
	}
	if (c->state != CLIENT_IDLE || stream_pending(&c->stream) || c->in)
		return;
	if (c->n_requests > 0)
		client_close(c);
	else /* just accepted: its first request may be on the way */
		loop_timer(&c->worker->loop, &c->timer, DRAIN_FIRST_US);
}

/* ---- heads ---- */

static void send_reject(struct client *c, struct message *msg, unsigned status, const char *reason,
			const char *sentence)
{
	struct worker *w = c->worker;
	char id[REQUEST_ID_MAX], page_text[1024];
	struct reply_page page = {
	    .status = status, .reason = reason, .sentence = view_str(sentence)};
	reply_page_begin(&page, w, msg, id);
	size_t len = reply_page(&page, page_text, sizeof(page_text));
	scratch_take(w, SCRATCH_HEAD);
	struct h1_out out = h1_out_init(w->head, HEAD_ROOM);
	h1_put_status_line(&out, status, VIEW_NONE);
	h1_put_header(&out, VIEW("Content-Type"), reply_page_type(&page));
	h1_put_header_u64(&out, VIEW("Content-Length"), len);
	h1_put_header(&out, VIEW("X-Request-ID"), page.request_id);
	h1_put_header(&out, VIEW("Date"), policy_date(w));
	if (status == 405)
		h1_put_header(&out, VIEW("Allow"), reject_allow);
	if (c->conf->refusal_header.ptr)
		h1_put_header(&out, c->conf->refusal_header, view_str(reason));
	h1_put(&out, VIEW("Connection: close\r\n\r\n"));
	h1_put(&out, view_of(page_text, len));
	counter_add(&w->counters.bytes_out, out.len);
	client_refused(c, &page, len);
	enum io io = stream_write(&c->stream, out.ptr, out.len);
	scratch_drop(w, SCRATCH_HEAD);
	if (io == IO_ERR)
		client_close(c);
	else
		client_linger(c);
}

/* A request that never becomes an exchange. */
static void reject(struct client *c, enum reject why)
{
	client_count_reject(c, why);
	send_reject(c, NULL, reject_status(why), reject_name(why), reject_sentence(why));
}

void client_head_late(struct client *c)
{
	counter_add(&c->worker->counters.outcomes[OUTCOME_client_timeout_head], 1);
	send_reject(c, NULL, 408, "client_timeout_head",
		    outcome_row(OUTCOME_client_timeout_head)->sentence);
}

static void head_incomplete(struct client *c, const char *ptr, size_t len)
{
	if (!client_keep_in(c, ptr, len))
		return;
	if (c->state != CLIENT_HEAD) {
		client_set_state(c, CLIENT_HEAD);
		timer_set(&c->worker->loop.timers, &c->timer,
			  c->worker->loop.now_us + c->conf->timeouts.header_us);
	}
}

/* ---- requests ---- */

/*
 * A request of HTTP/1.0 without a Host is for whom it came to (RFC 9112 3.3): backends of
 * HTTP/1.1 and 2 need a name.
 */
static void name_authority(struct client *c)
{
	struct worker *w = c->worker;
	struct proxy_header origin;
	client_origin(c, &origin);
	if (!origin.destination.len || addr_is_unix(&origin.destination))
		strcpy(w->own_address, "localhost");
	else
		addr_format(&origin.destination, w->own_address);
	w->req.authority = view_str(w->own_address);
}

/*
 * The head in worker->req is whole; `rest` are the bytes behind it.  The body
 * that came along goes with the head, so that both leave in one write.  What is
 * still to be given: its trailers.
 */
static struct view begin_exchange(struct client *c, char *rest, size_t len)
{
	struct worker *w = c->worker;
	struct h1_limits limits = head_limits(c->conf);
	struct addr client;
	if (unlikely(!w->req.authority.len))
		name_authority(c);
	struct exchange_request req;
	client_request(c, &w->req, &client, &req);
	req.ops = &client_h1_ops;
	req.ended = exchange_ended;
	struct h1_piece piece;
	enum reject why;
	timer_clear(&c->timer);
	h1_body_init(&c->body, &w->req, &limits, body_limit_of_all(w, c->conf));
	enum h1_result result = h1_body_read(&c->body, rest, len, &piece, &why);
	if (result == H1_BAD) {
		reject(c, why);
		return VIEW_NONE;
	}
	bool over = result == H1_OK, trailers = over && piece.trailers.len;
	if (c->body.state == H1_BODY_CHUNK_DATA)
		req.body_least = c->body.total + c->body.left;
	struct exchange *ex = exchange_new(w, &req);
	if (!ex) {
		send_reject(c, &w->req, 503, "no_memory", "weir is out of memory or descriptors");
		return VIEW_NONE;
	}
	ex->bytes_in += piece.consumed;
	client_set_state(c, CLIENT_BUSY);
	c->framing = FRAMING_LENGTH;
	c->keep = w->req.keep_alive;
	c->n_requests++;
	c->ex = ex;
	if (!client_keep_in(c, rest + piece.consumed, len - piece.consumed))
		return VIEW_NONE;
	exchange_begin(ex, &req, (struct span){rest, piece.data.len}, over && !trailers);
	c->body.max_total = exchange_body_limit(ex);
	return trailers && !exchange_is_over(ex) ? piece.trailers : VIEW_NONE;
}

/* Bytes of a request in the receive area. */
static void take_request(struct client *c, char *ptr, size_t len)
{
	struct worker *w = c->worker;
	struct h1_limits limits = head_limits(c->conf);
	enum reject why;
	struct view trailers = VIEW_NONE;
	scratch_take(w, SCRATCH_REQ);
	enum h1_result result = h1_parse_request(view_of(ptr, len), &limits, &w->req, &why);
	if (likely(result == H1_OK)) {
		why = strict_request(c->conf, &w->req);
		if (likely(why == REJECT_NONE))
			trailers = begin_exchange(c, ptr + w->req.head_len, len - w->req.head_len);
		else
			reject(c, why);
	}
	scratch_drop(w, SCRATCH_REQ);
	if (likely(result == H1_OK)) {
		if (unlikely(trailers.len != 0))
			client_give_trailers(c, trailers);
	} else if (result == H1_MORE)
		head_incomplete(c, ptr, len);
	else if (why != REJECT_VERSION_UNSUPPORTED || !client_h2_takes(c, ptr, len))
		reject(c, client_misled(c, view_of(ptr, len), why));
}

/* Requests that came while the last one was answered. */
static void client_next(struct client *c)
{
	struct worker *w = c->worker;
	for (unsigned i = 0; c->state == CLIENT_IDLE && c->in; i++) {
		if (i == REQUESTS_PER_TURN) {
			stream_again(&c->stream);
			break;
		}
		char *at = w->from_client.data;
		size_t len = c->in->len;
		memcpy(at, c->in->data + c->in->start, len);
		buf_put(&w->pool.bufs, c->in);
		c->in = NULL;
		c->head_from_us = clock_us();
		take_request(c, at, len);
		take_note(c);
	}
}

/*
 * More of a head that came in pieces.  New bytes are only looked at for its end,
 * so a head that trickles in costs what its bytes cost.  True when it may be
 * whole: it is then in the receive area, *len bytes.
 */
static bool join_head(struct client *c, char *at, size_t n, size_t *len)
{
	struct h1_limits limits = head_limits(c->conf);
	size_t seen = c->in->len;
	if (!client_keep_in(c, at, n) || !h1_head_may_be_complete(buf_view(c->in), seen, &limits))
		return false;
	*len = c->in->len;
	memcpy(at, c->in->data + c->in->start, *len);
	buf_put(&c->worker->pool.bufs, c->in);
	c->in = NULL;
	return true;
}

static void read_request(struct client *c)
{
	struct worker *w = c->worker;
	char *at = w->from_client.data;
	size_t n;
	if (unlikely(c->in && c->state == CLIENT_IDLE)) {
		client_next(c);
		return;
	}
	/* together with what is kept it must fit the area */
	size_t room = c->in ? AREA_DATA - c->in->len : AREA_DATA;
	enum io io = stream_read(&c->stream, at, room, &n);
	if (unlikely(io != IO_OK)) {
		if (io == IO_WAIT)
			return;
		if (c->state == CLIENT_HEAD)
			counter_add(&w->counters.outcomes[OUTCOME_client_gone_request], 1);
		client_close(c);
		return;
	}
	if (likely(!c->in))
		c->head_from_us = clock_us();
	else if (!join_head(c, at, n, &n))
		return;
	take_request(c, at, n);
	take_note(c); /* it may be answered already */
	if (unlikely(c->state == CLIENT_IDLE && c->in))
		client_next(c);
}

/*
 * The client ended its direction: it may wait for its answers, or have left.  A reset will
 * tell, or the first byte that it is sent; until then it has half_closed to get one.
 */
static void end_of_requests(struct client *c)
{
	uint64_t wait = c->conf->timeouts.half_closed_us;
	if (wait == 0) {
		c->keep = false;
		exchange_client_gone(c->ex);
		return;
	}
	c->half_closed = true;
	stream_pause(&c->stream);
	client_watch_gone(c);
	loop_timer(&c->worker->loop, &c->timer, wait);
}

/* While an exchange runs whose request is whole: pipelined bytes, or the end. */
static void read_ahead(struct client *c)
{
	struct worker *w = c->worker;
	char *at = w->from_client.data;
	size_t n;
	if (c->in && c->in->len >= c->conf->limits.header_bytes) {
		stream_pause(&c->stream); /* until the exchange is over */
		client_watch_gone(c);
		return;
	}
	enum io io = stream_read(&c->stream, at, 16384, &n);
	if (io == IO_WAIT)
		return;
	if (io == IO_EOF) {
		end_of_requests(c);
		return;
	}
	if (io != IO_OK) {
		c->keep = false;
		exchange_client_gone(c->ex);
		return;
	}
	if (!buf_append(&w->pool.bufs, &c->in, at, n))
		client_abort(c);
}

/* ---- events ---- */

void client_start(struct client *c)
{
	client_set_state(c, CLIENT_IDLE);
	loop_timer(&c->worker->loop, &c->timer, c->conf->timeouts.header_us);
	if (unlikely(handshake_server(c) != NULL)) {
		client_set_state(c, CLIENT_HANDSHAKE);
		handshake_start(c);
	} else if (unlikely(c->worker->draining)) {
		client_drain(c);
	}
}

void client_readable(struct stream *stream)
{
	struct client *c = container_of(stream, struct client, stream);
	check_magic(c, CLIENT_MAGIC);
	take_note(c);
	switch (c->state) {
	case CLIENT_PROXY:
		if (client_proxy_read(c))
			client_start(c);
		break;
	case CLIENT_HANDSHAKE:
		handshake_first_bytes(c);
		break;
	case CLIENT_IDLE:
	case CLIENT_HEAD:
		read_request(c);
		break;
	case CLIENT_BUSY:
		if (c->ex->state == EXCHANGE_TUNNEL)
			client_read_raw(c);
		else if (exchange_request_came(c->ex))
			read_ahead(c);
		else
			client_read_body(c);
		break;
	default: /* lingers, or is closed by now */
		break;
	}
}

void client_drained(struct stream *stream)
{
	struct client *c = container_of(stream, struct client, stream);
	check_magic(c, CLIENT_MAGIC);
	if (!c->ex)
		return;
	if (c->ex->state == EXCHANGE_TUNNEL && c->ex->backend_eof)
		stream_shutdown(&c->stream);
	exchange_client_drained(c->ex); /* its end is noted at the end of the turn */
}

void client_broken(struct stream *stream)
{
	struct client *c = container_of(stream, struct client, stream);
	check_magic(c, CLIENT_MAGIC);
	c->keep = false;
	if (c->ex)
		exchange_client_gone(c->ex);
	else
		client_close(c);
}

/* ---- the end of an exchange ---- */

/* Keep-alive, lingering close, or close. */
static void exchange_over(struct client *c, bool complete)
{
	bool body_left = c->body.state != H1_BODY_DONE;
	bool last = (c->worker->draining || c->half_closed) && !c->in;
	c->body_paused = false;
	if (complete && c->keep && !body_left && !last) {
		client_set_state(c, CLIENT_IDLE);
		loop_timer(&c->worker->loop, &c->timer, client_idle_us(c));
		if (c->stream.paused)
			stream_resume(&c->stream);
	} else if (complete && (body_left || c->in)) {
		client_linger(c);
	} else {
		/* where the end of the connection is the end of the body, only a
		 * reset tells a broken response from a whole one */
		if (!complete && c->framing == FRAMING_CLOSE)
			stream_reset_on_close(&c->stream);
		client_close(c);
	}
}

/* Its exchange has ended: gives that back and goes on, IDLE, LINGER or CLOSED. */
static void note_end(struct client *c)
{
	struct exchange *ex = c->ex;
	bool complete = ex->resp_complete;
	c->ex = NULL;
	exchange_free(ex);
	exchange_over(c, complete);
}

static void exchange_ended(struct exchange *ex)
{
	struct client *c = ex->client;
	check_magic(c, CLIENT_MAGIC);
	note_end(c);
	/* whoever sends ahead has had its turn: those who wait for an answer come first */
	if (unlikely(c->state == CLIENT_IDLE && c->in) && !stream_put_off(&c->stream))
		client_next(c);
}
