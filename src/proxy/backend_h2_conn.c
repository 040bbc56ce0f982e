/* SPDX-License-Identifier: MIT */
/*
 * One HTTP/2 connection to a backend: bytes to and from its session, deadlines,
 * what was put off to the end of the turn, and its end.
 */
#include <errno.h>
#include <stddef.h>

#include "backend_h2_conn.h"
#include "bulk.h"
#include "refused.h"

#include "weir/base/check.h"

#define READS_PER_EVENT 4
/* A connection that allows no streams stands for those that are not opened so long at least. */
#define BARREN_US 1000000

/* Moves that make sense, as bits of the next state. */
static const uint8_t moves[] = {
#define TO(state) (1u << H2_CONN_##state)
    [H2_CONN_CONNECTING] = TO(GREETING) | TO(DEAD),
    [H2_CONN_GREETING] = TO(OPEN) | TO(CLOSING) | TO(DEAD),
    [H2_CONN_OPEN] = TO(CLOSING) | TO(DEAD),
    [H2_CONN_CLOSING] = TO(DEAD),
    [H2_CONN_DEAD] = 0,
#undef TO
};

void h2_conn_set_state(struct h2_conn *conn, enum h2_conn_state state)
{
	check(moves[conn->state] & (1u << state));
	conn->state = (uint8_t)state;
	if (state >= H2_CONN_CLOSING)
		list_del(&conn->up->idle_link);
}

static bool can_send(const struct h2_conn *conn)
{
	return conn->state >= H2_CONN_GREETING && conn->state <= H2_CONN_CLOSING;
}

void h2_conn_touch(struct h2_conn *conn)
{
	if (!list_is_linked(&conn->dirty))
		list_push_back(&conn->owner->dirty, &conn->dirty);
}

void h2_conn_note(struct backend_stream *s)
{
	if (!list_is_linked(&s->news))
		list_push_back(&s->conn->news, &s->news);
	h2_conn_touch(s->conn);
}

/* It takes no requests any more. */
static void leave(struct h2_conn *conn, enum h2_conn_state state)
{
	bool was_in_the_way = h2_conn_is_barren(conn) && !conn->gl;
	if (conn->state < state)
		h2_conn_set_state(conn, state);
	h2_conn_touch(conn);
	if (!was_in_the_way)
		return;
	bool busy = conn->busy;
	conn->busy = true; /* another one may be opened in its place, and makes room */
	upconn_way_opened(conn->up->backend, conn->sl);
	conn->busy = busy;
}

void h2_conn_stop(struct h2_conn *conn)
{
	leave(conn, H2_CONN_CLOSING);
}

static void die(struct h2_conn *conn, enum err why)
{
	if (conn->state != H2_CONN_DEAD)
		conn->why = why;
	leave(conn, H2_CONN_DEAD);
}

void h2_conn_kill(struct h2_conn *conn)
{
	die(conn, conn->state == H2_CONN_CONNECTING ? ERR_HANDSHAKE : ERR_PROTOCOL);
}

bool h2_conn_is_unused(const struct h2_conn *conn)
{
	return list_is_empty(&conn->waiting) && list_is_empty(&conn->streams);
}

bool h2_conn_is_barren(const struct h2_conn *conn)
{
	return conn->state == H2_CONN_OPEN && h2_client_max_streams(conn->session) == 0;
}

/* The kernel refused what was to be written last, as it does after a reset: who is in it has not
 * left.  Of records of TLS the first ones may have, and what there is no memory to keep has begun
 * to. */
static bool took_nothing(const struct h2_conn *conn)
{
	return conn->up->stream.transport == &transport_plain &&
	       (errno == EPIPE || errno == ECONNRESET);
}

/* What the session has to say goes to the kernel, as far as that takes it. */
void h2_conn_flush(struct h2_conn *conn)
{
	struct backend_h2 *h2 = conn->owner;
	while (can_send(conn) && !stream_pending(&conn->up->stream)) {
		conn->gone_id = conn->queued_id;
		ptrdiff_t n = h2_client_write(conn->session, h2->out, AREA_DATA);
		if (n == 0)
			return;
		conn->queued_id = conn->asked_id;
		conn->queued = (size_t)n;
		if (n < 0 || stream_write(&conn->up->stream, h2->out, (size_t)n) == IO_ERR) {
			if (n < 0 || took_nothing(conn))
				conn->queued_id = conn->gone_id;
			h2_conn_kill(conn);
			return;
		}
		counter_add(&conn->up->local->counters.bytes_out, (uint64_t)n);
	}
}

