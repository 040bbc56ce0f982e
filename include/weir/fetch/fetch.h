/* SPDX-License-Identifier: MIT */
/*
 * A small HTTP/1.1 client for what weir itself asks of others: sources of members, a
 * certificate authority, a collector.  Nothing blocks, everything is bounded.
 *
 *   fetcher_init(&fetcher, &loop);
 *   tls = fetch_tls_new(&fetcher, &options, &why);              only for https
 *   fetch = fetch_begin(&fetcher, &(struct fetch_request){
 *       .method = VIEW("GET"), .url = url, .tls = tls, .timeout_us = 5000000,
 *       .body_max = 65536, .done = on_done, .arg = me});
 *   ... on_done(me, &answer) exactly once and never before fetch_begin has returned,
 *       or fetch_cancel(fetch) before it ...
 *   fetcher_fini(&fetcher);
 *
 *   RESOLVING --> CONNECTING --> SENDING --> WAITING --> BODY --> (done)
 *       |  an address, or a kept connection     a head of an answer
 *       +-- every state ends at its deadline, or by fetch_cancel --> (gone)
 *
 * A body is gathered, up to body_max, and given to `done`; or handed out as it comes
 * when there is a `piece`, which is how a watch works that never ends by itself.
 *
 * Redirects are not followed, cookies not kept: who asks knows whom it trusts.  Names are
 * looked up by the system's resolver on a thread of its own; each of their addresses
 * is tried until one accepts.  "unix:/path" in `at` goes to a unix socket instead, whose
 * certificate may have any name.
 *
 * A connection that was kept may have been closed by the peer meanwhile: a request that
 * fails on one without a byte of an answer is sent once more on a new one if its method
 * is idempotent (RFC 9110 9.2.2) or it says `repeat`.
 *
 * Ownership: what a request names is copied, but for `arg`; `tls` is counted.  Answers
 * live until the callback returns.  Callbacks may begin and cancel fetches, their own too.
 * Thread: that of the loop.
 */
#ifndef WEIR_FETCH_FETCH_H
#define WEIR_FETCH_FETCH_H

#include "weir/base/buf.h"
#include "weir/base/list.h"
#include "weir/http/h1.h"
#include "weir/loop/loop.h"
#include "weir/net/tls.h"

struct fetch;
struct fetch_conn;

/* A connection that is kept for one asker alone, for as long as it wants. */
struct fetch_line {
	struct fetch_conn *conn; /* NULL: none is */
};

/* Bytes that the head of an answer may have. */
#define FETCH_HEAD_MAX (32 * 1024)
/* Connections that may be kept, and for how long nobody uses them. */
#define FETCH_KEPT_MAX 16
#define FETCH_KEPT_US UINT64_C(30000000)

struct fetcher {
	struct loop *loop;
	struct buf_pool bufs;
	struct tls_local tls;
	struct list kept;    /* struct fetch_conn, last used first; owns */
	struct list running; /* struct fetch; owns */
	struct list over;    /* struct fetch; freed in the next turn, as is ... */
	struct list closed;  /* ... struct fetch_conn */
	struct deferred reap;
	unsigned n_kept;
	struct message msg; /* scratch */
	char scratch[16 * 1024];
};

struct fetch_tls_options {
	struct view ca;        /* file; empty: those of the system */
	struct view name;      /* to send and to verify; empty: the host of the URL */
	struct view cert, key; /* files of a client certificate; empty: none */
	bool trust_all;        /* nothing is verified */
};

enum fetch_end {
	FETCH_OK,       /* an answer is here, of whatever status */
	FETCH_NO_NAME,  /* the host has no address */
	FETCH_NO_TLS,   /* the handshake failed, or the certificate is not to be trusted */
	FETCH_FAILED,   /* not connected, cut, or not HTTP */
	FETCH_TIMEOUT,  /* later than timeout_us */
	FETCH_SILENCE,  /* nothing for silence_us */
	FETCH_TOO_LONG, /* the head or the body is longer than it may be */
};

struct fetch_answer {
	enum fetch_end end;
	const char *why;     /* what failed, a sentence; "" with FETCH_OK */
	unsigned status;     /* 0: no head came */
	struct message *msg; /* its head: message_find_name; NULL: none came */
	struct view body;    /* as far as it came; empty with `piece` */
};

struct fetch_request {
	struct view method;
	struct view url; /* http://host[:port]/path?query, or https */
	struct view at;  /* an address to connect to in place of the URL's host; empty: none */
	struct view
	    headers; /* whole lines, each with its CRLF; not Host, Content-Length, Connection */
	struct view body;
	struct tls_client *tls;  /* of fetch_tls_new; needed for https */
	struct view tls_host;    /* whose certificate it is to be in place of the URL's host */
	uint64_t timeout_us;     /* for the whole answer; with `piece`: for its head */
	uint64_t connect_us;     /* for each address; 0: as long as all of it */
	uint64_t silence_us;     /* with `piece`: longest time without a byte of it; 0: any */
	size_t body_max;         /* bytes of an answer that is gathered */
	bool keep;               /* the connection, for the next one */
	struct fetch_line *line; /* where it is kept; NULL: with those of everybody */
	unsigned send_proxy;     /* version of a PROXY header that names nobody; 0: none */
	bool repeat;             /* it does no harm to be received twice */
	/* The head, before the first piece; may be NULL. */
	void (*head)(void *arg, struct message *msg);
	/* Bytes of the body as they come; NULL: gather. */
	void (*piece)(void *arg, struct view bytes);
	void (*done)(void *arg, const struct fetch_answer *answer);
	void *arg;
};

void fetcher_init(struct fetcher *f, struct loop *loop);
/* What runs is cancelled. */
void fetcher_fini(struct fetcher *f);
/* Closes what is kept for a client that is about to change. */
void fetcher_forget(struct fetcher *f);

/* NULL with `why`; tls_client_put gives it back. */
struct tls_client *fetch_tls_new(struct fetcher *f, const struct fetch_tls_options *options,
				 struct str *why);

/* Never NULL: what cannot even begin comes to `done`, too. */
struct fetch *fetch_begin(struct fetcher *f, const struct fetch_request *request);
/* Closes what is kept there. */
void fetch_line_drop(struct fetch_line *line);
/* Neither `piece` nor `done` will be called; NULL is fine. */
void fetch_cancel(struct fetch *fetch);

#endif
