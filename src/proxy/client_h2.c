/* SPDX-License-Identifier: MIT */
/* HTTP/2 connections of clients: take-over, reading, sending, drain, end. */
#include "client_h2.h"

#include <stdlib.h>

#include "client_h1.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"

/* How long requests may be on the way that were sent before the notice was read. */
#define NOTICE_US 250000

static void on_timeout(struct timer *timer);

/* ---- the end ---- */

static void end_streams(struct client_h2 *h2, bool stopped)
{
	struct h2_server *s = &h2->server;
	s->dead = true; /* whatever exchanges still say goes nowhere */
	while (!list_is_empty(&s->streams)) {
		struct h2_stream *st = list_first(&s->streams, struct h2_stream, link);
		struct client_stream *cs = container_of(st, struct client_stream, st);
		st->closed = true;
		if (cs->ex && stopped)
			exchange_end(cs->ex, OUTCOME_stopped);
		else if (cs->ex)
			exchange_client_gone(cs->ex);
		client_stream_free(cs);
	}
}

/* Gives the session back; the connection remains, to be closed or lingered. */
static struct client *close_session(struct client_h2 *h2, bool stopped)
{
	struct client *c = h2->conn;
	end_streams(h2, stopped);
	h2_server_close(&h2->server);
	list_del(&h2->link);
	h2->magic = 0;
	c->h2 = NULL;
	slab_put(&h2->worker->h2->conns, h2);
	return c;
}

/* The peer is gone. */
static void gone(struct client_h2 *h2)
{
	client_close(close_session(h2, false));
}

/* Says GOAWAY, with what is gathered, and lets the peer read it. */
static void finish(struct client_h2 *h2)
{
	struct stream *stream = &h2->conn->stream;
	struct buf *out = h2->server.gather;
	bool ok = h2->state != CLIENT_H2_BROKEN;
	if (ok && out)
		ok = stream_write(stream, out->data + out->start, out->len) != IO_ERR;
	struct client *c = close_session(h2, false);
	if (ok)
		client_linger(c);
	else
		client_close(c);
}

void client_h2_abort(struct client *c)
{
	client_close(close_session(c->h2, true));
}

/* ---- deadlines ---- */

static enum client_h2_wait wait_of(const struct client_h2 *h2)
{
	if (h2->state == CLIENT_H2_NOTICED)
		return H2_WAIT_LEAVE;
	if (h2->server.head_id)
		return H2_WAIT_HEAD;
	return h2->n_live == 0 ? H2_WAIT_IDLE : H2_WAIT_NONE;
}

/* The timer runs from the moment its reason began: a PING does not put it off. */
static void arm(struct client_h2 *h2)
{
	struct client *c = h2->conn;
	enum client_h2_wait wait = wait_of(h2);
	if (wait == h2->wait)
		return;
	h2->wait = (uint8_t)wait;
	switch (wait) {
	case H2_WAIT_HEAD:
		loop_timer(&h2->worker->loop, &c->timer, c->conf->timeouts.header_us);
		break;
	case H2_WAIT_IDLE:
		loop_timer(&h2->worker->loop, &c->timer, client_idle_us(c));
		break;
	case H2_WAIT_LEAVE:
		loop_timer(&h2->worker->loop, &c->timer, NOTICE_US);
		break;
	default:
		timer_clear(&c->timer);
	}
}

/* timeouts.max_age is over, and the peer was not told. */
static bool is_too_old(const struct client_h2 *h2)
{
	return h2->worker->loop.now_us >= h2->conn->expires_us && h2->state == CLIENT_H2_OPEN;
}

