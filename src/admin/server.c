/* SPDX-License-Identifier: MIT */
/*
 * The sockets of the API: accepts, reads into sessions, sends what they say.
 * Numbers, sizes and times are bounded, since status.bind may face anybody (places.c),
 * and of the control thread's time readers get a share: one answer a turn of the loop
 * at once, what else was asked by then in the turns that follow.
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
#include "weir/admin/admin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "listen.h"
#include "places.h"
#include "session.h"

#include "weir/base/check.h"
#include "weir/base/list.h"
#include "weir/fetch/fetch.h"
#include "weir/net/socket.h"

#define ACCEPTS_MAX 16
#define READ_BYTES ((size_t)16 * 1024)
#define LINGER_BYTES ((size_t)1 << 20)
#define RETRY_ACCEPT_US 200000
#define STREAM_US 1000000

#define CONN_MAGIC 0x41444d43

static const uint64_t wait_us[] = {
    [WAIT_IDLE] = 30000000,   [WAIT_HEAD] = 10000000, [WAIT_BODY] = 30000000,
    [WAIT_ANSWER] = 30000000, [WAIT_SEND] = 30000000, [WAIT_LINGER] = 2000000,
};

struct admin {
	struct loop *loop;
	struct api api;
	struct fetcher fetcher; /* of the API */
	struct listening now;
	struct listening next; /* between admin_prepare and commit or cancel */
	bool prepared, paused;
	ev_io accept_io[N_ENDS];
	struct timer accept_timer; /* out of descriptors: when to try again */
	struct timer stream_timer; /* set while somebody listens to GET /v1/stream */
	int spare_fd;              /* given up for one client when descriptors run out */
	struct timer cache_timer;  /* set while there are answers to be forgotten */
	uint64_t answered_in;      /* the last turn in which there was an answer */
	struct places places;
};

struct conn {
	uint32_t magic;
	struct admin *admin;
	int fd;
	struct place place;
	uint64_t wait_request; /* n_requests when place.wait began */
	struct timer timer;
	struct deferred again; /* it has more to ask than this turn has answers */
	ev_io read_io, write_io;
	struct session session;
	size_t lingered;
};

/* ---- one connection ---- */

