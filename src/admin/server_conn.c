/* SPDX-License-Identifier: MIT */
/*
 * One connection of the API: bytes into its session, answers out of it.
 *
 * What a connection waits for, and how long:
 *
 *   IDLE    a request                30 s        (10 s for the first)
 *   HEAD    the rest of a head       10 s in all
 *   BODY    the rest of a body       30 s in all
 *   ANSWER  the answer of a handler  30 s
 *   SEND    the client to read       30 s without a byte taken
 *   LINGER  the client to close       2 s, so that it can read the last answer
 *   STREAM  the next second           a listener of GET /v1/stream may stay
 */
#include "server_conn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "weir/base/check.h"
#include "weir/base/list.h"
#include "weir/net/socket.h"

#define READ_BYTES ((size_t)16 * 1024)
#define LINGER_BYTES ((size_t)1 << 20)
#define STREAM_US 1000000

static const uint64_t wait_us[] = {
    [WAIT_IDLE] = 30000000,   [WAIT_HEAD] = 10000000, [WAIT_BODY] = 30000000,
    [WAIT_ANSWER] = 30000000, [WAIT_SEND] = 30000000, [WAIT_LINGER] = 2000000,
};

void admin_conn_take_spare(struct admin *admin)
{
	if (admin->spare_fd < 0)
		admin->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void admin_conn_close(struct conn *c)
{
	struct admin *admin = c->admin;
	ev_io_stop(admin->loop->ev, &c->read_io);
	ev_io_stop(admin->loop->ev, &c->write_io);
	timer_del(&c->timer);
	deferred_clear(&c->again);
	place_leave(&c->place);
	session_fini(&c->session);
	socket_close(c->fd);
	admin_conn_take_spare(admin);
	c->magic = 0;
	free(c);
}

static void watch(struct conn *c, bool reads, bool writes)
{
	struct ev_loop *ev = c->admin->loop->ev;
	if (reads && c->admin->phase != ADMIN_PAUSED)
		ev_io_start(ev, &c->read_io);
	else
		ev_io_stop(ev, &c->read_io);
	if (writes)
		ev_io_start(ev, &c->write_io);
	else
		ev_io_stop(ev, &c->write_io);
}

/* The deadline stays where it was while the same thing of the same request is waited for. */
static void wait_for(struct conn *c, enum conn_wait wait, bool progress)
{
	if (wait == c->place.wait && c->wait_request == c->session.n_requests && !progress &&
	    timer_is_set(&c->timer))
		return;
	place_waits(&c->place, wait, c->admin->loop->now_us);
	c->wait_request = c->session.n_requests;
	bool first = wait == WAIT_IDLE && c->session.n_requests == 0;
	loop_timer(c->admin->loop, &c->timer, wait_us[first ? WAIT_HEAD : wait]);
}

/* False when the connection is broken. */
static bool send_some(struct conn *c, bool *progress)
{
	struct session *s = &c->session;
	*progress = false;
	while (session_out(s).len) {
		struct view out = session_out(s);
		ssize_t n = send(c->fd, out.ptr, out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		session_sent(s, (size_t)n);
		*progress = true;
	}
	return true;
}

static enum conn_wait wait_of(const struct session *s)
{
	switch (s->state) {
	case SESSION_BODY:
		return WAIT_BODY;
	case SESSION_WAITING:
	case SESSION_KNOWN:
		return WAIT_ANSWER;
	case SESSION_CLOSING:
		return WAIT_LINGER;
	case SESSION_STREAM:
		return WAIT_STREAM;
	case SESSION_HEAD:
		break;
	}
	return s->in.len ? WAIT_HEAD : WAIT_IDLE;
}

static void wait_for_tick(struct conn *c)
{
	struct admin *admin = c->admin;
	place_waits(&c->place, WAIT_STREAM, admin->loop->now_us);
	timer_clear(&c->timer);
	if (!timer_is_set(&admin->stream_timer))
		loop_timer(admin->loop, &admin->stream_timer, STREAM_US);
}

/* What was kept for others is not kept for long. */
static void watch_cache(struct admin *admin)
{
	if (admin->api.cache.n && !timer_is_set(&admin->cache_timer))
		loop_timer(admin->loop, &admin->cache_timer, CACHE_FRESH_US);
}

void admin_conn_on_cache_timer(struct timer *timer)
{
	cache_clear(&container_of(timer, struct admin, cache_timer)->api.cache);
}

/* As far as it goes in this turn. */
void admin_conn_run(struct conn *c)
{
	struct session *s = &c->session;
	bool progress;
	uint64_t n_before = s->n_requests;
	bool more = c->admin->phase == ADMIN_SERVES && session_run(s);
	if (s->n_requests != n_before)
		c->admin->answered_in = c->admin->loop->n_turns;
	watch_cache(c->admin);
	if (!send_some(c, &progress)) {
		admin_conn_close(c);
		return;
	}
	if (session_out(s).len) {
		watch(c, false, true);
		wait_for(c, WAIT_SEND, progress);
		return;
	}
	enum conn_wait wait = wait_of(s);
	if (wait == WAIT_LINGER && c->place.wait != WAIT_LINGER)
		shutdown(c->fd, SHUT_WR);
	if (wait == WAIT_STREAM) {
		watch(c, true, false);
		wait_for_tick(c);
		return;
	}
	if (more)
		loop_next_turn(c->admin->loop, &c->again);
	watch(c, !more && wait != WAIT_ANSWER, false);
	wait_for(c, wait, false);
}

static void on_again(struct deferred *again)
{
	admin_conn_run(container_of(again, struct conn, again));
}

/*
 * Bytes have come: at once when nobody has got an answer in this turn.  Who has asked stays
 * until it has its own.  In a place that is for probes there is no waiting: others would
 * hold it meanwhile.
 */
static void conn_run_soon(struct conn *c)
{
	struct admin *admin = c->admin;
	if (admin->answered_in != admin->loop->n_turns || c->place.only_probes) {
		admin_conn_run(c);
		return;
	}
	wait_for(c, WAIT_ANSWER, false);
	watch(c, false, false);
	loop_next_turn(admin->loop, &c->again);
}

static void on_ready(struct session *session)
{
	admin_conn_run(container_of(session, struct conn, session));
}

static void read_some(struct conn *c)
{
	char room[READ_BYTES];
	ssize_t n = recv(c->fd, room, sizeof(room), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		admin_conn_close(c);
		return;
	}
	if (c->place.wait == WAIT_LINGER || c->session.state == SESSION_STREAM) {
		c->lingered += (size_t)n;
		if (c->lingered > LINGER_BYTES)
			admin_conn_close(c);
		return;
	}
	session_put(&c->session, view_of(room, (size_t)n));
	conn_run_soon(c);
}

static void on_read(struct ev_loop *ev, ev_io *w, int revents)
{
	struct conn *c = w->data;
	(void)ev;
	(void)revents;
	check_magic(c, CONN_MAGIC);
	read_some(c);
}

void admin_conn_on_stream_timer(struct timer *timer)
{
	struct admin *admin = container_of(timer, struct admin, stream_timer);
	struct str text = STR_INIT;
	if (admin->api.n_streams == 0)
		return;
	stream_put(&admin->api, &text);
	list_each_safe (it, tmp, &admin->places.all) {
		struct conn *c = list_entry(it, struct conn, place.link);
		if (text.overflow || c->session.state != SESSION_STREAM)
			continue;
		session_look(&c->session, admin->loop->now_us);
		if (c->session.state == SESSION_STREAM)
			session_push(&c->session, str_as_view(&text));
		admin_conn_run(c);
	}
	str_fini(&text);
	loop_timer(admin->loop, &admin->stream_timer, STREAM_US);
}

static void on_write(struct ev_loop *ev, ev_io *w, int revents)
{
	struct conn *c = w->data;
	(void)ev;
	(void)revents;
	check_magic(c, CONN_MAGIC);
	admin_conn_run(c);
}

/* While nobody is read and answered, that is not the client's fault. */
static bool wait_is_ours(enum conn_wait wait)
{
	return wait == WAIT_IDLE || wait == WAIT_HEAD || wait == WAIT_BODY || wait == WAIT_ANSWER;
}

static void on_timeout(struct timer *timer)
{
	struct conn *c = container_of(timer, struct conn, timer);
	check_magic(c, CONN_MAGIC);
	if (c->admin->phase == ADMIN_PAUSED && wait_is_ours(c->place.wait)) {
		loop_timer(c->admin->loop, &c->timer, wait_us[c->place.wait]);
	} else if (c->place.wait == WAIT_HEAD || c->place.wait == WAIT_BODY) {
		session_time_out(&c->session);
		admin_conn_run(c);
	} else {
		admin_conn_close(c);
	}
}

void admin_conn_new(struct admin *admin, int fd, const struct place *place)
{
	struct conn *c = calloc(1, sizeof(*c));
	if (!c) {
		socket_close(fd);
		return;
	}
	c->magic = CONN_MAGIC;
	c->admin = admin;
	c->fd = fd;
	c->place = *place;
	c->timer.fn = on_timeout;
	deferred_init(&c->again, on_again);
	session_init(&c->session, &admin->api, !place->remote);
	c->session.ready = on_ready;
	c->session.entry.peer = place->address;
	c->session.only_probes = place->only_probes;
	ev_io_init(&c->read_io, on_read, fd, EV_READ);
	ev_io_init(&c->write_io, on_write, fd, EV_WRITE);
	c->read_io.data = c->write_io.data = c;
	places_take(&admin->places, &c->place);
	watch(c, true, false);
	wait_for(c, WAIT_IDLE, false);
	if (admin->phase == ADMIN_SERVES)
		read_some(c); /* what it asks is known before somebody else wants its place */
}

bool admin_conn_has_asked(struct conn *c)
{
	char byte;
	if (c->place.wait != WAIT_IDLE || recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0)
		return false;
	wait_for(c, WAIT_ANSWER, false);
	return true;
}

void admin_conn_leave(struct conn *c)
{
	struct session *s = &c->session;
	char room[READ_BYTES];
	ssize_t n = 0;
	/* what has come meanwhile would make a reset of the end, which may drop the answer */
	if (s->state == SESSION_HEAD || s->state == SESSION_BODY)
		n = recv(c->fd, room, sizeof(room), MSG_DONTWAIT);
	if (n > 0)
		session_put(s, view_of(room, (size_t)n));
	if (session_leave(s))
		admin_conn_run(c);
	else
		admin_conn_close(c);
}
