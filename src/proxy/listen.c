/* SPDX-License-Identifier: MIT */
/* Accepting connections, evenly over the workers, and without descriptors. */
#include "listen.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "room.h"

#include "weir/base/check.h"
#include "weir/base/log.h"
#include "weir/net/socket.h"

/* Connections accepted in one event before other things have their turn. */
#define ACCEPTS_MAX 64
/* How soon to look for descriptors again when they ran out. */
#define FD_PAUSE_US 100000

struct accept_watch {
	struct list link; /* worker->accepts */
	ev_io io;
	struct worker *worker;
	struct listener *listener;
	const struct gen_listener *conf; /* of the current generation */
	unsigned batch;                  /* how many the last event was to take */
	uint64_t full_logged_us;
	uint64_t filled_in; /* the last turn in which there were as many */
};

struct handover {
	struct mail mail;
	struct worker *worker;
	struct listener *listener;
	struct addr peer;
	int fd;
};

static const struct gen_listener *find_listener(const struct generation *gen,
						const struct listener *l)
{
	for (uint32_t i = 0; i < gen->n_listeners; i++)
		if (gen->listeners[i].listener == l)
			return &gen->listeners[i];
	return NULL;
}

static void refuse(struct listener *l, unsigned worker_id, int fd)
{
	counter_add(&l->local[worker_id].refused, 1);
	atomic_fetch_sub_explicit(&l->n_conns, 1, memory_order_release);
	socket_close(fd);
}

static void on_handover(struct loop *loop, struct mail *mail)
{
	struct handover *h = container_of(mail, struct handover, mail);
	struct worker *w = h->worker;
	const struct gen_listener *conf = w->gen ? find_listener(w->gen->gen, h->listener) : NULL;
	(void)loop;
	struct client *c = conf ? client_open(w, h->fd, &h->peer, conf) : NULL;
	if (c && w->draining)
		client_drain(c);
	if (!conf) /* a reload took the listener away meanwhile, or weir is stopping */
		refuse(h->listener, w->pool.id, h->fd);
	free(h);
}

/* Another worker with clearly fewer connections, or NULL. */
static struct worker *less_loaded(struct worker *w)
{
	if (w->n_peers < 2)
		return NULL;
	uint32_t other = rng_below(&w->pool.rng, w->n_peers - 1);
	struct worker *peer = w->peers[other < w->pool.id ? other : other + 1];
	if (!atomic_load_explicit(&peer->takes_handovers, memory_order_relaxed))
		return NULL;
	uint32_t mine = w->conns.n_live;
	uint32_t theirs = atomic_load_explicit(&peer->n_conns, memory_order_relaxed);
	return mine > theirs + theirs / 16 ? peer : NULL;
}

static bool hand_over(struct worker *to, struct listener *l, int fd, const struct addr *peer)
{
	struct handover *h = malloc(sizeof(*h));
	if (!h)
		return false;
	*h = (struct handover){
	    .mail.fn = on_handover, .worker = to, .listener = l, .peer = *peer, .fd = fd};
	/* counted at once, so that a burst does not pile up on one worker */
	atomic_fetch_add_explicit(&to->n_conns, 1, memory_order_relaxed);
	loop_post(&to->loop, &h->mail);
	return true;
}

static void log_full(struct accept_watch *a)
{
	if (!log_due(&a->full_logged_us, a->worker->loop.now_us))
		return;
	log_warn("listener " VIEW_FMT " (%s): limits.connections (%u) is reached: new connections "
		 "are refused",
		 VIEW_ARG(a->conf->conf->name), a->listener->text,
		 a->conf->conf->limits.connections);
}

static void accepted(struct accept_watch *a, int fd, const struct addr *peer, bool leaving)
{
	struct worker *w = a->worker;
	struct listener *l = a->listener;
	uint32_t limit = a->conf->conf->limits.connections;
	uint32_t before = atomic_fetch_add_explicit(&l->n_conns, 1, memory_order_relaxed);
	counter_add(&w->counters.accepted, 1);
	if (limit && before >= limit) {
		log_full(a);
		refuse(l, w->pool.id, fd);
		return;
	}
	struct worker *other = leaving ? NULL : less_loaded(w);
	if (other && hand_over(other, l, fd, peer))
		counter_add(&w->counters.handed_over, 1);
	else
		client_open(w, fd, peer, a->conf);
}

/* ---- when accepting fails ---- */

static void watch_all(struct worker *w, bool on)
{
	list_each (it, &w->accepts) {
		struct accept_watch *a = list_entry(it, struct accept_watch, link);
		if (on)
			ev_io_start(w->loop.ev, &a->io);
		else
			ev_io_stop(w->loop.ev, &a->io);
	}
}

static void accept_again(struct worker *w)
{
	w->accept_blocked_us = 0;
	timer_clear(&w->accept_timer);
	watch_all(w, true);
}

static void on_accept_timer(struct timer *timer)
{
	struct worker *w = container_of(timer, struct worker, accept_timer);
	if (room_is_there(w) || (room_make(w) && room_is_there(w)))
		accept_again(w);
	else
		loop_timer(&w->loop, timer, FD_PAUSE_US);
}