static void on_timeout(struct timer *timer)
{
	struct client *c = container_of(timer, struct client, timer);
	struct client_h2 *h2 = c->h2;
	check_magic(h2, CLIENT_H2_MAGIC);
	if (h2->state == CLIENT_H2_BROKEN)
		return; /* it goes with the turn */
	if (h2->wait == H2_WAIT_IDLE && is_too_old(h2)) {
		h2->wait = H2_WAIT_UNSET;
		client_h2_dirty(h2); /* a request may be on its way: notice goes first */
		return;
	}
	if (h2->wait == H2_WAIT_HEAD)
		counter_add(&h2->worker->counters.outcomes[OUTCOME_client_timeout_head], 1);
	bool over = h2->wait != H2_WAIT_LEAVE;
	h2->wait = H2_WAIT_UNSET;
	client_h2_set_state(h2, CLIENT_H2_LEFT);
	h2_server_goaway(&h2->server, H2_NO_ERROR);
	if (over)
		finish(h2);
	else
		client_h2_dirty(h2);
}

/* ---- the end of a turn ---- */

static void count_death(struct client_h2 *h2)
{
	struct worker_counters *counters = &h2->worker->counters;
	struct counter *const floods[] = {
#define FLOOD(name, per_second, sentence) BOUND(name, sentence)
#define BOUND(name, sentence) &counters->h2_flood_##name,
#include "weir/tbl/h2_floods.def"
#undef FLOOD
	};
	if (h2->server.flood < H2_N_FLOODS)
		counter_add(floods[h2->server.flood], 1);
	else
		counter_add(&counters->h2_protocol_errors, 1);
}

/* No further requests. */
static void give_notice(struct client_h2 *h2)
{
	client_h2_set_state(h2, CLIENT_H2_NOTICED);
	h2_server_notice(&h2->server);
}

static void tend(struct client_h2 *h2)
{
	struct h2_server *s = &h2->server;
	if (unlikely(is_too_old(h2)))
		give_notice(h2);
	while (!list_is_empty(&h2->todo)) {
		struct client_stream *cs = list_first(&h2->todo, struct client_stream, todo);
		list_del(&cs->todo);
		client_stream_go_on(cs);
	}
	h2_server_pump(s);
	h2_server_settle(s);
	client_h2_send(s);
	if (h2->state == CLIENT_H2_BROKEN) {
		gone(h2);
	} else if (s->dead) {
		count_death(h2);
		finish(h2);
	} else if (h2_server_is_over(s) ||
		   (h2->state == CLIENT_H2_LEFT && s->n_streams == 0 && !s->gather)) {
		finish(h2);
	} else {
		arm(h2);
	}
}

void client_h2_turn_end(struct worker *w)
{
	struct list *dirty = &w->h2->dirty;
	while (unlikely(!list_is_empty(dirty))) {
		struct client_h2 *h2 = list_first(dirty, struct client_h2, link);
		check_magic(h2, CLIENT_H2_MAGIC);
		list_del(&h2->link);
		tend(h2);
	}
}

/* ---- events of the connection ---- */

static struct client_h2 *h2_of(struct stream *stream)
{
	struct client *c = container_of(stream, struct client, stream);
	check_magic(c, CLIENT_MAGIC);
	check_magic(c->h2, CLIENT_H2_MAGIC);
	return c->h2;
}

static void receive(struct client_h2 *h2, char *ptr, size_t len)
{
	h2->conn->head_from_us = clock_us();
	h2_server_recv(&h2->server, ptr, len, h2->conn->head_from_us);
	client_h2_dirty(h2);
}

static void on_readable(struct stream *stream)
{
	struct client_h2 *h2 = h2_of(stream);
	char *at = h2->worker->from_client.data;
	size_t n;
	if (h2->server.dead)
		return;
	enum io io = stream_read(stream, at, AREA_DATA, &n);
	if (io == IO_OK)
		receive(h2, at, n);
	else if (io != IO_WAIT)
		gone(h2);
}

static void on_drained(struct stream *stream)
{
	client_h2_dirty(h2_of(stream));
}

static void on_broken(struct stream *stream)
{
	gone(h2_of(stream));
}

static void on_connected(struct stream *stream, enum err err)
{
	(void)stream;
	(void)err; /* accepted connections are connected */
}

static const struct stream_events h2_stream_events = {
    .connected = on_connected,
    .readable = on_readable,
    .drained = on_drained,
    .broken = on_broken,
};

