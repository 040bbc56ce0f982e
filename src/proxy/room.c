/* SPDX-License-Identifier: MIT */
/* Descriptors for new clients, taken from those that have been idle for longest. */
#include "room.h"

#include <fcntl.h>
#include <unistd.h>

#include "client.h"

#include "weir/net/socket.h"

/* Closed at a time: one look at all connections then serves many newcomers. */
#define ROOM_PART 16
#define ROOM_LEAST 4
/* The first request of somebody who has come just now may be on its way. */
#define FRESH_US 250000
/* Ages by powers of two of a millisecond. */
#define N_AGES 48

/* The lowest free descriptor number says how many are in use. */
bool room_is_there(const struct worker *w)
{
	int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
	socket_close(fd);
	return fd >= 0 && fd < w->fd_limit;
}

static bool is_idle(const struct client *c, uint64_t now)
{
	uint64_t since = c->head_from_us > c->opened_us ? c->head_from_us : c->opened_us;
	if (now < since + FRESH_US)
		return false;
	if (c->state == CLIENT_HTTP2)
		return client_streams(c) == 0;
	if (c->state == CLIENT_HANDSHAKE)
		return c->handshake == HANDSHAKE_SILENT;
	return c->state == CLIENT_IDLE && !c->in && !stream_pending(&c->stream);
}

static unsigned age_of(const struct client *c, uint64_t now)
{
	uint64_t since = c->head_from_us > c->opened_us ? c->head_from_us : c->opened_us;
	return 63 - (unsigned)__builtin_clzll((now - since) / 1000 | 1);
}

/* From which age on so many are found that room is made of them. */
static unsigned find_age(const struct worker *w, uint64_t now, unsigned *want)
{
	unsigned ages[N_AGES + 1] = {0}, n = 0, age = N_AGES;
	list_each (it, &w->all_conns) {
		const struct client *c = list_entry(it, struct client, link);
		if (!is_idle(c, now))
			continue;
		unsigned at = age_of(c, now);
		ages[at < N_AGES ? at : N_AGES]++;
		n++;
	}
	*want = n / ROOM_PART > ROOM_LEAST ? n / ROOM_PART : n < ROOM_LEAST ? n : ROOM_LEAST;
	for (n = ages[age]; n < *want && age > 0;)
		n += ages[--age];
	return age;
}

static unsigned close_idle(struct worker *w)
{
	uint64_t now = w->loop.now_us;
	unsigned want, n = 0, age = find_age(w, now, &want);
	list_each_safe (it, next, &w->all_conns) {
		struct client *c = list_entry(it, struct client, link);
		if (n == want)
			break;
		if (!is_idle(c, now) || age_of(c, now) < age)
			continue;
		n++;
		if (c->h2)
			client_drain(c); /* told by GOAWAY; closed soon */
		else
			client_abort(c);
	}
	counter_add(&w->counters.idle_closed, n);
	return n;
}

static void on_asked(struct loop *loop, struct mail *mail)
{
	struct worker *w = container_of(mail, struct worker, room_mail);
	(void)loop;
	atomic_store(&w->room_asked, false);
	if (!room_is_there(w))
		close_idle(w);
}

unsigned room_make(struct worker *w)
{
	unsigned n = close_idle(w);
	for (unsigned i = 0; n == 0 && i < w->n_peers; i++) {
		struct worker *peer = w->peers[i];
		if (peer != w && !atomic_exchange(&peer->room_asked, true))
			loop_post(&peer->loop, &peer->room_mail);
	}
	return n;
}

void room_init(struct worker *w)
{
	w->room_mail.fn = on_asked;
	w->make_room = room_make;
}
