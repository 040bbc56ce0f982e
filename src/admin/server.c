/* SPDX-License-Identifier: MIT */
/*
 * The sockets of the API: accepts, reads into sessions, sends what they say.
 * Numbers, sizes and times are bounded, since status.bind may face anybody (places.c),
 * and of the control thread's time readers get a share: one answer a turn of the loop
 * at once, what else was asked by then in the turns that follow.
 */
#include "server_conn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "weir/base/check.h"
#include "weir/base/list.h"
#include "weir/net/socket.h"

#define ACCEPTS_MAX 16
#define RETRY_ACCEPT_US 200000
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
		if (admin->now.ends[i].fd >= 0 && admin->phase == ADMIN_SERVES)
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

/* Whether there is a place for it; whoever has to leave for it has left. */
static bool make_room(struct admin *admin, struct place *newcomer)
{
	for (;;) {
		struct place *leaver, place = *newcomer;
		bool stays = places_find(&admin->places, &place, &leaver);
		struct conn *c = leaver ? container_of(leaver, struct conn, place) : NULL;
		if (c && admin_conn_has_asked(c))
			continue; /* at most once for each */
		if (c)
			admin_conn_close(c);
		newcomer->only_probes = place.only_probes;
		return stays;
	}
}

static void seat(struct admin *admin, int fd, const struct addr *peer, bool remote)
{
	struct place place = place_of(peer, remote);
	bool stays = make_room(admin, &place);
	if (stays)
		admin_conn_new(admin, fd, &place);
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
	admin->cache_timer.fn = admin_conn_on_cache_timer;
	listening_init(&admin->now);
	listening_init(&admin->next);
	admin->accept_timer.fn = on_accept_timer;
	admin->stream_timer.fn = admin_conn_on_stream_timer;
	for (int i = 0; i < N_ENDS; i++) {
		ev_io_init(&admin->accept_io[i], on_accept, -1, EV_READ);
		admin->accept_io[i].data = admin;
	}
	if (admin_prepare(admin, conf, why) != ERR_OK) {
		admin_free(admin);
		return NULL;
	}
	admin_commit(admin);
	admin_conn_take_spare(admin);
	return admin;
}

void admin_sockets(const struct admin *admin, int fds[2])
{
	fds[0] = admin->now.ends[END_UNIX].fd;
	fds[1] = admin->now.ends[END_TCP].fd;
}

void admin_pause(struct admin *admin, bool paused)
{
	admin->phase = paused ? ADMIN_PAUSED : ADMIN_SERVES;
	if (!paused)
		start_accepting(admin);
	for (int i = 0; paused && i < N_ENDS; i++)
		ev_io_stop(admin->loop->ev, &admin->accept_io[i]);
	list_each_safe (it, tmp, &admin->places.all) {
		struct conn *c = list_entry(it, struct conn, place.link);
		if (paused)
			ev_io_stop(admin->loop->ev, &c->read_io);
		else
			admin_conn_run(c);
	}
}

void admin_leave(struct admin *admin)
{
	admin->phase = ADMIN_LEFT;
	list_each_safe (it, tmp, &admin->places.all)
		admin_conn_leave(list_entry(it, struct conn, place.link));
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
		admin_conn_close(list_entry(it, struct conn, place.link));
	for (int i = 0; i < N_ENDS; i++) {
		ev_io_stop(admin->loop->ev, &admin->accept_io[i]);
		admin->now.ends[i].kept = false;
	}
	listening_close(&admin->now);
	timer_del(&admin->accept_timer);
	timer_del(&admin->stream_timer);
	timer_del(&admin->cache_timer);
	socket_close(admin->spare_fd);
	relays_fini(&admin->api);
	api_fini(&admin->api);
	fetcher_fini(&admin->fetcher);
	free(admin);
}