/* ---- birth ---- */

static struct h2_settings settings_of(const struct conf_listener *conf)
{
	return (struct h2_settings){
	    .limits = head_limits(conf),
	    .streams = conf->limits.h2_streams,
	    .window_bytes = conf->limits.h2_window_bytes,
#define FLOOD(name, per_second_, sentence) .per_second[H2_FLOOD_##name] = conf->limits.h2.name,
#include "weir/tbl/h2_floods.def"
#undef FLOOD
	};
}

static bool open_session(struct client *c)
{
	struct worker *w = c->worker;
	struct client_h2 *h2 = slab_get(&w->h2->conns);
	struct h2_settings settings = settings_of(c->conf);
	if (!h2)
		return false;
	memset(h2, 0, sizeof(*h2));
	h2->magic = CLIENT_H2_MAGIC;
	h2->conn = c;
	h2->worker = w;
	list_init(&h2->link);
	list_init(&h2->todo);
	h2->heads = (struct h2_budget){.limit = c->conf->limits.h2_head_bytes, .all = &w->h2_heads};
	if (h2_server_open(&h2->server, &w->h2->codec, &settings, &client_h2_events,
			   w->loop.now_us)) {
		slab_put(&w->h2->conns, h2);
		return false;
	}
	c->h2 = h2;
	client_set_state(c, CLIENT_HTTP2);
	c->timer.fn = on_timeout;
	c->stream.on = &h2_stream_events;
	counter_add(&w->counters.h2_connections, 1);
	client_h2_dirty(h2);
	if (w->draining || c->retired)
		client_h2_drain(c);
	return true;
}

void client_h2_start(struct client *c)
{
	if (!open_session(c))
		client_close(c);
}

bool client_h2_takes(struct client *c, char *ptr, size_t len)
{
	/* as much of the preface as makes the HTTP/1 parser give up; nghttp2 reads the rest */
	const struct view preface = VIEW("PRI * HTTP/2.0");
	if (c->conf->limits.h2_streams == 0 || c->n_requests > 0 ||
	    !view_starts(view_of(ptr, len), preface))
		return false;
	if (open_session(c))
		receive(c->h2, ptr, len);
	else
		client_close(c);
	return true;
}

void client_h2_drain(struct client *c)
{
	struct client_h2 *h2 = c->h2;
	if (h2->state != CLIENT_H2_OPEN)
		return;
	give_notice(h2);
	client_h2_dirty(h2);
}

uint32_t client_streams(const struct client *c)
{
	return c->h2->server.n_streams;
}

/* ---- the worker's part ---- */

struct client_h2_worker *client_h2_worker_new(struct worker *w, const struct worker_limits *limits)
{
	struct client_h2_worker *h2w = calloc(1, sizeof(*h2w));
	if (!h2w)
		return NULL;
	slab_init(&h2w->conns, sizeof(struct client_h2), limits->conns);
	slab_init(&h2w->streams, sizeof(struct client_stream), UINT32_MAX);
	list_init(&h2w->dirty);
	const struct h2_codec parts = {
	    .bufs = &w->pool.bufs,
	    .windows = &w->h2_windows,
	    .msg = &w->req,
	    .trailers = &h2w->trailers,
	};
	if (h2_codec_init(&h2w->codec, &parts) == ERR_OK)
		return h2w;
	client_h2_worker_free(h2w);
	return NULL;
}

void client_h2_watch(struct client_h2_worker *h2w, struct slab_watch *watch)
{
	slab_watch_add(watch, &h2w->conns, MEMORY_http2);
	slab_watch_add(watch, &h2w->streams, MEMORY_http2);
	h2_mem_watch(&h2w->codec.mem, watch, MEMORY_http2);
}

void client_h2_worker_free(struct client_h2_worker *h2w)
{
	if (!h2w)
		return;
	h2_codec_fini(&h2w->codec);
	slab_fini(&h2w->conns);
	slab_fini(&h2w->streams);
	free(h2w);
}
