/* SPDX-License-Identifier: MIT */
/* The server of the API and its connections; private to server.c and server_conn.c. */
#ifndef WEIR_ADMIN_SERVER_CONN_H
#define WEIR_ADMIN_SERVER_CONN_H

#include "listen.h"
#include "places.h"
#include "session.h"

#include "weir/admin/admin.h"
#include "weir/fetch/fetch.h"

#define CONN_MAGIC 0x41444d43

struct admin {
	struct loop *loop;
	struct api api;
	struct fetcher fetcher; /* of the API */
	struct listening now;
	struct listening next; /* between admin_prepare and commit or cancel */
	bool prepared;
	enum { ADMIN_SERVES, ADMIN_PAUSED, ADMIN_LEFT } phase;
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

/* Takes the descriptor; what has been asked already is answered. */
void admin_conn_new(struct admin *admin, int fd, const struct place *place);
void admin_conn_close(struct conn *c);
/* As far as it goes in this turn; it may be closed then. */
void admin_conn_run(struct conn *c);
/* Another process has the sockets: it ends with what it is owed, or at once. */
void admin_conn_leave(struct conn *c);
/* It is no idle one: what it asks has come, and has not been read yet. */
bool admin_conn_has_asked(struct conn *c);
/* A descriptor in hand, for who comes when there are none. */
void admin_conn_take_spare(struct admin *admin);
void admin_conn_on_cache_timer(struct timer *timer);
void admin_conn_on_stream_timer(struct timer *timer);

#endif
