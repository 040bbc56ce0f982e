/* SPDX-License-Identifier: MIT */
/* The client's side over HTTP/1.1 and 1.0: connections and reading requests. */
#include <string.h>

#include "bulk.h"
#include "client.h"
#include "client_h1.h"
#include "client_h2.h"
#include "handshake.h"
#include "reply.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/base/log.h"

/* How long a drain waits for the first request of a new connection. */
#define DRAIN_FIRST_US 250000
/* Requests answered at once before all others have their turn. */
#define REQUESTS_PER_TURN 16

static void note_end(struct client *c);
static void exchange_ended(struct exchange *ex);
static void start(struct client *c);

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

static void send_reject(struct client *c, const struct message *msg, unsigned status,
			const char *reason, const char *sentence)
{
	struct worker *w = c->worker;
	char id[REQUEST_ID_MAX], page_text[1024];
	struct header *accept = msg ? message_find((struct message *)msg, HDR_ACCEPT) : NULL;
	struct reply_page page = {
	    .status = status,
	    .reason = reason,
	    .sentence = view_str(sentence),
	    .request_id = view_of(id, policy_make_id(w, id)),
	    .json = accept && policy_prefers_json(accept->value),
	};
	size_t len = reply_page(&page, page_text, sizeof(page_text));
	scratch_take(w, SCRATCH_HEAD);
	struct h1_out out = h1_out_init(w->head, HEAD_ROOM);
	h1_put_status_line(&out, status, VIEW_NONE);
	h1_put_header(&out, VIEW("Content-Type"),
		      page.json ? VIEW("application/json") : VIEW("text/plain; charset=utf-8"));
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
	if (c->gl->gen->access_log)
		access_log_reject(c, &page, len);
	if (status >= 500)
		counter_add(&w->counters.responses_5xx, 1);
	else
		counter_add(&w->counters.responses_4xx, 1);
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
	struct worker *w = c->worker;
	counter_add(&w->counters.rejects[why], 1);
	counter_add(&w->counters.outcomes[OUTCOME_bad_request], 1);
	send_reject(c, NULL, reject_status(why), reject_name(why), reject_sentence(why));
}

static bool keep_in(struct client *c, const char *ptr, size_t len)
{
	if (len == 0 || buf_append(&c->worker->pool.bufs, &c->in, ptr, len))
		return true;
	c->keep = false;
	if (c->ex)
		exchange_end(c->ex, OUTCOME_no_memory);
	else
		client_close(c);
	return false;
}

static void head_incomplete(struct client *c, const char *ptr, size_t len)
{
	if (!keep_in(c, ptr, len))
		return;
	if (c->state != CLIENT_HEAD) {
		client_set_state(c, CLIENT_HEAD);
		timer_set(&c->worker->loop.timers, &c->timer,
			  c->worker->loop.now_us + c->conf->timeouts.header_us);
	}
}

/* ---- bodies of requests ---- */

static void body_refused(struct client *c, enum reject why)
{
	counter_add(&c->worker->counters.rejects[why], 1);
	c->keep = false;
	exchange_refuse(c->ex,
			why == REJECT_BODY_TOO_LARGE ? OUTCOME_body_too_large : OUTCOME_bad_body,
			reject_sentence(why));
}

static enum io give_trailers(struct client *c, struct view raw)
{
	struct h1_limits limits = head_limits(c->conf);
	enum reject why;
	struct worker *w = c->worker;
	enum io io = IO_ERR;
	scratch_take(w, SCRATCH_REQ);
	if (h1_parse_trailers(raw, &limits, &w->req, &why) == H1_OK)
		io = exchange_body_trailers(c->ex, &w->req);
	else
		body_refused(c, why);
	scratch_drop(w, SCRATCH_REQ);
	return io;
}

/* Body bytes in the receive area; what is left over is kept in `in`. */
static void feed_body(struct client *c, char *ptr, size_t len)
{
	struct h1_piece piece;
	enum reject why;
	enum h1_result result = h1_body_read(&c->body, ptr, len, &piece, &why);
	if (result == H1_BAD) {
		body_refused(c, why);
		return;
	}
	if (!keep_in(c, ptr + piece.consumed, len - piece.consumed))
		return;
	bool over = result == H1_OK, trailers = over && piece.trailers.len;
	enum io io = IO_OK;
	if (piece.data.len || (over && !trailers))
		io = exchange_body(c->ex, (struct span){ptr, piece.data.len}, over && !trailers);
	if (trailers && io != IO_ERR && !exchange_is_over(c->ex))
		io = give_trailers(c, piece.trailers);
	if (io == IO_WAIT && !over && !exchange_is_over(c->ex))
		client_pause_body(c);
}

