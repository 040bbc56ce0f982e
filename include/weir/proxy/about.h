/* SPDX-License-Identifier: MIT */
/* What an operator is told about the client connections of a worker. */
#ifndef WEIR_PROXY_ABOUT_H
#define WEIR_PROXY_ABOUT_H

#include "weir/proxy/worker.h"

/* Texts are valid until the call it was passed to returns. */
struct client_about {
	uint64_t id;
	uint64_t age_us;
	struct view listener, peer;
	struct view state; /* a word: of its exchange, if there is one */
	uint32_t requests; /* so far */
	uint32_t streams;  /* HTTP/2: requests under way */
	/* HTTP/1: of the exchange under way; empty and 0 without one */
	struct view pool, backend, path;
	uint64_t bytes_in, bytes_out;
};

/* Calls `each` for one client after another until it says false.  The worker's thread. */
void worker_about_clients(struct worker *w,
			  bool (*each)(void *arg, const struct client_about *about), void *arg);

#endif