static void take_spare(struct admin *admin)
{
	if (admin->spare_fd < 0)
		admin->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void conn_close(struct conn *c)
{
	struct admin *admin = c->admin;
	ev_io_stop(admin->loop->ev, &c->read_io);
	ev_io_stop(admin->loop->ev, &c->write_io);
	timer_del(&c->timer);
	deferred_clear(&c->again);
	place_leave(&c->place);
	session_fini(&c->session);
	socket_close(c->fd);
	take_spare(admin);
	c->magic = 0;
	free(c);
}

static void watch(struct conn *c, bool reads, bool writes)
{
	struct ev_loop *ev = c->admin->loop->ev;
	if (reads && !c->admin->paused)
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

static void on_cache_timer(struct timer *timer)
{
	cache_clear(&container_of(timer, struct admin, cache_timer)->api.cache);
}

/* As far as it goes in this turn. */
static void conn_run(struct conn *c)
{
	struct session *s = &c->session;
	bool progress;
	uint64_t n_before = s->n_requests;
	bool more = !c->admin->paused && session_run(s);
	if (s->n_requests != n_before)
		c->admin->answered_in = c->admin->loop->n_turns;
	watch_cache(c->admin);
	if (!send_some(c, &progress)) {
		conn_close(c);
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
	conn_run(container_of(again, struct conn, again));
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
		conn_run(c);
		return;
	}
	wait_for(c, WAIT_ANSWER, false);
	watch(c, false, false);
	loop_next_turn(admin->loop, &c->again);
}

static void on_ready(struct session *session)
{
	conn_run(container_of(session, struct conn, session));
}

static void read_some(struct conn *c)
{
	char room[READ_BYTES];
	ssize_t n = recv(c->fd, room, sizeof(room), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		conn_close(c);
		return;
	}
	if (c->place.wait == WAIT_LINGER || c->session.state == SESSION_STREAM) {
		c->lingered += (size_t)n;
		if (c->lingered > LINGER_BYTES)
			conn_close(c);
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

static void on_stream_timer(struct timer *timer)
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
		session_push(&c->session, str_as_view(&text));
		conn_run(c);
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
	conn_run(c);
}

static void on_timeout(struct timer *timer)
{
	struct conn *c = container_of(timer, struct conn, timer);
	check_magic(c, CONN_MAGIC);
	if (c->place.wait == WAIT_HEAD || c->place.wait == WAIT_BODY) {
		session_time_out(&c->session);
		conn_run(c);
	} else {
		conn_close(c);
	}
}

static void conn_new(struct admin *admin, int fd, const struct place *place)
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
	if (!admin->paused)
		read_some(c); /* what it asks is known before somebody else wants its place */
}

/* ---- accepting ---- */

static void turn_away(int fd)
{
	static const char text[] = "HTTP/1.1 503 Service Unavailable\r\n"
				   "Content-Type: application/json\r\n"
				   "Content-Length: 38\r\n"
				   "Connection: close\r\n\r\n"
				   "{\"error\": \"too many API connections\"}\n";
	ssize_t n = send(fd, text, sizeof(text) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)n; /* it is told or not: either way the connection ends */
	socket_close(fd);
}

static void pause_accepting(struct admin *admin)
{
	for (int i = 0; i < N_ENDS; i++)
		ev_io_stop(admin->loop->ev, &admin->accept_io[i]);
	loop_timer(admin->loop, &admin->accept_timer, RETRY_ACCEPT_US);
}

static void start_accepting(struct admin *admin)
{
	for (int i = 0; i < N_ENDS; i++)
		if (admin->now.ends[i].fd >= 0 && !admin->paused)
			ev_io_start(admin->loop->ev, &admin->accept_io[i]);
}

static void on_accept_timer(struct timer *timer)
{
	start_accepting(container_of(timer, struct admin, accept_timer));
}

/* The API is needed most when descriptors have run out: one is kept for it. */
static enum err accept_one(struct admin *admin, int listen_fd, struct addr *peer, int *fd)
{
	enum err err = socket_accept(listen_fd, peer, fd);
	if (err != ERR_FDS || admin->spare_fd < 0)
		return err;
	socket_close(admin->spare_fd);
	admin->spare_fd = -1;
	return socket_accept(listen_fd, peer, fd);
}

/* It is no idle one: what it asks has come, and has not been read yet. */
static bool has_asked(struct conn *c)
{
	char byte;
	if (c->place.wait != WAIT_IDLE || recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0)
		return false;
	wait_for(c, WAIT_ANSWER, false);
	return true;
}

/* Whether there is a place for it; whoever has to leave for it has left. */
static bool make_room(struct admin *admin, struct place *newcomer)
{
	for (;;) {
		struct place *leaver, place = *newcomer;
		bool stays = places_find(&admin->places, &place, &leaver);
		struct conn *c = leaver ? container_of(leaver, struct conn, place) : NULL;
		if (c && has_asked(c))
			continue; /* at most once for each */
		if (c)
			conn_close(c);
		newcomer->only_probes = place.only_probes;
		return stays;
	}
}

static void seat(struct admin *admin, int fd, const struct addr *peer, bool remote)
{
	struct place place = place_of(peer, remote);
	bool stays = make_room(admin, &place);
	if (stays)
		conn_new(admin, fd, &place);
	else
		turn_away(fd);
}

static void on_accept(struct ev_loop *ev, ev_io *w, int revents)
{
	struct admin *admin = w->data;
	bool remote = w == &admin->accept_io[END_TCP];
	struct addr peer;
	int fd;
	(void)ev;
	(void)revents;
	for (unsigned i = 0; i < ACCEPTS_MAX; i++) {
		if (accept_one(admin, w->fd, &peer, &fd) != ERR_OK) {
			pause_accepting(admin);
			return;
		}
		if (fd < 0)
			return;
		seat(admin, fd, &peer, remote);
	}
}

/* ---- the server ---- */

enum err admin_prepare(struct admin *admin, const struct conf *conf, struct str *why)
{
	check(!admin->prepared);
	enum err err = listening_open(&admin->next, &admin->now, &conf->status, why);
	admin->prepared = err == ERR_OK;
	return err;
}

static void commit_endpoint(struct admin *admin, int i)
{
	struct endpoint *now = &admin->now.ends[i];
	struct endpoint *next = &admin->next.ends[i];
	if (next->kept) {
		if (addr_is_unix(&next->addr) && next->mode != now->mode && next->mode)
			file_chmod_socket(next->addr.un.sun_path, now->file, next->mode);
		now->mode = next->mode;
		return;
	}
	ev_io_stop(admin->loop->ev, &admin->accept_io[i]);
	endpoint_close(now);
	*now = *next;
	next->fd = -1;
	if (now->fd >= 0)
		ev_io_set(&admin->accept_io[i], now->fd, EV_READ);
}

void admin_commit(struct admin *admin)
{
	check(admin->prepared);
	admin->prepared = false;
	for (int i = 0; i < N_ENDS; i++)
		commit_endpoint(admin, i);
	str_fini(&admin->api.token);
	admin->api.token = admin->next.token;
	admin->next.token = STR_INIT;
	start_accepting(admin);
}

void admin_cancel(struct admin *admin)
{
	if (!admin->prepared)
		return;
	admin->prepared = false;
	listening_close(&admin->next);
}

struct admin *admin_new(struct loop *loop, const struct conf *conf, const struct admin_host *host,
			struct str *why)
{
	struct admin *admin = calloc(1, sizeof(*admin));
	if (!admin || !api_init(&admin->api, host)) {
		free(admin);
		str_text(why, "out of memory");
		return NULL;
	}
	admin->loop = admin->api.loop = loop;
	fetcher_init(&admin->fetcher, loop);
	admin->api.fetcher = &admin->fetcher;
	admin->spare_fd = -1;
	places_init(&admin->places);
	admin->cache_timer.fn = on_cache_timer;
	listening_init(&admin->now);
	listening_init(&admin->next);
	admin->accept_timer.fn = on_accept_timer;
	admin->stream_timer.fn = on_stream_timer;
	for (int i = 0; i < N_ENDS; i++) {
		ev_io_init(&admin->accept_io[i], on_accept, -1, EV_READ);
		admin->accept_io[i].data = admin;
	}
	if (admin_prepare(admin, conf, why) != ERR_OK) {
		admin_free(admin);
		return NULL;
	}
	admin_commit(admin);
	take_spare(admin);
	return admin;
}

void admin_sockets(const struct admin *admin, int fds[2])
{
	fds[0] = admin->now.ends[END_UNIX].fd;
	fds[1] = admin->now.ends[END_TCP].fd;
}

void admin_pause(struct admin *admin, bool paused)
{
	admin->paused = paused;
	if (!paused)
		start_accepting(admin);
	for (int i = 0; paused && i < N_ENDS; i++)
		ev_io_stop(admin->loop->ev, &admin->accept_io[i]);
	list_each_safe (it, tmp, &admin->places.all) {
		struct conn *c = list_entry(it, struct conn, place.link);
		if (paused)
			ev_io_stop(admin->loop->ev, &c->read_io);
		else
			conn_run(c);
	}
}

void admin_leave(struct admin *admin)
{
	/* who is not in the midst of an answer asks the other process */
	list_each_safe (it, tmp, &admin->places.all) {
		struct conn *c = list_entry(it, struct conn, place.link);
		if (c->place.wait != WAIT_ANSWER && c->place.wait != WAIT_SEND)
			conn_close(c);
	}
	for (int i = 0; i < N_ENDS; i++) {
		ev_io_stop(admin->loop->ev, &admin->accept_io[i]);
		socket_close(admin->now.ends[i].fd);
		admin->now.ends[i].fd = -1;
	}
	timer_clear(&admin->accept_timer);
}

void admin_free(struct admin *admin)
{
	if (!admin)
		return;
	admin_cancel(admin);
	list_each_safe (it, tmp, &admin->places.all)
		conn_close(list_entry(it, struct conn, place.link));
	for (int i = 0; i < N_ENDS; i++) {
		ev_io_stop(admin->loop->ev, &admin->accept_io[i]);
		admin->now.ends[i].kept = false;
	}
	listening_close(&admin->now);
	timer_del(&admin->accept_timer);
	timer_del(&admin->stream_timer);
	timer_del(&admin->cache_timer);
	socket_close(admin->spare_fd);
	api_fini(&admin->api);
	fetcher_fini(&admin->fetcher);
	free(admin);
}