/* True: not now, since others come first. */
static bool waits_as_bulk(struct client *c)
{
	struct exchange *ex = c->ex;
	if (unlikely(bulk_is(&c->body, ex->bytes_in - ex->in_seen)) && stream_put_off(&c->stream))
		return true;
	ex->in_seen = ex->bytes_in;
	return false;
}

static void read_body(struct client *c)
{
	struct worker *w = c->worker;
	if (waits_as_bulk(c))
		return;
	char *at = w->from_client.data;
	size_t have = 0, n, room = exchange_body_room(c->ex);
	if (room == 0 || exchange_upload_pending(c->ex)) {
		client_pause_body(c);
		return;
	}
	if (c->in) { /* part of a trailer section */
		memcpy(at, c->in->data + c->in->start, have = c->in->len);
		if (have >= AREA_DATA) {
			body_refused(c, REJECT_TRAILER_TOO_LARGE);
			return;
		}
	}
	if (room > AREA_DATA - have)
		room = AREA_DATA - have;
	enum io io = stream_read(&c->stream, at + have, room, &n);
	if (io == IO_WAIT)
		return;
	if (io != IO_OK) {
		c->keep = false;
		exchange_client_gone(c->ex);
		return;
	}
	c->ex->bytes_in += n;
	buf_put(&w->pool.bufs, c->in);
	c->in = NULL;
	feed_body(c, at, have + n);
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
	struct exchange_request req = client_request(c, &w->req, &client);
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
	if (!keep_in(c, rest + piece.consumed, len - piece.consumed))
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
			give_trailers(c, trailers);
	} else if (result == H1_MORE)
		head_incomplete(c, ptr, len);
	else if (why != REJECT_VERSION_UNSUPPORTED || !client_h2_takes(c, ptr, len))
		reject(c, why);
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
	if (!keep_in(c, at, n) || !h1_head_may_be_complete(buf_view(c->in), seen, &limits))
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

static void read_raw(struct client *c)
{
	size_t n;
	char *at = c->worker->from_client.data;
	if (waits_as_bulk(c))
		return;
	if (exchange_upload_pending(c->ex)) {
		client_pause_body(c);
		return;
	}
	enum io io = stream_read(&c->stream, at, AREA_DATA, &n);
	if (io == IO_WAIT)
		return;
	if (io == IO_EOF) {
		stream_pause(&c->stream); /* half closed: nothing more to read */
		client_watch_gone(c);
		exchange_raw_end(c->ex);
		return;
	}
	if (io == IO_ERR) {
		exchange_client_gone(c->ex);
		return;
	}
	c->ex->bytes_in += n;
	if (exchange_raw(c->ex, (struct span){at, n}) == IO_WAIT)
		client_pause_body(c);
}

/* ---- events ---- */

static void on_readable(struct stream *stream)
{
	struct client *c = container_of(stream, struct client, stream);
	check_magic(c, CLIENT_MAGIC);
	take_note(c);
	switch (c->state) {
	case CLIENT_PROXY:
		if (client_proxy_read(c))
			start(c);
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
			read_raw(c);
		else if (exchange_request_came(c->ex))
			read_ahead(c);
		else
			read_body(c);
		break;
	default: /* lingers, or is closed by now */
		break;
	}
}

static void on_drained(struct stream *stream)
{
	struct client *c = container_of(stream, struct client, stream);
	check_magic(c, CLIENT_MAGIC);
	if (!c->ex)
		return;
	if (c->ex->state == EXCHANGE_TUNNEL && c->ex->backend_eof)
		stream_shutdown(&c->stream);
	exchange_client_drained(c->ex); /* its end is noted at the end of the turn */
}

static void on_broken(struct stream *stream)
{
	struct client *c = container_of(stream, struct client, stream);
	check_magic(c, CLIENT_MAGIC);
	c->keep = false;
	if (c->ex)
		exchange_client_gone(c->ex);
	else
		client_close(c);
}

/* ---- TLS ---- */

/* Accepted connections are connected: this is the end of the handshake. */
static void on_connected(struct stream *stream, enum err err)
{
	struct client *c = container_of(stream, struct client, stream);
	struct worker_counters *counters = &c->worker->counters;
	check_magic(c, CLIENT_MAGIC);
	if (err) {
		counter_add(&counters->tls_failed, 1);
		log_debug("%s: TLS handshake: %s", c->ip, stream_why(stream));
		client_refuse_plain(c);
		client_close(c);
		return;
	}
	counter_add(&counters->tls_handshakes, 1);
	if (tls_info(stream->transport, stream->transport_state)->resumed)
		counter_add(&counters->tls_resumed, 1);
	handshake_over(c);
	client_set_state(c, CLIENT_IDLE);
	struct view alpn = stream_alpn(stream);
	if (view_eq(alpn, VIEW("h2"))) {
		client_h2_start(c);
		return;
	}
	if (unlikely(view_eq(alpn, TLS_CHALLENGE_ALPN))) { /* an authority has seen it */
		client_close(c);
		return;
	}
	loop_timer(&c->worker->loop, &c->timer, c->conf->timeouts.header_us);
	if (c->worker->draining)
		client_drain(c);
}

