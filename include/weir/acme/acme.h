/* SPDX-License-Identifier: MIT */
/*
 * Certificates that an authority gives by itself (ACME, RFC 8555): kept in files, ordered,
 * renewed.
 *
 *   acme = acme_new(&loop, &host);
 *   acme_prepare(acme, conf, &why)    reads what there is; what is missing gets a certificate of
 *                                     our own making, so that a start never waits
 *   ... acme_pem(acme, names): what is served for them; a generation is made ...
 *   acme_commit(acme)  or  acme_cancel(acme)
 *   acme_tick(acme)                   once a second: orders what is due, one at a time
 *
 * HTTP-01 needs no state but the thumbprint of the account's key, because what is to be answered
 * follows from it and the question (RFC 8555 8.3): whoever has the key can answer for all.
 *
 * Nodes may share the folder: files that another one has written are taken within
 * ACME_LOOK_US.  Where they share more (acme_host.turn), one at a time orders.
 *
 * A certificate that worked stays until there is another, whatever happens.
 *
 * Thread: control, that of the loop.
 */
#ifndef WEIR_ACME_ACME_H
#define WEIR_ACME_ACME_H

#include "weir/conf/conf.h"
#include "weir/loop/loop.h"
#include "weir/net/tls.h"

struct acme;

#define ACME_LOOK_US 10000000

enum acme_event { ACME_ISSUED, ACME_FAILED, ACME_UNSAVED };

struct acme_news {
	enum acme_event event;
	struct view site; /* its first name */
	const char *text; /* a sentence */
};

/* Where several nodes share, one at a time orders, and any may be asked by the authority. */
struct acme_wish {
	bool wants;        /* its turn, or to keep it */
	struct view proof; /* what the others are to show; empty: nothing */
	struct view shown; /* what every worker here shows for another; empty: nothing */
};

struct acme_turn {
	bool mine;
	bool shared;       /* there are others that may be asked */
	bool trusted;      /* also those with another account are known to be ours */
	bool everywhere;   /* the others show `proof` of the wish */
	struct view proof; /* what is to be shown for another; borrowed for the tick */
};

struct acme_host {
	void *ctx;
	/* with every tick; who is alone has its turn, and shows everywhere what it shows */
	void (*turn)(void *ctx, const struct acme_wish *wish, struct acme_turn *out);
	/* a certificate is another one, or a challenge is over: a generation is due */
	void (*changed)(void *ctx);
	/* a challenge is to be shown: the same, and acme_published once every worker has it; false:
	 * it cannot be made */
	bool (*publish)(void *ctx);
	void (*news)(void *ctx, const struct acme_news *news);
};

struct acme *acme_new(struct loop *loop, const struct acme_host *host);
void acme_free(struct acme *acme); /* NULL is fine */

enum err acme_prepare(struct acme *acme, const struct conf *conf, struct str *why) MUST_CHECK;
void acme_commit(struct acme *acme);
void acme_cancel(struct acme *acme);
void acme_tick(struct acme *acme);
/* Another process goes on with the files: no more orders. */
void acme_leave(struct acme *acme);

/* Key and chain for a list of names that the configuration has, and the file they are kept in;
 * borrowed until the next call that is not const. */
struct view acme_pem(const struct acme *acme, const struct conf_views *names, struct view *file);
/* What is to be shown to authorities, until the next call that is not const but this one. */
const struct tls_challenge *acme_challenges(struct acme *acme, size_t *n);
void acme_published(struct acme *acme);
/* Of the account's key; empty: there is none. */
struct view acme_thumbprint(const struct acme *acme);
/* What is answered for another node's token; empty: nothing. */
struct view acme_guest(const struct acme *acme);

/* For weir -t: where files are, by this configuration and $STATE_DIRECTORY; into `out`. */
void acme_folder(const struct conf *conf, struct str *out);

/* ---- for the API; texts are of the arena ---- */

struct acme_site {
	struct view names, file; /* names: with a blank between them */
	struct view step;        /* of its order, for people; empty: none is under way */
	struct view order;       /* its URL; empty: not placed */
	struct view error;       /* why the last order failed; empty: it did not */
	bool trusted;            /* it is from an authority */
	bool saved;              /* it is on the disk */
	uint64_t next_wall_us;   /* when it is ordered next */
	uint64_t n_orders, n_failed;
	unsigned failures; /* in a row */
};

const struct acme_site *acme_status(const struct acme *acme, struct arena *arena, size_t *n);

#endif
