/* SPDX-License-Identifier: MIT */
/*
 * Connections of a fetcher: each serves one fetch, or is kept for the next one to the
 * same place.  What happens on it is told to the fetch; a kept one closes by itself.
 */
#ifndef WEIR_FETCH_CONN_H
#define WEIR_FETCH_CONN_H

#include "weir/fetch/fetch.h"
#include "weir/net/stream.h"

struct fetch_conn {
	struct stream stream;
	struct fetcher *fetcher;
	struct fetch *user;      /* NULL: kept */
	struct fetch_line *line; /* that it is kept for; NULL: for everybody */
	struct list link;        /* of fetcher->kept */
	struct timer idle;       /* kept; or it connects, and that is to be tried again */
	struct str place;        /* owns; where it leads: what conns of one may stand for another */
	uint64_t tls_id;         /* 0: plain */
	bool used;               /* it has served a request */
};

/* A kept one to this place, or NULL. */
struct fetch_conn *conn_take(struct fetcher *f, struct fetch_line *line, struct view place,
			     uint64_t tls_id);
struct fetch_conn *conn_new(struct fetcher *f, struct fetch_line *line, struct view place,
			    uint64_t tls_id);
/* It has served its user, well. */
void conn_keep(struct fetch_conn *conn);
/* The stream may look at it still: its memory goes with conn_reap.  NULL is fine. */
void conn_close(struct fetch_conn *conn);
void conn_reap(struct fetcher *f);

#endif
