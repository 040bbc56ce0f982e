/* SPDX-License-Identifier: MIT */
/* The backend's side over HTTP/2: connections of a worker, shared by exchanges. */
#ifndef WEIR_PROXY_BACKEND_H2_H
#define WEIR_PROXY_BACKEND_H2_H

#include "attempt.h"

/* NULL without memory. */
struct backend_h2 *backend_h2_new(struct worker *w, const struct worker_limits *limits);
/* After backend_h2_leave. */
void backend_h2_free(struct backend_h2 *h2); /* NULL is fine */
void backend_h2_watch(struct backend_h2 *h2, struct slab_watch *watch);
/*
 * Connections to a backend that is gone: closed once their streams are done.
 * They hold `gl` until then, and with it the backend.
 */
void backend_h2_retire(struct worker *w, const struct backend_local *local, struct gen_local *gl);
/* All that was put off to the end of the turn. */
void backend_h2_turn_end(struct backend_h2 *h2);
/* Closes every connection; no exchange may be left. */
void backend_h2_leave(struct worker *w);

/*
 * A stream of a connection with room, or of a new one: at->h2.  Without `may_reuse`
 * only one that is not about to end, as far as can be known.  *connected: the
 * request can be sent; else attempt_connected comes.
 */
enum err backend_h2_take(struct attempt *at, bool may_reuse, bool *connected);

/*
 * at->up, opened for HTTP/1, turned out to speak HTTP/2 (ALPN): it is shared from now
 * on, and the attempt becomes its first stream.
 */
void backend_h2_adopt(struct attempt *at);

extern const struct backend_ops backend_h2_ops;

#endif
