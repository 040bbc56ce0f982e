/* SPDX-License-Identifier: MIT */
/*
 * The backend's side over HTTP/2.  A connection carries the streams of many
 * exchanges; a new one is opened only when all are full.
 *
 *            SETTINGS                  GOAWAY, retired, used up
 *   CONNECT -----------> OPEN (shared) ------------------------> CLOSING
 *      |                  |  idle for keepalive.idle                |  last stream done
 *      +------ failed ----+----------------> closed <--------------+
 *
 * Requests wait for the backend's SETTINGS, which it sends as soon as it accepts:
 * so no stream is opened that it would refuse, nor on what is no HTTP/2 at all.
 *
 * Nothing is written, and no stream's end told, out of a callback of the
 * session: the connection is marked, and seen to once, at the end of the loop's
 * turn.  So the frames of all exchanges of a turn leave in one send.
 *
 * Flow control: what a client has not taken is not given back to the backend;
 * the stream waits, with at most H2_CLIENT_WINDOW bytes held here, and no other.
 */
#include "backend_h2.h"

#include <stdlib.h>
#include <string.h>

#include "weir/base/check.h"
#include "weir/http/h2_client.h"
#include "weir/proxy/exchange.h"

#define CONN_MAGIC 0x48325550
/* Streams of a connection, even if the backend allows more. */
#define STREAMS_MAX 1000
/* Assumed until the backend has said it once. */
#define STREAMS_FIRST 100
/* Request bodies up to this size wait for the end of the turn. */
#define BODY_LATER 8192
_Static_assert(BODY_LATER + AREA_DATA <= BUF_MAX, "more of the body may come before it");
/* A connection in use that brings nothing for so long is asked whether it lives. */
#define PING_AFTER_US 20000000
#define PING_WAIT_US 10000000
#define READS_PER_EVENT 4

struct backend_stream {
	void *slab_link;  /* only while free */
	struct list link; /* of the connection: waiting or streams */
	struct list news; /* of the connection: something to tell */
	struct h2_conn *conn;
	struct attempt *at;
	int32_t id;            /* 0: not sent yet */
	struct buf *out;       /* of the request body, not framed yet; owns */
	struct buf *out_tail;  /* its trailers as text; owns */
	struct buf *held;      /* of the response body, while the client is slow; owns */
	struct buf *held_tail; /* its trailers; owns */
	uint64_t left;         /* of the response body; UINT64_MAX: not announced */
	uint32_t owed;         /* bytes of it whose window was not given back */
	uint32_t code;         /* with `closed` */
	bool out_end;          /* `out` is the last of it */
	bool body_over;        /* and was framed */
	bool paused;
	bool held_end;
	bool drained; /* news: `out` is empty now */
	bool closed;  /* news: there are no further events */
	bool unseen;  /* the backend did nothing with it */
};

struct h2_conn {
	void *slab_link; /* only while free */
	struct timer timer;
	uint32_t magic;
	struct backend_h2 *owner;
	struct upconn *up;         /* owns; linked in backend_local->shared while it has room */
	struct h2_client *session; /* owns */
	struct gen_local *gl;      /* counted; set when its backend is retired */
	struct list all;           /* owner->all */
	struct list dirty;         /* owner->dirty */
	struct list waiting;       /* struct backend_stream, until connected */
	struct list streams;       /* struct backend_stream */
	struct list news;
	uint32_t n_waiting;
	uint32_t n_streams; /* as the session counts */
	uint32_t n_requests, max_requests;
	uint64_t idle_us, read_us;
	bool connected; /* bytes can be sent */
	bool ready;     /* requests can: its SETTINGS are here */
	bool closing;   /* takes no further request */
	bool answered;  /* it brought a response */
	bool dead;      /* nothing can be sent or received */
	bool pinged;
	bool busy; /* streams are being told: not to be freed */
};

struct backend_h2 {
	struct worker *worker;
	struct slab conns, streams;
	struct list all, dirty;
	struct area in;
	char *out; /* AREA_DATA; owns */
	struct message msg;
};

