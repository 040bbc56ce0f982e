/* SPDX-License-Identifier: MIT */
/* One stream under test on a loop of its own, and the plain socket of its peer. */
#ifndef TESTS_UNIT_NET_FIXTURE_H
#define TESTS_UNIT_NET_FIXTURE_H

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "weir/net/socket.h"
#include "weir/net/stream.h"

struct fixture {
	struct loop loop;
	struct buf_pool bufs;
	struct stream s;
	int peer;
	/* what came */
	unsigned n_connected, n_readable, n_drained, n_broken;
	enum err err;
	size_t n_read;
	bool eof, read_error;
	/* what the callbacks shall do */
	bool close_on_readable, close_on_drained, close_on_broken, leave_unread;
};

extern struct fixture fx;
extern const struct stream_events fixture_events;

/* A pair of unix sockets; the stream's side gets the smallest send buffer there is. */
void fixture_pair(void);
/* The loop and the buffers alone. */
void fixture_init(void);
/* Closes what is open; every buffer must be back. */
void fixture_fini(void);
/* The loop turns until `*counter` is above 0 or a second has passed. */
void fixture_until(const unsigned *counter);
void fixture_turn(void);
/* Reads all that is there into `out`; the number of bytes. */
size_t peer_read(char *out, size_t cap);

#endif