void h2_conn_drop(struct h2_conn *conn)
{
	struct gen_local *gl = conn->gl;
	timer_clear(&conn->timer);
	list_del(&conn->dirty);
	list_del(&conn->all);
	h2_client_free(conn->session);
	conn->magic = 0;
	slab_put(&conn->owner->conns, conn);
	if (gl)
		gen_put(gl);
}

void h2_conn_close(struct h2_conn *conn)
{
	check_magic(conn, H2_CONN_MAGIC);
	check(h2_conn_is_unused(conn));
	conn->busy = true; /* who is woken by its end has no part in it */
	if (conn->state != H2_CONN_DEAD) {
		h2_client_goaway(conn->session, H2_NO_ERROR);
		h2_conn_flush(conn);
	}
	list_del(&conn->up->idle_link);
	upconn_close(conn->up);
	h2_conn_drop(conn);
}

/* ---- deadlines ---- */

/* How long it owes an answer: further requests do not put that off. */
static uint64_t silent_for(const struct h2_conn *conn)
{
	uint64_t since = h2_conn_owes(conn) ? conn->asked_us : conn->read_us;
	return conn->owner->worker->loop.now_us - since;
}

void h2_conn_asked(struct h2_conn *conn)
{
	struct loop *loop = &conn->owner->worker->loop;
	if (h2_conn_owes(conn))
		return;
	conn->asked_us = loop->now_us > conn->read_us ? loop->now_us : conn->read_us + 1;
	loop_timer(loop, &conn->timer, conn->ping_us);
}

static uint64_t idle_limit(const struct h2_conn *conn)
{
	return conn->idle_us < BARREN_US && h2_conn_is_barren(conn) ? BARREN_US : conn->idle_us;
}

/* Deadlines are far apart, so one timer looks after all of them. */
void h2_conn_on_timer(struct timer *timer)
{
	struct h2_conn *conn = container_of(timer, struct h2_conn, timer);
	struct loop *loop = &conn->owner->worker->loop;
	check_magic(conn, H2_CONN_MAGIC);
	if (h2_conn_is_unused(conn) && !h2_conn_owes(conn)) {
		uint64_t idle = loop->now_us - conn->unused_us, limit = idle_limit(conn);
		if (idle >= limit)
			h2_conn_stop(conn);
		else
			loop_timer(loop, timer, limit - idle);
		return;
	}
	if (silent_for(conn) < conn->ping_us) {
		loop_timer(loop, timer, conn->ping_us - silent_for(conn));
	} else if (conn->pinged) {
		h2_conn_kill(conn);
	} else {
		conn->pinged = true;
		h2_client_ping(conn->session);
		h2_conn_touch(conn);
		loop_timer(loop, timer, conn->ping_us / 2);
	}
}

/* ---- what was put off ---- */

/* It ended before its response did. */
void backend_stream_lost(struct backend_stream *s, enum outcome outcome)
{
	struct attempt *at = s->at;
	if (at->ex->head_relayed)
		outcome = outcome == OUTCOME_bad_response ? OUTCOME_backend_bad_body
							  : OUTCOME_backend_cut;
	attempt_over(at, outcome);
}

/* A backend that resets with these found fault with the request, as nghttp2 does with a
 * field that it takes for malformed: a client can have that from any of them. */
static enum outcome outcome_of(const struct backend_stream *s)
{
	bool by_backend = s->end == H2_END_RESET;
	if (by_backend && (s->code == H2_PROTOCOL_ERROR || s->code == H2_ENHANCE_YOUR_CALM ||
			   s->code == H2_HTTP_1_1_REQUIRED))
		return OUTCOME_request_refused;
	return s->code == H2_PROTOCOL_ERROR ? OUTCOME_bad_response : OUTCOME_backend_reset;
}

static void stream_closed(struct backend_stream *s)
{
	struct attempt *at = s->at;
	if (s->held_end) /* it is whole, the client only has to take it */
		return;
	if (s->end == H2_END_UNSEEN || s->end == H2_END_UNSENT) {
		at->unsent = s->end == H2_END_UNSENT;
		at->unseen = s->end == H2_END_UNSEEN;
		/* the backend itself takes more, elsewhere */
		at->reused = s->conn->state >= H2_CONN_CLOSING;
		/* as often as it takes: there is an answer for each connection it costs */
		if (at->reused && s->conn->answered)
			at->stale_retried = false;
		backend_stream_lost(s, OUTCOME_refused_stream);
	} else if (s->end == H2_END_TOO_LARGE) {
		response_refused(at, REJECT_HEAD_TOO_LARGE);
	} else {
		backend_stream_lost(s, outcome_of(s));
	}
}