static const struct h2_client_events session_events;

/* ---- connections ---- */

static void touch(struct h2_conn *conn)
{
	if (!list_is_linked(&conn->dirty))
		list_push_back(&conn->owner->dirty, &conn->dirty);
}

static void note(struct backend_stream *s)
{
	if (!list_is_linked(&s->news))
		list_push_back(&s->conn->news, &s->news);
	touch(s->conn);
}

static void stop_taking(struct h2_conn *conn)
{
	conn->closing = true;
	list_del(&conn->up->idle_link);
	touch(conn);
}

static void kill_conn(struct h2_conn *conn)
{
	conn->dead = true;
	stop_taking(conn);
}

static bool is_unused(const struct h2_conn *conn)
{
	return list_is_empty(&conn->waiting) && list_is_empty(&conn->streams);
}

/* What the session has to say goes to the kernel, as far as that takes it. */
static void flush(struct h2_conn *conn)
{
	struct backend_h2 *h2 = conn->owner;
	while (!conn->dead && conn->connected && !stream_pending(&conn->up->stream)) {
		ptrdiff_t n = h2_client_write(conn->session, h2->out, AREA_DATA);
		if (n == 0)
			return;
		if (n < 0 || stream_write(&conn->up->stream, h2->out, (size_t)n) == IO_ERR) {
			kill_conn(conn);
			return;
		}
		counter_add(&conn->up->local->counters.bytes_out, (uint64_t)n);
	}
}

static void close_conn(struct h2_conn *conn)
{
	struct backend_h2 *h2 = conn->owner;
	check_magic(conn, CONN_MAGIC);
	check(is_unused(conn));
	if (!conn->dead) {
		h2_client_goaway(conn->session, H2_NO_ERROR);
		flush(conn);
	}
	timer_clear(&conn->timer);
	list_del(&conn->up->idle_link);
	list_del(&conn->dirty);
	list_del(&conn->all);
	upconn_close(conn->up);
	h2_client_free(conn->session);
	conn->magic = 0;
	struct gen_local *gl = conn->gl;
	slab_put(&h2->conns, conn);
	if (gl)
		gen_put(gl);
}

static uint64_t idle_for(const struct h2_conn *conn)
{
	return conn->owner->worker->loop.now_us - conn->read_us;
}

/* Deadlines are far apart, so one timer looks after all of them. */
static void on_timer(struct timer *timer)
{
	struct h2_conn *conn = container_of(timer, struct h2_conn, timer);
	struct loop *loop = &conn->owner->worker->loop;
	check_magic(conn, CONN_MAGIC);
	if (is_unused(conn)) {
		if (idle_for(conn) >= conn->idle_us)
			stop_taking(conn);
		else
			loop_timer(loop, timer, conn->idle_us - idle_for(conn));
		return;
	}
	if (idle_for(conn) < PING_AFTER_US) {
		loop_timer(loop, timer, PING_AFTER_US - idle_for(conn));
	} else if (conn->pinged) {
		kill_conn(conn);
	} else {
		conn->pinged = true;
		h2_client_ping(conn->session);
		touch(conn);
		loop_timer(loop, timer, PING_WAIT_US);
	}
}

static bool has_room(const struct h2_conn *conn)
{
	uint32_t known = conn->up->local->h2_streams, max = known ? known : STREAMS_FIRST;
	if (conn->ready)
		max = h2_client_max_streams(conn->session);
	return conn->n_streams + conn->n_waiting < (max < STREAMS_MAX ? max : STREAMS_MAX);
}

/* ---- streams ---- */

static void drop_bufs(struct backend_stream *s)
{
	struct buf_pool *bufs = &s->conn->owner->worker->pool.bufs;
	buf_put(bufs, s->out);
	buf_put(bufs, s->out_tail);
	buf_put(bufs, s->held);
	buf_put(bufs, s->held_tail);
	s->out = s->out_tail = s->held = s->held_tail = NULL;
}

