/* SPDX-License-Identifier: MIT */
/*
 * Accepting: each worker watches its own sockets of the current generation.
 * SO_REUSEPORT alone leaves workers uneven when connections are few and long,
 * so a worker that accepts looks at one other worker and hands the descriptor
 * over when that one has fewer connections.
 */
#ifndef WEIR_PROXY_LISTEN_H
#define WEIR_PROXY_LISTEN_H

#include "weir/proxy/worker.h"

/*
 * Before w->gen changes to `next`: stops watching what is not in it.  What waits
 * in those queues is accepted under the old configuration.
 */
void listen_leave(struct worker *w, const struct generation *next);
/* After the change: watches the sockets of w->gen. */
void listen_adopt(struct worker *w);
/* Stops accepting for good; what waits in the queues is accepted first. */
void listen_stop(struct worker *w);
/* Descriptors were closed while accepting was blocked: it may go on. */
void listen_fd_freed(struct worker *w);

#endif