static void request_drained(struct backend_stream *s)
{
	struct attempt *at = s->at;
	struct exchange *ex = at->ex;
	if (at->state == ATTEMPT_SENDING && ex->req_complete)
		attempt_sent(at);
	else if (at->state == ATTEMPT_SENDING)
		attempt_arm(at);
	if (!ex->req_complete)
		at->on->takes_more(at);
}

/*
 * The connect of those who wait is over.  A backend that says goodbye before it
 * has served anybody would do so again on the next connection.
 */
static void tell_waiting(struct h2_conn *conn, enum err err)
{
	uint32_t max = conn->up->local->h2_streams;
	if (!err && conn->left && conn->n_requests == 0)
		err = ERR_PROTOCOL;
	while (!list_is_empty(&conn->waiting)) {
		struct backend_stream *s = list_first(&conn->waiting, struct backend_stream, link);
		list_del(&s->link);
		list_push_back(&conn->streams, &s->link);
		if (!err && (conn->state >= H2_CONN_CLOSING || conn->n_streams >= max))
			attempt_moved(s->at);
		else
			attempt_connected(s->at, err);
	}
}

/* One that has not all of its response yet: what is whole the client only has to take. */
static struct backend_stream *first_cut(const struct h2_conn *conn)
{
	list_each (it, &conn->streams) {
		struct backend_stream *s = list_entry(it, struct backend_stream, link);
		if (!s->held_end)
			return s;
	}
	return NULL;
}

/* Not a byte of it: it waits for others that the backend does not take. */
static bool never_left(const struct backend_stream *s)
{
	const struct h2_conn *conn = s->conn;
	bool none = stream_pending(&conn->up->stream) == conn->queued;
	return s->id > (none ? conn->gone_id : conn->queued_id);
}

/* The session has ended: because of one of them, if a field of its was too large. */
static void session_over(struct h2_conn *conn)
{
	int32_t id = h2_client_broke_at(conn->session);
	h2_conn_kill(conn);
	list_each (it, &conn->streams) {
		struct backend_stream *s = list_entry(it, struct backend_stream, link);
		if (!id || s->id != id)
			continue;
		response_refused(s->at, REJECT_HEAD_TOO_LARGE);
		return;
	}
}

/* All that was put off: bytes to write, ends to tell, the connection's own end. */
static void see_to(struct h2_conn *conn)
{
	if (conn->busy)
		return;
	conn->busy = true;
	list_del(&conn->dirty);
	do {
		h2_conn_flush(conn);
		if (can_send(conn) && h2_client_is_over(conn->session))
			session_over(conn);
		if (conn->state == H2_CONN_DEAD)
			tell_waiting(conn, conn->why);
		else if (conn->state >= H2_CONN_OPEN)
			tell_waiting(conn, ERR_OK);
		while (!list_is_empty(&conn->news)) {
			struct backend_stream *s =
			    list_first(&conn->news, struct backend_stream, news);
			list_del(&s->news);
			bool drained = s->drained;
			s->drained = false;
			if (s->closed)
				stream_closed(s);
			else if (drained)
				request_drained(s);
		}
		struct backend_stream *s;
		while (conn->state == H2_CONN_DEAD && (s = first_cut(conn))) {
			bool cut = conn->cut_id && s->id == conn->cut_id;
			s->at->unsent |= never_left(s);
			if (cut)
				attempt_answered(s->at);
			backend_stream_lost(s, cut ? OUTCOME_backend_head_cut
						   : OUTCOME_backend_closed);
		}
	} while (conn->state == H2_CONN_DEAD ? first_cut(conn) != NULL
					     : !list_is_empty(&conn->news));
	conn->busy = false;
	if (conn->state >= H2_CONN_CLOSING && h2_conn_is_unused(conn))
		h2_conn_close(conn);
}

void backend_h2_turn_end(struct backend_h2 *h2)
{
	while (unlikely(!list_is_empty(&h2->dirty)))
		see_to(list_first(&h2->dirty, struct h2_conn, dirty));
}

/* ---- events of the session ---- */