static void free_stream(struct backend_stream *s)
{
	struct h2_conn *conn = s->conn;
	if (s->id == 0)
		conn->n_waiting--;
	drop_bufs(s);
	list_del(&s->link);
	list_del(&s->news);
	slab_put(&conn->owner->streams, s);
	if (!is_unused(conn))
		return;
	if (!conn->ready)
		kill_conn(conn); /* nobody waits for it any more */
	conn->read_us = conn->owner->worker->loop.now_us;
	loop_timer(&conn->owner->worker->loop, &conn->timer, conn->idle_us);
}

static void op_finish(struct attempt *at, bool keep)
{
	struct backend_stream *s = at->h2;
	struct h2_conn *conn = s->conn;
	at->h2 = NULL;
	at->up = NULL;
	if (s->id && !s->closed && !conn->dead) {
		if (keep && s->body_over)
			h2_client_let_go(conn->session, s->id);
		else
			h2_client_reset(conn->session, s->id, H2_CANCEL);
	} else if (s->id && !conn->dead) {
		h2_client_let_go(conn->session, s->id);
	}
	touch(conn);
	free_stream(s);
}

/* It ended before its response did. */
static void lost(struct backend_stream *s, enum outcome outcome)
{
	struct attempt *at = s->at;
	if (at->ex->head_relayed)
		exchange_end(at->ex, outcome == OUTCOME_bad_response ? OUTCOME_backend_bad_body
								     : OUTCOME_backend_cut);
	else
		attempt_failed(at, outcome);
}

static void stream_closed(struct backend_stream *s)
{
	struct attempt *at = s->at;
	if (s->held_end) /* it is whole, the client only has to take it */
		return;
	if (s->unseen) {
		at->unsent = true;             /* as good as */
		at->reused = s->conn->closing; /* the backend itself takes more, elsewhere */
		/* as often as it takes: there is an answer for each connection it costs */
		if (s->conn->closing && s->conn->answered)
			at->stale_retried = false;
		lost(s, OUTCOME_refused_stream);
	} else {
		lost(s,
		     s->code == H2_PROTOCOL_ERROR ? OUTCOME_bad_response : OUTCOME_backend_reset);
	}
}

static void request_drained(struct backend_stream *s)
{
	struct attempt *at = s->at;
	struct exchange *ex = at->ex;
	if (ex->state == EXCHANGE_SENDING) {
		if (ex->req_complete)
			attempt_sent(at);
		else
			exchange_arm(ex);
	}
	if (!ex->req_complete)
		ex->client_ops->resume(ex);
}

/* The connect of those who wait is over. */
static void tell_waiting(struct h2_conn *conn, enum err err)
{
	uint32_t max = conn->up->local->h2_streams;
	while (!list_is_empty(&conn->waiting)) {
		struct backend_stream *s = list_first(&conn->waiting, struct backend_stream, link);
		list_del(&s->link);
		list_push_back(&conn->streams, &s->link);
		if (!err && (conn->closing || conn->n_streams >= max))
			attempt_move(s->at);
		else
			attempt_connected(s->at, err);
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
		flush(conn);
		if (!conn->dead && conn->connected && h2_client_is_over(conn->session))
			kill_conn(conn);
		if (conn->dead)
			tell_waiting(conn, ERR_HANDSHAKE);
		else if (conn->ready)
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
		while (conn->dead && !list_is_empty(&conn->streams))
			lost(list_first(&conn->streams, struct backend_stream, link),
			     OUTCOME_backend_closed);
	} while (conn->dead ? !list_is_empty(&conn->streams) : !list_is_empty(&conn->news));
	conn->busy = false;
	if (conn->closing && is_unused(conn))
		close_conn(conn);
}

void backend_h2_turn_end(struct backend_h2 *h2)
{
	while (unlikely(!list_is_empty(&h2->dirty)))
		see_to(list_first(&h2->dirty, struct h2_conn, dirty));
}

/* ---- requests ---- */

static struct buf_pool *bufs_of(const struct backend_stream *s)
{
	return &s->conn->owner->worker->pool.bufs;
}

