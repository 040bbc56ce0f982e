/* SPDX-License-Identifier: MIT */
/* A client's connection before its first request: accepted, its handshake, what takes too long; and
 * the generations that it lives through. */
#include "client_h1.h"
#include "client_h2.h"
#include "handshake.h"

#include "weir/base/clock.h"
#include "weir/base/log.h"

/* Accepted connections are connected: this is the end of the handshake. */
static void on_connected(struct stream *stream, enum err err)
{
	struct client *c = container_of(stream, struct client, stream);
	struct worker_counters *counters = &c->worker->counters;
	check_magic(c, CLIENT_MAGIC);
	if (err) {
		counter_add(&counters->tls_failed, 1);
		log_debug("%s: TLS handshake: %s", c->ip, stream_why(stream));
		client_misled_to_tls(c);
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
    .readable = client_readable,
    .drained = client_drained,
    .broken = client_broken,
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
		client_head_late(c);
		return;
	}
	client_close(c);
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
	client_set_peer(c, peer);
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
		client_start(c);
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
		client_set_peer(c, &peer);
		c->retired = false;
		gen_put(old); /* a running exchange has a count of its own */
		return;
	}
	c->retired = true;
	if (c->h2)
		client_h2_drain(c);
}
