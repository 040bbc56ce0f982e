/* SPDX-License-Identifier: MIT */
/* The client, and a peer that the test plays byte by byte, on one loop. */
#ifndef TESTS_UNIT_FETCH_PEER_H
#define TESTS_UNIT_FETCH_PEER_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "weir/fetch/fetch.h"
#include "weir/net/socket.h"

static struct world {
	struct loop loop;
	struct fetcher f;
	int listener, peer;
	uint16_t port;
	char url[64];
	/* what came of the last one */
	unsigned n_done, n_pieces, n_heads;
	enum fetch_end end;
	unsigned status;
	char why[200], body[4096], etag[32];
	struct fetch *cancel_in_piece;
	bool begin_in_done;
	unsigned n_addrs; /* that a name has; 0: as the system says */
} w;

static const struct fetch_request standard;

static inline void on_done(void *arg, const struct fetch_answer *a)
{
	cr_assert_eq(arg, &w);
	w.n_done++;
	w.end = a->end;
	w.status = a->status;
	snprintf(w.why, sizeof(w.why), "%s", a->why);
	if (!w.n_pieces)
		snprintf(w.body, sizeof(w.body), VIEW_FMT, VIEW_ARG(a->body));
	struct header *h = a->msg ? message_find_name(a->msg, VIEW("ETag")) : NULL;
	snprintf(w.etag, sizeof(w.etag), VIEW_FMT, VIEW_ARG(h ? h->value : VIEW("")));
	if (w.begin_in_done) {
		w.begin_in_done = false;
		struct fetch_request next = standard;
		next.url = view_str(w.url);
		fetch_begin(&w.f, &next);
	}
}

static inline void on_piece(void *arg, struct view bytes)
{
	(void)arg;
	w.n_pieces++;
	strncat(w.body, bytes.ptr, bytes.len);
	if (w.cancel_in_piece)
		fetch_cancel(w.cancel_in_piece);
}

static inline void on_head(void *arg, struct message *msg)
{
	(void)arg;
	w.n_heads++;
	w.status = msg->status;
}

static const struct fetch_request standard = {
    .method = {"GET", 3},
    .timeout_us = 5000000,
    .body_max = 1000,
    .done = on_done,
    .arg = &w,
};

static inline void world_init(void)
{
	struct addr addr;
	memset(&w, 0, sizeof(w));
	w.peer = -1;
	cr_assert_eq(loop_init(&w.loop, "test"), ERR_OK);
	fetcher_init(&w.f, &w.loop);
	cr_assert(addr_parse(VIEW("127.0.0.1:0"), &addr));
	cr_assert_eq(socket_listen(&addr, false, 0, &w.listener), ERR_OK);
	cr_assert(socket_local_addr(w.listener, &addr));
	w.port = addr_port(&addr);
	snprintf(w.url, sizeof(w.url), "http://127.0.0.1:%u/a?b=c", w.port);
}

static inline void world_fini(void)
{
	fetcher_fini(&w.f);
	cr_expect_eq(buf_pool_live(&w.f.bufs), 0);
	socket_close(w.peer);
	socket_close(w.listener);
	loop_fini(&w.loop);
}

static inline void turn(void)
{
	ev_run(w.loop.ev, EVRUN_NOWAIT);
}

/* The peer has a connection, and a request of at least `n` bytes on it. */
static inline const char *hear(bool accept_one)
{
	static char text[4096];
	struct addr from;
	size_t len = 0;
	for (int i = 0; i < 2000 && accept_one; i++) {
		int fd;
		turn();
		cr_assert_eq(socket_accept(w.listener, &from, &fd), ERR_OK);
		if (fd < 0) {
			usleep(1000);
			continue;
		}
		socket_close(w.peer);
		w.peer = fd;
		accept_one = false;
	}
	cr_assert(!accept_one);
	for (int i = 0; i < 2000; i++) {
		turn();
		ssize_t n = recv(w.peer, text + len, sizeof(text) - 1 - len, MSG_DONTWAIT);
		len += n > 0 ? (size_t)n : 0;
		text[len] = '\0';
		if (strstr(text, "\r\n\r\n"))
			return text;
		usleep(1000);
	}
	cr_assert(false, "no request: %s", text);
	return text;
}

static inline void say(const char *text)
{
	cr_assert_eq(send(w.peer, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
	turn();
}

static inline void until(const unsigned *n, unsigned want)
{
	for (int i = 0; i < 3000 && *n < want; i++) {
		turn();
		usleep(1000);
	}
	cr_assert_geq(*n, want);
}

static inline struct fetch *begin(struct fetch_request req)
{
	req.url = view_str(w.url);
	return fetch_begin(&w.f, &req);
}

#endif