/* The body that is kept along with the head, as HTTP/1 would send it. */
static bool take_body(struct backend_stream *s, const struct exchange *ex, struct view body)
{
	struct h1_body reader;
	struct h1_piece piece;
	enum reject why;
	struct h1_limits limits = head_limits(ex->listener);
	if (body.len == 0)
		return true;
	if (!buf_append(bufs_of(s), &s->out, body.ptr, body.len))
		return false;
	if (!ex->req_chunked)
		return true;
	h1_body_init(&reader, &s->conn->owner->msg, &limits, 0);
	char *at = s->out->data + s->out->start;
	if (h1_body_read(&reader, at, s->out->len, &piece, &why) == H1_BAD)
		return false;
	if (piece.trailers.len &&
	    !buf_append(bufs_of(s), &s->out_tail, piece.trailers.ptr, piece.trailers.len))
		return false;
	s->out->len = (uint32_t)piece.data.len;
	return true;
}

/* Opens the stream with what the exchange has of its request. */
static bool submit(struct backend_stream *s, struct exchange *ex)
{
	static const struct h1_limits wide = {BUF_MAX, BUF_MAX, HEADERS_MAX};
	struct message *msg = &s->conn->owner->msg;
	struct view all =
	    ex->direct.len ? view_of(ex->direct.ptr, ex->direct.len) : buf_view(ex->req);
	enum reject why;
	if (h1_parse_request(view_head(all, ex->req_head_len), &wide, msg, &why) != H1_OK ||
	    !take_body(s, ex, view_skip(all, ex->req_head_len)))
		return false;
	s->out_end = ex->req_complete;
	s->body_over = s->out_end && !(s->out && s->out->len) && !s->out_tail;
	struct h2_client_request req = {
	    .msg = msg,
	    .scheme = s->conn->up->tls_id ? VIEW("https") : VIEW("http"),
	    .te_trailers = ex->te_trailers,
	    .has_body = !s->body_over,
	};
	s->id = h2_client_request(s->conn->session, &req, s);
	return true;
}

static size_t op_pending(const struct attempt *at)
{
	return at->h2->out ? at->h2->out->len : 0;
}

/* Sends at once what is large or has to wait, the rest with that of others. */
static enum io send_out(struct backend_stream *s)
{
	struct h2_conn *conn = s->conn;
	size_t n = op_pending(s->at);
	touch(conn);
	if (n <= BODY_LATER && h2_client_has_window(conn->session, s->id, n) &&
	    !stream_pending(&conn->up->stream))
		return IO_OK;
	if (!conn->busy)
		flush(conn);
	return op_pending(s->at) ? IO_WAIT : IO_OK;
}

static void op_send(struct attempt *at)
{
	struct exchange *ex = at->ex;
	struct backend_stream *s = at->h2;
	struct h2_conn *conn = s->conn;
	if (!submit(s, ex) || s->id == 0) {
		bool full = s->id == 0 && !s->out;
		if (full)
			stop_taking(conn);
		at->reused = true;
		attempt_failed(at, full ? OUTCOME_refused_stream : OUTCOME_no_memory);
		return;
	}
	conn->n_waiting--;
	conn->n_streams++;
	if (++conn->n_requests == conn->max_requests)
		stop_taking(conn);
	if (ex->direct.len) { /* no copy is kept: it may not be repeated anyhow */
		ex->direct.len = 0;
		ex->replayable = false;
	}
	loop_timer(&conn->owner->worker->loop, &conn->timer, PING_AFTER_US);
	attempt_count(at);
	enum io io = send_out(s);
	if (likely(io == IO_OK && ex->req_complete)) {
		attempt_sent(at);
		return;
	}
	if (io == IO_WAIT)
		ex->unsent_mark = SIZE_MAX;
	at->send_from_us = clock_us();
	exchange_set_state(ex, EXCHANGE_SENDING);
	if (io == IO_OK)
		ex->client_ops->resume(ex);
}

