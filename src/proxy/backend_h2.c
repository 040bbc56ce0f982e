/* SPDX-License-Identifier: MIT */
/*
 * The backend's side over HTTP/2.  A connection carries the streams of many
 * exchanges; a new one is opened only when all are full.
 *
 * States of a connection: backend_h2_conn.h.
 *
 * Nothing is written, and no stream's end told, out of a callback of the
 * session: the connection is marked, and seen to once, at the end of the loop's
 * turn.  So the frames of all exchanges of a turn leave in one send.
 *
 * Flow control: what a client has not taken is not given back to the backend;
 * the stream waits, with at most its window held here (h2_window.h), and no other.
 */
#include "backend_h2.h"

#include <stdlib.h>
#include <string.h>

#include "backend_h2_conn.h"

#include "weir/base/check.h"

/* Streams of a connection, until the backend has said it once. */
#define STREAMS_FIRST 100

/* ---- taking a stream ---- */

/* One without a socket. */
static struct h2_conn *alloc_conn(struct backend_h2 *h2, const struct conf_pool *conf)
{
	struct h2_conn *conn = slab_get(&h2->conns);
	if (!conn)
		return NULL;
	memset(&conn->magic, 0, sizeof(*conn) - offsetof(struct h2_conn, magic));
	conn->magic = H2_CONN_MAGIC;
	conn->owner = h2;
	conn->timer.fn = h2_conn_on_timer;
	conn->idle_us = conf->keepalive.idle_us;
	conn->ping_us = conf->keepalive.ping_us;
	conn->max_requests = conf->keepalive.requests;
	conn->max_idle = conf->keepalive.max_idle;
	conn->may_be_http1 = conf->protocol == CONF_PROTOCOL_AUTO;
	conn->read_us = h2->worker->loop.now_us;
	conn->greet_by_us = conn->read_us + conf->timeouts.connect_us;
	list_init(&conn->dirty);
	list_init(&conn->waiting);
	list_init(&conn->streams);
	list_init(&conn->news);
	list_init(&conn->all);
	conn->session = h2_client_new(&(struct h2_client_setup){
	    .bufs = &h2->worker->pool.bufs,
	    .on = &h2_session_events,
	    .owner = conn,
	    .window_bytes = conf->limits.h2_window_bytes,
	    .windows = &h2->worker->h2_windows,
	});
	if (conn->session)
		return conn;
	conn->magic = 0;
	slab_put(&h2->conns, conn);
	return NULL;
}

/* It has its socket: others may share it. */
static void share(struct h2_conn *conn, const struct attempt *at)
{
	list_push_back(&conn->owner->all, &conn->all);
	conn->sl = at->ex->view->sl;
	if (at->local->retired) { /* for this one exchange of an old generation */
		conn->gl = gen_get(at->ex->pools ? at->ex->pools : at->ex->gl);
		conn->max_requests = 1;
	} else {
		list_push_front(&at->local->shared, &conn->up->idle_link);
	}
	if (conn->state == H2_CONN_GREETING)
		h2_conn_touch(conn); /* its preface */
}

static enum err new_conn(struct backend_h2 *h2, struct attempt *at, struct h2_conn **out)
{
	static const struct upconn_intro no_intro;
	struct h2_conn *conn = alloc_conn(h2, at->ex->view->pool->conf);
	bool connected;
	if (!conn)
		return ERR_NOMEM;
	enum err err = upconn_connect(&h2->worker->pool, at->lease.backend, at->ex->view, &no_intro,
				      &h2_conn_events, conn, &conn->up, &connected);
	if (err) {
		h2_conn_drop(conn);
		return err;
	}
	if (connected)
		h2_conn_set_state(conn, H2_CONN_GREETING);
	share(conn, at);
	*out = conn;
	return ERR_OK;
}