void listen_fd_freed(struct worker *w)
{
	if (room_is_there(w))
		accept_again(w);
}

/* Accepting is tried again in a moment: a listening socket that stays readable would
 * keep the loop busy with nothing. */
static void pause_accepting(struct worker *w)
{
	w->accept_blocked_us = w->loop.now_us;
	w->accept_timer.fn = on_accept_timer;
	watch_all(w, false);
	loop_timer(&w->loop, &w->accept_timer, FD_PAUSE_US);
}

/* Idle clients make room; while there are none, accepting waits. */
static void out_of_fds(struct worker *w)
{
	unsigned n = room_make(w);
	if (log_due(&w->accept_logged_us, w->loop.now_us))
		log_warn("worker %u: out of file descriptors; %s (raise LimitNOFILE or lower "
			 "limits.connections)",
			 w->pool.id,
			 n ? "idle client connections are closed to make room"
			   : "accepting goes on as soon as some are free");
	if (n && room_is_there(w))
		return;
	counter_add(&w->counters.fd_exhausted, 1);
	pause_accepting(w);
}

static void cannot_accept(struct worker *w, const char *why)
{
	if (log_due(&w->accept_logged_us, w->loop.now_us))
		log_warn("worker %u: accepting fails: %s; tried again ten times a second",
			 w->pool.id, why);
	counter_add(&w->counters.accept_errors, 1);
	pause_accepting(w);
}

/* False when there is nothing more to accept now. */
static bool accept_one(struct accept_watch *a, bool leaving)
{
	struct addr peer;
	int fd;
	enum err err = socket_accept(a->io.fd, &peer, &fd);
	if (err == ERR_FDS)
		out_of_fds(a->worker);
	else if (err)
		cannot_accept(a->worker, strerror(errno));
	if (err || fd < 0)
		return false;
	bool last = fd >= a->worker->fd_limit;
	if (last && !leaving) /* the rest is for connections to backends */
		out_of_fds(a->worker);
	accepted(a, fd, &peer, leaving);
	return leaving || !last;
}

/*
 * One connection, since most come alone, and to ask for another costs a system call.  Those
 * who come in a burst make the socket readable in the very next turn: then two, four, ...
 */
static void on_acceptable(struct ev_loop *ev, ev_io *io, int revents)
{
	struct accept_watch *a = container_of(io, struct accept_watch, io);
	uint64_t turn = a->worker->loop.n_turns;
	unsigned i = 0;
	(void)ev;
	(void)revents;
	bool burst = a->filled_in + 1 == turn;
	a->batch = !burst ? 1 : a->batch < ACCEPTS_MAX ? 2 * a->batch : ACCEPTS_MAX;
	while (i < a->batch && accept_one(a, false))
		i++;
	if (i == a->batch)
		a->filled_in = turn;
}

/* ---- following generations ---- */

static void add_watch(struct worker *w, const struct gen_listener *conf)
{
	int fd = atomic_load(&conf->listener->fds[w->pool.id]);
	if (fd < 0)
		return;
	struct accept_watch *a = calloc(1, sizeof(*a));
	check(a != NULL);
	a->worker = w;
	a->listener = conf->listener;
	a->conf = conf;
	list_push_back(&w->accepts, &a->link);
	ev_io_init(&a->io, on_acceptable, fd, EV_READ);
	ev_set_priority(&a->io, -1); /* what is begun comes before what is new */
	if (!w->accept_blocked_us)
		ev_io_start(w->loop.ev, &a->io);
}

static void drop_watch(struct worker *w, struct accept_watch *a)
{
	/* closing a SO_REUSEPORT socket resets what waits in its queue */
	while (accept_one(a, true))
		;
	ev_io_stop(w->loop.ev, &a->io);
	socket_close(atomic_exchange(&a->listener->fds[w->pool.id], -1));
	list_del(&a->link);
	free(a);
}

static struct accept_watch *find_watch(struct worker *w, const struct listener *l)
{
	list_each (it, &w->accepts) {
		struct accept_watch *a = list_entry(it, struct accept_watch, link);
		if (a->listener == l)
			return a;
	}
	return NULL;
}

void listen_leave(struct worker *w, const struct generation *next)
{
	list_each_safe (it, tmp, &w->accepts) {
		struct accept_watch *a = list_entry(it, struct accept_watch, link);
		if (!find_listener(next, a->listener))
			drop_watch(w, a);
	}
}

void listen_adopt(struct worker *w)
{
	const struct generation *gen = w->gen->gen;
	list_each (it, &w->accepts) {
		struct accept_watch *a = list_entry(it, struct accept_watch, link);
		a->conf = find_listener(gen, a->listener);
	}
	for (uint32_t i = 0; i < gen->n_listeners; i++)
		if (!find_watch(w, gen->listeners[i].listener))
			add_watch(w, &gen->listeners[i]);
}

void listen_stop(struct worker *w)
{
	list_each_safe (it, tmp, &w->accepts)
		drop_watch(w, list_entry(it, struct accept_watch, link));
}