static enum io op_body(struct attempt *at, const struct request_part *part)
{
	struct backend_stream *s = at->h2;
	if (s->closed || s->conn->dead)
		return IO_ERR;
	if (part->data.len && !buf_append(bufs_of(s), &s->out, part->data.ptr, part->data.len))
		return IO_ERR;
	/* "0 CRLF fields CRLF" */
	if (part->trailers && part->wire.len > 5 &&
	    !buf_append(bufs_of(s), &s->out_tail, part->wire.ptr + 3, part->wire.len - 5))
		return IO_ERR;
	s->out_end = part->end;
	h2_client_more(s->conn->session, s->id);
	return send_out(s);
}

static size_t on_source(void *stream, char *to, size_t cap, bool *end, bool *trailers)
{
	struct backend_stream *s = stream;
	size_t n = op_pending(s->at);
	n = n < cap ? n : cap;
	if (n) {
		memcpy(to, s->out->data + s->out->start, n);
		buf_take(s->out, n);
	}
	if (s->out && s->out->len == 0) {
		buf_put(bufs_of(s), s->out);
		s->out = NULL;
		s->drained = true;
		note(s);
	}
	*end = s->out_end && !s->out;
	*trailers = s->out_tail != NULL;
	s->body_over = *end;
	return n;
}

static const struct message *on_source_trailers(void *stream)
{
	struct backend_stream *s = stream;
	struct message *msg = &s->conn->owner->msg;
	struct h1_limits limits = head_limits(s->at->ex->listener);
	enum reject why;
	if (h1_parse_trailers(buf_view(s->out_tail), &limits, msg, &why) != H1_OK)
		return NULL;
	return msg;
}

/* ---- responses ---- */

static void refuse(struct backend_stream *s)
{
	struct h2_conn *conn = s->conn;
	h2_client_reset(conn->session, s->id, H2_PROTOCOL_ERROR);
	s->closed = true; /* already reset */
	touch(conn);
	lost(s, OUTCOME_bad_response);
}

/* Whether so much more, and its end, fits what was announced. */
static bool fits(struct backend_stream *s, size_t len, bool end)
{
	if (s->left == UINT64_MAX)
		return true;
	if (len > s->left)
		return false;
	s->left -= len;
	return !end || s->left == 0;
}

/* `len` bytes were given to the client. */
static void relayed(struct backend_stream *s, enum io io, size_t len, bool end)
{
	if (io == IO_WAIT)
		s->owed += (uint32_t)len;
	else if (io == IO_OK && !end && !s->closed)
		h2_client_took(s->conn->session, s->id, len);
	attempt_relayed(s->at, io, end);
}

static void final_head(struct backend_stream *s, char *body, size_t len, bool end)
{
	struct exchange *ex = s->at->ex;
	struct message *resp = &ex->worker->resp;
	s->left = resp->body == BODY_LENGTH ? resp->content_length
		  : resp->body == BODY_NONE ? 0
					    : UINT64_MAX;
	if (resp->body == BODY_CLOSE) /* its end is marked, unlike that of HTTP/1 */
		resp->body = BODY_CHUNKED;
	if (resp->body == BODY_LENGTH && end && len == 0 && resp->content_length) {
		refuse(s);
		return;
	}
	if (!fits(s, len, end)) {
		refuse(s);
		return;
	}
	ex->status = resp->status;
	s->at->resp_keep = true;
	policy_response(ex, resp);
	relayed(s, ex->client_ops->head(ex, resp, (struct span){body, len}, end), len, end);
}

static void on_head(void *stream, struct view text, char *body, size_t len, bool end)
{
	struct backend_stream *s = stream;
	struct exchange *ex = s->at->ex;
	struct worker *w = ex->worker;
	struct h1_limits limits = head_limits(ex->listener);
	enum reject why;
	s->conn->answered = true;
	attempt_answered(s->at);
	if (h1_parse_response(text, &limits, ex->method, &w->resp, &why) != H1_OK) {
		counter_add(&w->counters.rejects[why], 1);
		refuse(s);
		return;
	}
	attempt_count_status(s->at, w->resp.status);
	if (w->resp.status >= 200) {
		final_head(s, body ? body : s->conn->owner->in.data, len, end);
		return;
	}
	policy_response(ex, &w->resp);
	if (ex->client_ops->interim(ex, &w->resp) == IO_ERR)
		exchange_client_gone(ex);
}