static const struct stream_events client_events = {
    .connected = on_connected,
    .readable = on_readable,
    .drained = on_drained,
    .broken = on_broken,
};

static void on_timeout(struct timer *timer)
{
	struct client *c = container_of(timer, struct client, timer);
	check_magic(c, CLIENT_MAGIC);
	if (c->state == CLIENT_HANDSHAKE)
		counter_add(&c->worker->counters.tls_timeouts, 1);
	if (c->state == CLIENT_PROXY) {
		client_proxy_refuse(c, "no PROXY header within timeouts.header");
		return;
	}
	if (c->state == CLIENT_BUSY) {      /* half closed */
		if (!c->ex->head_relayed) { /* else it is known to read, or will be */
			c->keep = false;
			exchange_client_gone(c->ex);
		}
		return;
	}
	if (c->state == CLIENT_HEAD) {
		counter_add(&c->worker->counters.outcomes[OUTCOME_client_timeout_head], 1);
		send_reject(c, NULL, 408, "client_timeout_head",
			    outcome_row(OUTCOME_client_timeout_head)->sentence);
		return;
	}
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

/* ---- birth ---- */

static void start(struct client *c)
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

/* A tenth more or less. */
static uint64_t expiry_of(struct worker *w, uint64_t max_age_us)
{
	if (!max_age_us)
		return UINT64_MAX;
	uint64_t spread = max_age_us / 5;
	return w->loop.now_us + max_age_us - spread / 2 + rng_next(&w->pool.rng) % (spread + 1);
}

struct client *client_open(struct worker *w, int fd, const struct addr *peer,
			   const struct gen_listener *listener)
{
	static _Atomic uint64_t next_id;
	struct client *c = slab_get(&w->conns);
	if (!c) {
		counter_add(&listener->listener->local[w->pool.id].refused, 1);
		atomic_fetch_sub_explicit(&listener->listener->n_conns, 1, memory_order_release);
		socket_close(fd);
		return NULL;
	}
	c->magic = CLIENT_MAGIC;
	c->state = CLIENT_PROXY;
	c->keep = c->body_paused = c->retired = c->tls_before = false;
	c->half_closed = c->watched = false;
	c->ex = NULL;
	c->h2 = NULL;
	c->in = c->proxy = NULL;
	c->worker = w;
	c->gl = gen_get(w->gen);
	c->conf = listener->conf;
	c->listener = listener->listener;
	c->n_requests = c->counted = 0;
	c->id = atomic_fetch_add_explicit(&next_id, 1, memory_order_relaxed) + 1;
	c->opened_us = w->loop.now_us;
	c->expires_us = expiry_of(w, listener->conf->timeouts.max_age_us);
	c->peer = addr_pack(peer);
	c->ip_len = (uint8_t)addr_format_ip(peer, c->ip);
	c->trusted = cidr_any(c->conf->trusted_proxies.rows, c->conf->trusted_proxies.n, peer);
	c->timer.fn = on_timeout;
	list_push_back(&w->all_conns, &c->link);
	atomic_store_explicit(&w->n_conns, ++w->n_clients, memory_order_relaxed);
	counter_add(&listener->listener->local[w->pool.id].accepted, 1);
	stream_open(&c->stream, &w->loop, &w->pool.bufs, fd, &client_events, 0);
	bool expects = client_proxy_expected(c->conf, peer);
	if (unlikely(c->conf->limits.connections_per_client) && !expects && !client_count(c)) {
		client_close(c);
		return NULL;
	}
	if (unlikely(expects)) {
		loop_timer(&w->loop, &c->timer, c->conf->timeouts.header_us);
	} else {
		start(c);
	}
	return c->state == CLIENT_CLOSED ? NULL : c;
}

void client_adopt(struct client *c)
{
	struct generation *gen = c->worker->gen->gen;
	struct addr peer;
	for (uint32_t i = 0; i < gen->n_listeners; i++) {
		if (gen->listeners[i].listener != c->listener)
			continue;
		struct gen_local *old = c->gl;
		c->gl = gen_get(c->worker->gen);
		c->conf = gen->listeners[i].conf;
		addr_unpack(&c->peer, &peer);
		c->trusted =
		    cidr_any(c->conf->trusted_proxies.rows, c->conf->trusted_proxies.n, &peer);
		c->retired = false;
		gen_put(old); /* a running exchange has a count of its own */
		return;
	}
	c->retired = true;
	if (c->h2)
		client_h2_drain(c);
}
