/* SPDX-License-Identifier: MIT */
/* What a fetch is made of; private to its files. */
#ifndef WEIR_FETCH_QUESTION_H
#define WEIR_FETCH_QUESTION_H

#include "conn.h"

#include "weir/base/url.h"
#include "weir/fetch/resolve.h"

#define FETCH_MAGIC 0x46455443
enum fetch_state {
	FETCH_RESOLVING,
	FETCH_CONNECTING,
	FETCH_SENDING,
	FETCH_WAITING,
	FETCH_BODY,
	FETCH_OVER,
};

struct fetch {
	uint32_t magic;
	enum fetch_state state;
	struct fetcher *fetcher;
	struct list link;
	struct deferred start;
	struct timer timer;
	uint64_t until_us;        /* there must be an answer, or its head */
	struct fetch_request req; /* `url`, `at`, `tls_host` are its own, method, headers gone */
	struct url url;           /* views into req.url */
	enum method method;
	struct str place, out; /* owns; out: the request as it is sent */
	size_t sent;
	struct resolve *question;
	struct addr addrs[RESOLVE_MAX];
	size_t n_addrs, next_addr;
	struct fetch_conn *conn; /* owns, until it is kept */
	struct str head, in;     /* owns; in: the body that is gathered */
	size_t head_len;         /* 0: not complete */
	struct h1_body body;
	unsigned status;
	bool answered; /* a byte of the answer is here */
	bool keep;
	char why[200];
};

/* ---- fetch_answer.c ---- */

/* Bytes of the answer; it may be over after this. */
void fetch_feed(struct fetch *x, char *ptr, size_t len);
/* The answer is whole. */
void fetch_answered(struct fetch *x);
void fetch_fail(struct fetch *x, enum fetch_end end, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Gives back the memory of those that are over. */
void fetch_reap(struct fetcher *f);
void fetch_on_reap(struct deferred *deferred);

#endif