static void on_closed(void *owner, struct h2_client_stream *stream, uint32_t code, enum h2_end end)
{
	struct h2_conn *conn = owner;
	conn->n_streams--;
	h2_conn_touch(conn);
	if (!stream)
		return;
	struct backend_stream *s = backend_stream_of(stream);
	s->closed = true;
	s->code = code;
	s->end = end;
	h2_conn_note(s);
}

static void on_settings(void *owner)
{
	struct h2_conn *conn = owner;
	uint32_t max = h2_client_max_streams(conn->session);
	if (conn->state == H2_CONN_GREETING)
		h2_conn_set_state(conn, H2_CONN_OPEN);
	upconn_opened(conn->up);
	conn->up->local->h2_streams = max < H2_CONN_STREAMS_MAX ? max : H2_CONN_STREAMS_MAX;
	h2_conn_touch(conn);
	if (conn->state == H2_CONN_OPEN && max > conn->n_streams)
		upconn_way_opened(conn->up->backend, conn->sl);
}

static void on_goaway(void *owner)
{
	struct h2_conn *conn = owner;
	conn->left = true;
	h2_conn_stop(conn);
}

const struct h2_client_events h2_session_events = {
    .head = backend_h2_head,
    .data = backend_h2_data,
    .trailers = backend_h2_trailers,
    .source = backend_h2_source,
    .source_trailers = backend_h2_source_trailers,
    .closed = on_closed,
    .settings = on_settings,
    .goaway = on_goaway,
};

/* ---- events of the connection ---- */

static struct h2_conn *conn_of(struct stream *stream)
{
	struct upconn *up = container_of(stream, struct upconn, stream);
	struct h2_conn *conn = up->owner;
	check_magic(up, UPCONN_MAGIC);
	check_magic(conn, H2_CONN_MAGIC);
	return conn;
}

static void on_connected(struct stream *stream, enum err err)
{
	struct h2_conn *conn = conn_of(stream);
	bool http1 = !err && conn->up->tls_id && !view_eq(stream_alpn(stream), VIEW("h2"));
	if (http1 && conn->may_be_http1 && conn->state == H2_CONN_CONNECTING) {
		backend_h2_turn_http1(conn);
		return;
	}
	if (http1)
		err = ERR_HANDSHAKE;
	if (!err)
		conn->up->local->speaks = BACKEND_SPEAKS_H2;
	if (!err && conn->state == H2_CONN_CONNECTING)
		h2_conn_set_state(conn, H2_CONN_GREETING);
	conn->read_us = conn->owner->worker->loop.now_us;
	h2_conn_touch(conn);
	if (!err)
		return;
	conn->busy = true;
	die(conn, err);
	tell_waiting(conn, err);
	conn->busy = false;
}

static void on_broken(struct stream *stream)
{
	struct h2_conn *conn = conn_of(stream);
	conn->cut_id = h2_client_block_of(conn->session);
	h2_conn_kill(conn);
}

static void on_readable(struct stream *stream)
{
	struct h2_conn *conn = conn_of(stream);
	struct backend_h2 *h2 = conn->owner;
	if (unlikely(conn->bulk >= BULK_TURN) && stream_put_off(stream))
		return;
	conn->bulk = 0;
	conn->busy = true;
	conn->pinged = false;
	conn->read_us = h2->worker->loop.now_us;
	for (unsigned i = 0; i < READS_PER_EVENT && conn->state != H2_CONN_DEAD; i++) {
		size_t n;
		enum io io = stream_read(stream, h2->in.data, AREA_DATA, &n);
		if (io == IO_WAIT)
			break;
		if (io != IO_OK) {
			on_broken(stream);
			break;
		}
		counter_add(&conn->up->local->counters.bytes_in, n);
		if (!h2_client_read(conn->session, h2->in.data, n)) {
			h2_client_goaway(conn->session, H2_PROTOCOL_ERROR);
			h2_conn_flush(conn);
			h2_conn_kill(conn);
		} else if (conn->state == H2_CONN_OPEN && !h2_client_is_open(conn->session)) {
			on_goaway(conn);
		}
		if (n < AREA_DATA)
			break;
	}
	conn->busy = false;
	h2_conn_touch(conn);
}

static void on_drained(struct stream *stream)
{
	h2_conn_touch(conn_of(stream));
}

const struct stream_events h2_conn_events = {
    .connected = on_connected,
    .readable = on_readable,
    .drained = on_drained,
    .broken = on_broken,
};
