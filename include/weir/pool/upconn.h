/* SPDX-License-Identifier: MIT */
/*
 * Upstream connections of one worker: opened on demand, kept when an exchange
 * is done, used again: those of the turns before last in first out, then those of this one.
 *
 *    connect --> BUSY --release--> IDLE --take--> BUSY
 *                 |                  |
 *                 +----> closed <----+  (peer closed, idle timeout, retired)
 *
 * What a backend sends behind an answer, too much or too late, must not be the head of
 * the next one, which may be another client's.  So one rule holds for all that are kept:
 * before it is used again, a connection has been found to have nothing to read, by a look
 * that is later than its last answer and its last event.  The poll that begins a turn looks
 * at all of them for nothing.  Those that are idle only since this turn (`fresh`) come
 * last and are asked one by one, a read; what is found to have anything to read is closed.
 * What comes behind that look cannot be told from an answer.
 *
 * The keep-alive race: the backend's own idle timeout is learned (from
 * "Keep-Alive: timeout=N" and from connections it closed on us while idle) and
 * a connection is not used again shortly before it.
 */
#ifndef WEIR_POOL_UPCONN_H
#define WEIR_POOL_UPCONN_H

#include "weir/conf/conf.h"
#include "weir/net/proxy_protocol.h"
#include "weir/net/stream.h"
#include "weir/pool/backend.h"
#include "weir/pool/pool.h"
#include "weir/pool/worker.h"

#define UPCONN_MAGIC 0x55504331

struct upconn {
	void *slab_link; /* first word: only while free */
	uint32_t magic;
	uint32_t n_requests;
	struct stream stream;
	struct timer timer; /* idle only */
	struct list idle_link;
	struct backend *backend;
	struct backend_local *local;
	struct pool_worker *pw;
	uint64_t idle_since_us;
	uint64_t idle_limit_us;     /* as the backend announced, UINT64_MAX: it did not */
	uint64_t tls_id;            /* whom its TLS trusts and what it shows; 0: plain TCP */
	uint64_t intro_key;         /* of the PROXY header it began with; 0: none */
	void *owner;                /* the exchange while busy */
	struct pool_state *opening; /* whose queue hears of it when it is open; NULL: it is */
};

/* How a connection begins: with a PROXY header, perhaps (pools.*.send_proxy). */
struct upconn_intro {
	bool only_http1; /* TLS offers nothing else, whatever the view's would */
	uint64_t key;    /* who may share a connection; 0: there is no header */
	size_t len;
	char bytes[PROXY_WRITE_MAX];
};

/*
 * A kept connection to the backend that has nothing to read, with the TLS that the view
 * asks for and a PROXY header of this key, or NULL.
 */
struct upconn *upconn_take(const struct pool_view *view, struct pool_worker *pw,
			   struct backend *backend, uint64_t intro_key,
			   const struct stream_events *on, void *owner);

/*
 * Opens one.  ERR_FULL when limits.connections of the backend is reached, ERR_BUSY
 * when limits.connecting is; *connected tells whether it can be written to at once
 * (else on->connected comes).  It counts as being opened until upconn_opened.
 */
enum err upconn_connect(struct pool_worker *pw, struct backend *backend,
			const struct pool_view *view, const struct upconn_intro *intro,
			const struct stream_events *on, void *owner, struct upconn **out,
			bool *connected);

/* It can be used: another one may be opened in its place.  More than once is fine. */
void upconn_opened(struct upconn *up);

/*
 * How this worker can reach the backend now: over a connection that it has or may
 * open, or what is in the way.
 */
enum upconn_way upconn_way(const struct pool *pool, const struct pool_worker *pw,
			   const struct backend *backend);

/* WAY_NONE was found, which the pick did not see: from now on it looks. */
void upconn_way_closed(struct backend *backend);
/* That has changed: those who wait on this worker are to try. */
void upconn_way_opened(struct backend *backend, struct pool_state_local *sl);

/* It is unused, and there are more such than keepalive.max_idle. */
bool upconn_is_surplus(const struct upconn *up, uint32_t max_idle);

/* Back into the idle list, or closed when it cannot be kept; before lease_drop. */
void upconn_release(struct upconn *up, const struct conf_pool *conf);
void upconn_close(struct upconn *up);

/* Closes every idle connection of this worker to the backend. */
void upconn_close_idle(struct pool_worker *pw, struct backend *backend);

static inline bool upconn_is_reused(const struct upconn *up)
{
	return up->n_requests > 1;
}

#endif