static void give(struct backend_stream *s, char *body, size_t len, bool end)
{
	struct exchange *ex = s->at->ex;
	relayed(s, ex->client_ops->data(ex, (struct span){body, len}, end), len, end);
}

static void on_data(void *stream, char *body, size_t len, bool end)
{
	struct backend_stream *s = stream;
	if (!fits(s, len, end)) {
		refuse(s);
		return;
	}
	if (s->paused) {
		s->held_end |= end;
		if (len && !buf_append(bufs_of(s), &s->held, body, len))
			exchange_end(s->at->ex, OUTCOME_no_memory);
	} else if (len || end) {
		give(s, body ? body : s->conn->owner->in.data, len, end);
	}
}

static void give_trailers(struct backend_stream *s, struct view text)
{
	struct exchange *ex = s->at->ex;
	struct worker *w = ex->worker;
	struct h1_limits limits = head_limits(ex->listener);
	enum reject why;
	w->resp.n_headers = 0;
	if (text.len && h1_parse_trailers(text, &limits, &w->resp, &why) != H1_OK) {
		counter_add(&w->counters.rejects[why], 1);
		refuse(s);
		return;
	}
	relayed(s, ex->client_ops->trailers(ex, &w->resp), 0, true);
}

static void on_trailers(void *stream, struct view text)
{
	struct backend_stream *s = stream;
	if (!fits(s, 0, true)) {
		refuse(s);
	} else if (!s->paused) {
		give_trailers(s, text);
	} else {
		s->held_end = true;
		if (text.len && !buf_append(bufs_of(s), &s->held_tail, text.ptr, text.len))
			exchange_end(s->at->ex, OUTCOME_no_memory);
	}
}

static void op_pause(struct attempt *at)
{
	at->h2->paused = true;
}

static void op_resume(struct attempt *at)
{
	struct backend_stream *s = at->h2;
	struct worker *w = at->ex->worker;
	char *area = w->from_backend.data;
	size_t len = 0;
	if (!s->paused)
		return;
	s->paused = false;
	if (!s->closed && !s->conn->dead)
		h2_client_took(s->conn->session, s->id, s->owed);
	s->owed = 0;
	touch(s->conn);
	if (s->held) {
		memcpy(area, s->held->data + s->held->start, len = s->held->len);
		buf_put(bufs_of(s), s->held);
		s->held = NULL;
	}
	bool end = s->held_end && !s->held_tail;
	if (len || end)
		give(s, area, len, end);
	if (end || at->h2 != s || s->paused || !s->held_tail)
		return;
	struct buf *tail = s->held_tail;
	s->held_tail = NULL;
	give_trailers(s, buf_view(tail));
	buf_put(&w->pool.bufs, tail);
}

/* ---- events of the session and of the connection ---- */

static void on_closed(void *owner, void *stream, uint32_t code, bool unseen)
{
	struct h2_conn *conn = owner;
	struct backend_stream *s = stream;
	conn->n_streams--;
	touch(conn);
	if (!s)
		return;
	s->closed = true;
	s->code = code;
	s->unseen = unseen;
	note(s);
}

static void on_settings(void *owner)
{
	struct h2_conn *conn = owner;
	uint32_t max = h2_client_max_streams(conn->session);
	conn->ready = true;
	conn->up->local->h2_streams = max < STREAMS_MAX ? max : STREAMS_MAX;
	touch(conn);
}

static void on_goaway(void *owner)
{
	stop_taking(owner);
}

static const struct h2_client_events session_events = {
    .head = on_head,
    .data = on_data,
    .trailers = on_trailers,
    .source = on_source,
    .source_trailers = on_source_trailers,
    .closed = on_closed,
    .settings = on_settings,
    .goaway = on_goaway,
};

