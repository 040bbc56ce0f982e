/* SPDX-License-Identifier: MIT */
/*
 * TLS handshakes of clients, of which limits.handshakes are in progress at once.
 *
 *   SILENT --first bytes--> SHAKING --> over: the connection is IDLE, or closed
 *      |                       ^
 *      +--no place--> WAITING -+  unread
 *
 * Who says nothing has no place and costs no more than its descriptor, so that connections
 * that never begin hold up nobody.  One address has three quarters of the places at most;
 * what it asks for beyond that waits behind everybody else.  Where somebody waits, whoever
 * has been shaking longest, and for SLOW_US at least, makes room.
 */
#include "handshake.h"

#include <string.h>

#define SLOW_US 500000

static struct listener_local *place_of(const struct client *c)
{
	return &c->listener->local[c->worker->pool.id];
}

struct tls_server *handshake_server(const struct client *c)
{
	const struct gen_local *gl = c->gl;
	return gl->servers ? gl->servers[c->conf - gl->gen->conf->listeners] : NULL;
}

/* Of IPv6 the network: whoever has one address there has all. */
static bool same_address(const struct client *a, const struct client *b)
{
	size_t len = a->peer.family == AF_INET6 ? 8 : 4;
	return a->peer.family == b->peer.family && memcmp(a->peer.ip, b->peer.ip, len) == 0;
}

static bool is_greedy(const struct listener_local *place, const struct client *c)
{
	uint32_t limit = c->conf->limits.handshakes, most = limit - limit / 4, n = 0;
	if (place->n_handshakes < most)
		return false;
	list_each (it, &place->shaking)
		n += same_address(list_entry(it, struct client, shake), c);
	return n >= most;
}

static bool has_place(const struct listener_local *place, const struct client *c)
{
	return place->n_handshakes < c->conf->limits.handshakes && !is_greedy(place, c);
}

/* Its deadline is now: whoever has the timer closes it. */
static void leave_now(struct client *c)
{
	loop_timer(&c->worker->loop, &c->timer, 0);
}

static void begin(struct client *c)
{
	struct tls_server *server = handshake_server(c);
	struct listener_local *place = place_of(c);
	void *state = server ? tls_accept(server) : NULL;
	if (!state) {
		leave_now(c);
		return;
	}
	c->handshake = HANDSHAKE_SHAKING;
	c->head_from_us = c->worker->loop.now_us;
	list_push_back(&place->shaking, &c->shake);
	place->n_handshakes++;
	if (c->stream.paused)
		stream_resume(&c->stream);
	stream_secure(&c->stream, &transport_tls_server, state);
}

/* ---- those who wait ---- */

static struct client *next_of(const struct listener_local *place)
{
	if (!list_is_empty(&place->waiting))
		return list_first(&place->waiting, struct client, shake);
	return list_is_empty(&place->greedy) ? NULL
					     : list_first(&place->greedy, struct client, shake);
}

static void on_slow(struct timer *timer);

/* The longest in progress leave as long as somebody waits who may have their places. */
static void make_room(struct listener_local *place)
{
	while (!list_is_empty(&place->waiting) && !list_is_empty(&place->shaking)) {
		struct client *first = list_first(&place->shaking, struct client, shake);
		struct loop *loop = &first->worker->loop;
		uint64_t until = first->head_from_us + SLOW_US;
		if (loop->now_us < until) {
			place->slow.fn = on_slow;
			timer_set(&loop->timers, &place->slow, until);
			return;
		}
		counter_add(&first->worker->counters.tls_evicted, 1);
		leave_now(first);
		handshake_over(first);
	}
}

static void on_slow(struct timer *timer)
{
	make_room(container_of(timer, struct listener_local, slow));
}

static void wait_for_place(struct client *c)
{
	struct listener_local *place = place_of(c);
	bool greedy = is_greedy(place, c);
	c->handshake = HANDSHAKE_WAITING;
	counter_add(&c->worker->counters.tls_waited, 1);
	list_push_back(greedy ? &place->greedy : &place->waiting, &c->shake);
	stream_pause(&c->stream);
	make_room(place);
}

static void serve_next(struct listener_local *place)
{
	struct client *next = next_of(place);
	if (next && has_place(place, next)) {
		list_del(&next->shake);
		begin(next);
	}
	if (list_is_empty(&place->waiting))
		timer_del(&place->slow);
}

/* ---- what happens to a client ---- */

void handshake_start(struct client *c)
{
	c->handshake = HANDSHAKE_SILENT;
	list_init(&c->shake);
	loop_timer(&c->worker->loop, &c->timer, c->conf->timeouts.handshake_us);
}

void handshake_first_bytes(struct client *c)
{
	if (has_place(place_of(c), c))
		begin(c);
	else
		wait_for_place(c);
}

void handshake_over(struct client *c)
{
	struct listener_local *place = place_of(c);
	bool shook = c->handshake == HANDSHAKE_SHAKING;
	list_del(&c->shake);
	c->handshake = HANDSHAKE_SILENT;
	place->n_handshakes -= shook;
	serve_next(place);
}
