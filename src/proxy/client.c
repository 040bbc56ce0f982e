/* SPDX-License-Identifier: MIT */
/* What all client connections have, whatever they speak: states, who is there, the end. */
#include <string.h>

#include "client_h1.h"
#include "handshake.h"
#include "reply.h"

#include "weir/base/check.h"
#include "weir/base/log.h"
#include "weir/proxy/per_client.h"

#define LINGER_US 2000000

const uint8_t client_moves[] = {
#define TO(state) (1u << CLIENT_##state)
    [CLIENT_PROXY] = TO(IDLE) | TO(CLOSED),
    [CLIENT_HANDSHAKE] = TO(IDLE) | TO(CLOSED),
    [CLIENT_IDLE] = TO(HANDSHAKE) | TO(HEAD) | TO(BUSY) | TO(HTTP2) | TO(LINGER) | TO(CLOSED),
    [CLIENT_HEAD] = TO(BUSY) | TO(HTTP2) | TO(LINGER) | TO(CLOSED),
    [CLIENT_BUSY] = TO(IDLE) | TO(LINGER) | TO(CLOSED),
    [CLIENT_HTTP2] = TO(LINGER) | TO(CLOSED),
    [CLIENT_LINGER] = TO(CLOSED),
    [CLIENT_CLOSED] = 0,
#undef TO
};

/* ---- while it is there ---- */

void client_pause_body(struct client *c)
{
	c->body_paused = true;
	stream_pause(&c->stream);
}

bool client_keep_in(struct client *c, const char *ptr, size_t len)
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

void client_watch_gone(struct client *c)
{
	if (c->watched)
		return;
	c->watched = true;
	hangups_watch(&c->worker->hangups, stream_fd(&c->stream), c);
}

void client_hung_up(void *client)
{
	struct client *c = client;
	check_magic(c, CLIENT_MAGIC);
	c->stream.on->broken(&c->stream);
}

static bool is_secure(const struct client *c)
{
	return c->stream.transport != &transport_plain;
}

void client_request(struct client *c, const struct message *msg, struct addr *client,
		    struct exchange_request *req)
{
	memset(req, 0, sizeof(*req));
	req->client = c;
	req->listener = c->conf;
	req->peer = client;
	req->who.peer_ip = view_of(c->ip, c->ip_len);
	req->who.scheme = is_secure(c) || c->tls_before ? VIEW("https") : VIEW("http");
	req->who.trusted = c->trusted;
	req->start_us = c->head_from_us;
	req->bytes_in = msg->head_len;
	if (is_secure(c)) {
		req->tls = tls_info(c->stream.transport, c->stream.transport_state);
		req->who.subject = req->tls->subject;
		req->who.fingerprint = req->tls->fingerprint;
	}
	addr_unpack(&c->peer, client);
	if (unlikely(c->trusted))
		identity_believe(&req->who, msg, &c->conf->trusted_proxies, client);
}

void client_set_peer(struct client *c, const struct addr *peer)
{
	const struct conf_cidrs *trusted = &c->conf->trusted_proxies;
	c->peer = addr_pack(peer);
	c->ip_len = (uint8_t)addr_format_ip(peer, c->ip);
	c->trusted = cidr_any(trusted->rows, trusted->n, peer);
}

bool client_count(struct client *c)
{
	uint32_t limit = c->conf->limits.connections_per_client;
	struct addr peer;
	addr_unpack(&c->peer, &peer);
	if (c->trusted || per_client_take(&peer, limit, &c->counted))
		return true;
	counter_add(&c->worker->counters.per_client_refused, 1);
	if (log_due(&c->listener->local[c->worker->pool.id].crowd_logged_us,
		    c->worker->loop.now_us))
		log_warn("listener " VIEW_FMT " (%s): client %s has limits.connections_per_client "
			 "(%u) open: more of it are closed",
			 VIEW_ARG(c->conf->name), c->listener->text, c->ip, limit);
	return false;
}

/* ---- requests that are no exchanges ---- */

void client_count_reject(struct client *c, enum reject why)
{
	struct worker_counters *counters = &c->worker->counters;
	counter_add(&counters->rejects[why], 1);
	counter_add(&counters->outcomes[OUTCOME_bad_request], 1);
}

void client_refused(struct client *c, const struct reply_page *page, size_t body_len)
{
	struct worker_counters *counters = &c->worker->counters;
	counter_add(page->status >= 500 ? &counters->responses_5xx : &counters->responses_4xx, 1);
	if (c->gl->gen->access_log)
		access_log_reject(c, page, body_len);
}

/* ---- the end ---- */

void client_close(struct client *c)
{
	struct worker *w = c->worker;
	check_magic(c, CLIENT_MAGIC);
	check(c->ex == NULL && c->state != CLIENT_CLOSED);
	if (c->state == CLIENT_HANDSHAKE)
		handshake_over(c);
	timer_clear(&c->timer);
	per_client_drop(c->counted);
	c->counted = 0;
	if (unlikely(c->watched))
		hangups_forget(&w->hangups, stream_fd(&c->stream));
	stream_close(&c->stream);
	buf_put(&w->pool.bufs, c->in);
	buf_put(&w->pool.bufs, c->proxy);
	c->in = c->proxy = NULL;
	list_del(&c->link);
	list_push_back(&w->closed, &c->link);
	atomic_fetch_sub_explicit(&c->listener->n_conns, 1, memory_order_release);
	atomic_store_explicit(&w->n_conns, --w->n_clients, memory_order_relaxed);
	counter_add(&w->counters.closed, 1);
	client_set_state(c, CLIENT_CLOSED);
	gen_put(c->gl);
}

void client_turn_end(struct worker *w)
{
	while (!list_is_empty(&w->closed)) {
		struct client *c = list_first(&w->closed, struct client, link);
		check_magic(c, CLIENT_MAGIC);
		list_del(&c->link);
		c->magic = 0;
		slab_put(&w->conns, c);
	}
}

/* ---- lingering ---- */

static struct client *client_of(struct stream *stream)
{
	struct client *c = container_of(stream, struct client, stream);
	check_magic(c, CLIENT_MAGIC);
	return c;
}

static void on_linger_readable(struct stream *stream)
{
	struct client *c = client_of(stream);
	size_t n;
	enum io io = stream_read(stream, c->worker->from_client.data, AREA_DATA, &n);
	if (io == IO_EOF || io == IO_ERR)
		client_close(c);
}

static void on_linger_broken(struct stream *stream)
{
	client_close(client_of(stream));
}

static const struct stream_events linger_events = {
    .readable = on_linger_readable,
    .drained = stream_shutdown,
    .broken = on_linger_broken,
};

static void on_linger_timeout(struct timer *timer)
{
	client_close(container_of(timer, struct client, timer));
}

void client_linger(struct client *c)
{
	c->stream.on = &linger_events;
	c->timer.fn = on_linger_timeout;
	client_set_state(c, CLIENT_LINGER);
	loop_timer(&c->worker->loop, &c->timer, LINGER_US);
	if (!stream_pending(&c->stream))
		stream_shutdown(&c->stream);
	stream_resume(&c->stream);
}