static struct h2_conn *conn_of(struct stream *stream)
{
	struct upconn *up = container_of(stream, struct upconn, stream);
	struct h2_conn *conn = up->owner;
	check_magic(up, UPCONN_MAGIC);
	check_magic(conn, CONN_MAGIC);
	return conn;
}

static void on_connected(struct stream *stream, enum err err)
{
	struct h2_conn *conn = conn_of(stream);
	bool tls = conn->up->tls_id != 0;
	if (!err && tls && !view_eq(stream_alpn(stream), VIEW("h2")))
		err = ERR_HANDSHAKE;
	conn->connected = !err;
	conn->read_us = conn->owner->worker->loop.now_us;
	touch(conn);
	if (!err)
		return;
	conn->busy = true;
	kill_conn(conn);
	tell_waiting(conn, err);
	conn->busy = false;
}

static void on_readable(struct stream *stream)
{
	struct h2_conn *conn = conn_of(stream);
	struct backend_h2 *h2 = conn->owner;
	conn->busy = true;
	conn->pinged = false;
	conn->read_us = h2->worker->loop.now_us;
	for (unsigned i = 0; i < READS_PER_EVENT && !conn->dead; i++) {
		size_t n;
		enum io io = stream_read(stream, h2->in.data, AREA_DATA, &n);
		if (io == IO_WAIT)
			break;
		if (io != IO_OK) {
			kill_conn(conn);
			break;
		}
		counter_add(&conn->up->local->counters.bytes_in, n);
		if (!h2_client_read(conn->session, h2->in.data, n)) {
			h2_client_goaway(conn->session, H2_PROTOCOL_ERROR);
			flush(conn);
			kill_conn(conn);
		}
		if (n < AREA_DATA)
			break;
	}
	conn->busy = false;
	touch(conn);
}

static void on_drained(struct stream *stream)
{
	touch(conn_of(stream));
}

static void on_broken(struct stream *stream)
{
	kill_conn(conn_of(stream));
}

static const struct stream_events conn_events = {
    .connected = on_connected,
    .readable = on_readable,
    .drained = on_drained,
    .broken = on_broken,
};

/* ---- taking a stream ---- */

static enum err new_conn(struct backend_h2 *h2, struct attempt *at, struct h2_conn **out)
{
	static const struct upconn_intro no_intro;
	struct worker *w = h2->worker;
	const struct conf_pool *conf = at->ex->view->pool->conf;
	struct h2_conn *conn = slab_get(&h2->conns);
	if (!conn)
		return ERR_NOMEM;
	memset(&conn->magic, 0, sizeof(*conn) - offsetof(struct h2_conn, magic));
	conn->magic = CONN_MAGIC;
	conn->owner = h2;
	conn->timer.fn = on_timer;
	conn->idle_us = conf->keepalive.idle_us;
	conn->max_requests = conf->keepalive.requests;
	conn->read_us = w->loop.now_us;
	list_init(&conn->dirty);
	list_init(&conn->waiting);
	list_init(&conn->streams);
	list_init(&conn->news);
	conn->session = h2_client_new(&w->pool.bufs, &session_events, conn);
	enum err err = ERR_NOMEM;
	if (conn->session)
		err = upconn_connect(&w->pool, at->lease.backend, at->ex->view, &no_intro,
				     &conn_events, conn, &conn->up, &conn->connected);
	if (err) {
		h2_client_free(conn->session);
		conn->magic = 0;
		slab_put(&h2->conns, conn);
		return err;
	}
	list_push_back(&h2->all, &conn->all);
	if (at->local->retired) { /* for this one exchange of an old generation */
		conn->gl = gen_get(at->ex->gl);
		conn->max_requests = 1;
	} else {
		list_push_front(&at->local->shared, &conn->up->idle_link);
	}
	if (conn->connected)
		touch(conn); /* its preface */
	*out = conn;
	return ERR_OK;
}

/*
 * Backends end a connection after some number of requests (nginx: 1000).  The first
 * ones on a connection are the least likely to meet with that.
 */
static bool is_fresh(const struct h2_conn *conn)
{
	uint32_t known = conn->up->local->h2_streams;
	return conn->n_requests + conn->n_waiting < (known ? known : STREAMS_FIRST);
}