static bool has_room(const struct h2_conn *conn)
{
	uint32_t known = conn->up->local->h2_streams, max = known ? known : STREAMS_FIRST;
	if (unlikely(h2_client_is_held_up(conn->session)))
		return false;
	if (conn->state == H2_CONN_OPEN)
		max = h2_client_max_streams(conn->session);
	else if (conn->owner->worker->loop.now_us >= conn->greet_by_us)
		return false;
	return conn->n_streams + conn->n_waiting <
	       (max < H2_CONN_STREAMS_MAX ? max : H2_CONN_STREAMS_MAX);
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

/*
 * A backend that allows no streams may allow some later on: it says so on the
 * connection there is, until that has been idle for too long.  More of them would
 * only be more of the same.
 */
static enum upconn_way way_to(const struct backend_local *local)
{
	enum upconn_way way = WAY_OPEN;
	list_each (it, &local->shared) {
		const struct h2_conn *conn = list_entry(it, struct upconn, idle_link)->owner;
		if (has_room(conn))
			return WAY_JOIN;
		if (h2_conn_is_barren(conn))
			way = WAY_NONE;
	}
	return way;
}

static uint64_t tls_id_of(const struct attempt *at)
{
	const struct tls_client *tls = at->ex->view->tls;
	return tls ? tls_client_id(tls) : 0;
}

static struct h2_conn *find_conn(const struct attempt *at, bool may_reuse)
{
	uint64_t tls_id = tls_id_of(at);
	list_each (it, &at->local->shared) {
		struct upconn *up = list_entry(it, struct upconn, idle_link);
		struct h2_conn *conn = up->owner;
		if (up->tls_id == tls_id && has_room(conn) && (may_reuse || is_fresh(conn)))
			return conn;
	}
	return NULL;
}

/*
 * Another one is opened in place of those that only a head without end is left on, and that a
 * reload has given other TLS.
 */
static void leave_useless(const struct attempt *at)
{
	uint64_t tls_id = tls_id_of(at);
	list_each_safe (it, next, &at->local->shared) {
		struct upconn *up = list_entry(it, struct upconn, idle_link);
		struct h2_conn *conn = up->owner;
		if ((h2_client_is_held_up(conn->session) || up->tls_id != tls_id) &&
		    conn->state == H2_CONN_OPEN && h2_conn_is_unused(conn))
			h2_conn_stop(conn);
	}
}

static struct h2_conn *first_over(const struct attempt *at)
{
	list_each (it, &at->ex->worker->backends_h2->dirty) {
		struct h2_conn *conn = list_entry(it, struct h2_conn, dirty);
		if (conn->up->local == at->local && conn->state >= H2_CONN_CLOSING && !conn->busy &&
		    h2_conn_is_unused(conn))
			return conn;
	}
	return NULL;
}

/* What is closed at the end of the turn would count against limits.connections until then. */
static void make_room(const struct attempt *at)
{
	struct h2_conn *conn;
	leave_useless(at);
	while ((conn = first_over(at)))
		h2_conn_close(conn);
}

/* The stream waits for its turn, or for the connect. */
static void join(struct h2_conn *conn, struct backend_stream *s, struct attempt *at)
{
	memset(s, 0, sizeof(*s));
	s->conn = conn;
	s->at = at;
	s->left = UINT64_MAX;
	list_init(&s->news);
	list_push_back(conn->state == H2_CONN_OPEN ? &conn->streams : &conn->waiting, &s->link);
	conn->n_waiting++;
	at->h2 = s;
	at->up = conn->up;
}

enum err backend_h2_take(struct attempt *at, bool may_reuse, bool *connected)
{
	struct backend_h2 *h2 = at->ex->worker->backends_h2;
	struct h2_conn *conn = find_conn(at, may_reuse);
	if (!conn && way_to(at->local) == WAY_NONE) {
		upconn_way_closed(at->lease.backend);
		return ERR_BUSY;
	}
	struct backend_stream *s = slab_get(&h2->streams);
	at->reused = conn && conn->n_requests > 0;
	if (!s)
		return ERR_NOMEM;
	if (!conn) {
		make_room(at);
		enum err err = new_conn(h2, at, &conn);
		if (err) {
			slab_put(&h2->streams, s);
			return err;
		}
	}
	join(conn, s, at);
	*connected = conn->state == H2_CONN_OPEN;
	return ERR_OK;
}

void backend_h2_adopt(struct attempt *at)
{
	struct backend_h2 *h2 = at->ex->worker->backends_h2;
	struct h2_conn *conn = alloc_conn(h2, at->ex->view->pool->conf);
	struct backend_stream *s = slab_get(&h2->streams);
	if (!conn || !s) {
		if (conn)
			h2_conn_drop(conn);
		if (s)
			slab_put(&h2->streams, s);
		attempt_over(at, OUTCOME_no_memory);
		return;
	}
	at->local->speaks = BACKEND_SPEAKS_H2;
	at->ops = &backend_h2_ops;
	conn->up = at->up;
	conn->up->owner = conn;
	conn->up->stream.on = &h2_conn_events;
	h2_conn_set_state(conn, H2_CONN_GREETING);
	share(conn, at);
	join(conn, s, at); /* it waits for SETTINGS, as it waited for the connect */
}

/* ---- letting go of it ---- */

static void drop_bufs(struct backend_stream *s)
{
	struct buf_pool *bufs = &s->conn->owner->worker->pool.bufs;
	buf_put(bufs, s->out);
	buf_put(bufs, s->out_tail);
	buf_queue_drop(bufs, &s->held);
	buf_put(bufs, s->held_tail);
	s->out = s->out_tail = s->held_tail = NULL;
}

/* Leaves its connection as it is. */
static void release(struct backend_stream *s)
{
	struct h2_conn *conn = s->conn;
	if (s->id == 0)
		conn->n_waiting--;
	drop_bufs(s);
	h2_client_stream_fini(&s->st);
	list_del(&s->link);
	list_del(&s->news);
	slab_put(&conn->owner->streams, s);
}

static void free_stream(struct backend_stream *s)
{
	struct h2_conn *conn = s->conn;
	release(s);
	if (!h2_conn_is_unused(conn))
		return;
	if (conn->state < H2_CONN_OPEN)
		h2_conn_kill(conn); /* nobody waits for it any more */
	else if (conn->state == H2_CONN_OPEN && upconn_is_surplus(conn->up, conn->max_idle) &&
		 !h2_conn_is_barren(conn))
		h2_conn_stop(conn);
	conn->unused_us = conn->owner->worker->loop.now_us;
	if (!h2_conn_owes(conn))
		loop_timer(&conn->owner->worker->loop, &conn->timer, conn->idle_us);
}

static void op_finish(struct attempt *at, bool keep)
{
	struct backend_stream *s = at->h2;
	struct h2_conn *conn = s->conn;
	at->h2 = NULL;
	at->up = NULL;
	if (s->id && !s->closed && conn->state != H2_CONN_DEAD) {
		if ((keep || s->ended) && s->body_over)
			h2_client_let_go(conn->session, s->id);
		else
			h2_client_reset(conn->session, s->id, H2_CANCEL);
	} else if (s->id && conn->state != H2_CONN_DEAD) {
		h2_client_let_go(conn->session, s->id);
	}
	h2_conn_touch(conn);
	free_stream(s);
}

/* ---- a connection that turns out to speak HTTP/1 ---- */

void backend_h2_turn_http1(struct h2_conn *conn)
{
	struct upconn *up = conn->up;
	up->local->speaks = BACKEND_SPEAKS_HTTP1;
	/* it can serve one of those who wait */
	while (conn->n_waiting > 1)
		attempt_moved(list_last(&conn->waiting, struct backend_stream, link)->at);
	if (conn->n_waiting == 0) {
		h2_conn_kill(conn);
		return;
	}
	struct backend_stream *s = list_first(&conn->waiting, struct backend_stream, link);
	struct attempt *at = s->at;
	release(s);
	list_del(&up->idle_link);
	h2_conn_drop(conn);
	at->h2 = NULL;
	at->ops = &backend_h1_ops;
	up->owner = at;
	up->stream.on = &backend_h1_events;
	attempt_connected(at, ERR_OK);
}

/* ---- tunnels ---- */

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
    .send = backend_h2_send,
    .body = backend_h2_body,
    .raw = op_raw,
    .raw_end = op_raw_end,
    .pending = backend_h2_pending,
    .unsent = backend_h2_pending,
    .pause = backend_h2_pause,
    .resume = backend_h2_resume,
    .finish = op_finish,
};

/* ---- a worker's life ---- */

struct backend_h2 *backend_h2_new(struct worker *w, const struct worker_limits *limits)
{
	struct backend_h2 *h2 = calloc(1, sizeof(*h2));
	if (!h2)
		return NULL;
	h2->worker = w;
	w->pool.way = way_to;
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

static void retire_conn(void *obj)
{
	timer_del(&((struct h2_conn *)obj)->timer);
}

void backend_h2_watch(struct backend_h2 *h2, struct slab_watch *watch)
{
	h2->conns.retire = retire_conn;
	slab_watch_add(watch, &h2->conns, MEMORY_upstreams);
	slab_watch_add(watch, &h2->streams, MEMORY_http2);
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
		if (conn->state >= H2_CONN_OPEN)
			h2_conn_stop(conn);
		else /* those who wait for it still have their turn */
			conn->max_requests = conn->n_waiting;
	}
}

void backend_h2_leave(struct worker *w)
{
	struct backend_h2 *h2 = w->backends_h2;
	while (!list_is_empty(&h2->all))
		h2_conn_close(list_first(&h2->all, struct h2_conn, all));
}
