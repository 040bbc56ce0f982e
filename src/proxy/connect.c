/* SPDX-License-Identifier: MIT */
/* From a lease to a connection: kept, shared or new, HTTP/1 or HTTP/2. */
#include "backend_h2.h"
#include "deadline.h"
#include "exchange.h"
#include "trace.h"

#include "weir/base/check.h"
#include "weir/base/clock.h"
#include "weir/base/log.h"

/* limits.connections of the pool is reached, by what is in use and by what is kept. */
static void log_full(struct attempt *at)
{
	const struct backend *b = at->lease.backend;
	if (!log_due(&at->local->limit_logged_us, at->ex->worker->loop.now_us))
		return;
	log_warn("backend " VIEW_FMT "/" VIEW_FMT " (" VIEW_FMT "): pools." VIEW_FMT
		 ".limits.connections (%u) is reached",
		 VIEW_ARG(b->pool_name), VIEW_ARG(b->name), VIEW_ARG(b->address_text),
		 VIEW_ARG(b->pool_name), at->ex->view->pool->conf->limits.connections);
}

/* A connect has begun, or could not. */
static void connecting(struct attempt *at, enum err err, bool connected)
{
	if (!exchange_keep_request(at->ex)) {
		attempt_over(at, OUTCOME_no_memory);
	} else if (err == ERR_OK && connected) {
		attempt_connected(at, ERR_OK);
	} else if (err == ERR_OK) {
		attempt_set_state(at, ATTEMPT_CONNECTING);
	} else if (unlikely(err == ERR_FDS) && !at->made_room && !at->ex->is_copy &&
		   at->ex->worker->make_room(at->ex->worker)) {
		at->made_room = true;
		attempt_connect(at, true);
	} else if (unlikely(err == ERR_BUSY || err == ERR_FULL)) {
		at->crowded = err == ERR_BUSY;
		if (err == ERR_FULL)
			log_full(at);
		attempt_over(at, OUTCOME_connect_limit);
	} else if (err == ERR_NOMEM || err == ERR_FDS) {
		attempt_over(at, OUTCOME_no_memory);
	} else {
		attempt_connect_failed(at, err == ERR_REFUSED ? OUTCOME_connect_refused
							      : OUTCOME_connect_failed);
	}
}

/* ---- HTTP/1, unless TLS chooses otherwise ---- */

static void on_connected(struct stream *stream, enum err err)
{
	struct upconn *up = container_of(stream, struct upconn, stream);
	struct attempt *at = up->owner;
	check_magic(up, UPCONN_MAGIC);
	check_magic(at->ex, EXCHANGE_MAGIC);
	stream->on = &backend_h1_events;
	if (!err && unlikely(up->tls_id) && view_eq(stream_alpn(stream), VIEW("h2"))) {
		if (at->ex->view->pool->conf->protocol == CONF_PROTOCOL_AUTO) {
			backend_h2_adopt(at);
			return;
		}
		err = ERR_HANDSHAKE;
	}
	attempt_connected(at, err);
}

/* Nothing else comes before the connection is there. */
static const struct stream_events connect_events = {.connected = on_connected};

/* A kept connection that began with this PROXY header, if there is one. */
static bool reuse_h1(struct attempt *at, uint64_t intro_key)
{
	struct exchange *ex = at->ex;
	at->up = upconn_take(ex->view, &ex->worker->pool, at->lease.backend, intro_key,
			     &backend_h1_events, at);
	if (!at->up)
		return false;
	at->ops = &backend_h1_ops;
	at->reused = true;
	counter_add(&at->local->counters.reuses, 1);
	backend_h1_send(at);
	return true;
}

static void connect_h1(struct attempt *at, bool may_reuse)
{
	struct exchange *ex = at->ex;
	struct worker *w = ex->worker;
	struct backend *b = at->lease.backend;
	const struct conf_pool *conf = ex->view->pool->conf;
	struct upconn_intro intro;
	bool connected = false;
	intro.key = 0;
	intro.only_http1 = conf->protocol != CONF_PROTOCOL_HTTP1 && ex->wants_upgrade;
	if (unlikely(conf->send_proxy)) {
		send_proxy_intro(ex, &intro);
		if (may_reuse && reuse_h1(at, intro.key))
			return;
	}
	at->reused = false;
	at->connect_from_us = clock_us();
	enum err err =
	    upconn_connect(&w->pool, b, ex->view, &intro, &connect_events, at, &at->up, &connected);
	if (connected && at->up)
		at->up->stream.on = &backend_h1_events;
	at->ops = at->up ? &backend_h1_ops : NULL;
	connecting(at, err, connected);
}

/* ---- HTTP/2 ---- */

/* A stream of a shared connection, which may have to be opened first. */
static void connect_h2(struct attempt *at, bool may_reuse)
{
	bool connected = false;
	enum err err = backend_h2_take(at, may_reuse, &connected);
	at->ops = err ? NULL : &backend_h2_ops;
	if (err == ERR_OK && connected && at->reused) {
		counter_add(&at->local->counters.reuses, 1);
		at->ops->send(at);
		return;
	}
	at->connect_from_us = clock_us();
	connecting(at, err, connected);
}

/* `protocol: auto` is what the backend chose the last time; HTTP/2 until that is known. */
static bool wants_h2(const struct attempt *at)
{
	const struct exchange *ex = at->ex;
	const struct backend_local *local = at->local;
	if (ex->view->pool->conf->protocol == CONF_PROTOCOL_H2)
		return true;
	if (!ex->view->tls || local->speaks == BACKEND_SPEAKS_HTTP1)
		return false;
	return !ex->wants_upgrade;
}

/* ---- either ---- */

void attempt_connect(struct attempt *at, bool may_reuse)
{
	struct exchange *ex = at->ex;
	if (likely(at == ex->at))
		ex->backend = at->lease.backend;
	at->local = at->lease.backend->local[ex->worker->pool.id];
	if (unlikely(ex->client_deadline) && !deadline_stamp(ex)) {
		attempt_over(at, OUTCOME_deadline_passed);
		return;
	}
	if (unlikely(ex->trace != NULL))
		trace_attempt(at);
	at->unsent = true;
	at->crowded = false;
	const struct conf_pool *conf = ex->view->pool->conf;
	if (unlikely(conf->protocol != CONF_PROTOCOL_HTTP1) && wants_h2(at))
		connect_h2(at, may_reuse);
	else if (unlikely(conf->send_proxy || !may_reuse) || !reuse_h1(at, 0))
		connect_h1(at, may_reuse);
}