static struct h2_conn *find_conn(const struct attempt *at, bool may_reuse)
{
	const struct tls_client *tls = at->ex->view->tls;
	uint64_t tls_id = tls ? tls_client_id(tls) : 0;
	list_each (it, &at->local->shared) {
		struct upconn *up = list_entry(it, struct upconn, idle_link);
		struct h2_conn *conn = up->owner;
		if (up->tls_id == tls_id && has_room(conn) && (may_reuse || is_fresh(conn)))
			return conn;
	}
	return NULL;
}

enum err backend_h2_take(struct attempt *at, bool may_reuse, bool *connected)
{
	struct backend_h2 *h2 = at->ex->worker->backends_h2;
	struct h2_conn *conn = find_conn(at, may_reuse);
	struct backend_stream *s = slab_get(&h2->streams);
	at->reused = conn && conn->n_requests > 0;
	if (!s)
		return ERR_NOMEM;
	if (!conn) {
		enum err err = new_conn(h2, at, &conn);
		if (err) {
			slab_put(&h2->streams, s);
			return err;
		}
	}
	memset(s, 0, sizeof(*s));
	s->conn = conn;
	s->at = at;
	s->left = UINT64_MAX;
	list_init(&s->news);
	list_push_back(conn->ready ? &conn->streams : &conn->waiting, &s->link);
	conn->n_waiting++;
	at->h2 = s;
	at->up = conn->up;
	*connected = conn->ready;
	return ERR_OK;
}

static enum io op_raw(struct attempt *at, struct span bytes)
{
	(void)at;
	(void)bytes;
	return IO_ERR; /* no backend of this version is asked for a tunnel */
}

static void op_raw_end(struct attempt *at)
{
	(void)at;
}

const struct backend_ops backend_h2_ops = {
    .send = op_send,
    .body = op_body,
    .raw = op_raw,
    .raw_end = op_raw_end,
    .pending = op_pending,
    .unsent = op_pending,
    .pause = op_pause,
    .resume = op_resume,
    .finish = op_finish,
};

/* ---- a worker's life ---- */

struct backend_h2 *backend_h2_new(struct worker *w, const struct worker_limits *limits)
{
	struct backend_h2 *h2 = calloc(1, sizeof(*h2));
	if (!h2)
		return NULL;
	h2->worker = w;
	slab_init(&h2->conns, sizeof(struct h2_conn), limits->upconns);
	slab_init(&h2->streams, sizeof(struct backend_stream), limits->conns);
	list_init(&h2->all);
	list_init(&h2->dirty);
	h2->out = malloc(AREA_DATA);
	h2->in.base = aligned_alloc(WEIR_CACHE_LINE, AREA_FRONT + AREA_DATA + AREA_BACK);
	if (!h2->out || !h2->in.base) {
		backend_h2_free(h2);
		return NULL;
	}
	h2->in.data = h2->in.base + AREA_FRONT;
	return h2;
}

void backend_h2_free(struct backend_h2 *h2)
{
	if (!h2)
		return;
	check(list_is_empty(&h2->all));
	slab_fini(&h2->conns);
	slab_fini(&h2->streams);
	free(h2->in.base);
	free(h2->out);
	free(h2);
}

void backend_h2_retire(struct worker *w, const struct backend_local *local, struct gen_local *gl)
{
	list_each (it, &w->backends_h2->all) {
		struct h2_conn *conn = list_entry(it, struct h2_conn, all);
		if (conn->up->local != local)
			continue;
		if (!conn->gl)
			conn->gl = gen_get(gl);
		if (conn->ready || is_unused(conn))
			stop_taking(conn);
		else /* those who wait for it still have their turn */
			conn->max_requests = conn->n_waiting;
	}
}

void backend_h2_leave(struct worker *w)
{
	struct backend_h2 *h2 = w->backends_h2;
	while (!list_is_empty(&h2->all))
		close_conn(list_first(&h2->all, struct h2_conn, all));
}
