/* SPDX-License-Identifier: MIT */
/*
 * What the files about the certificates of a configuration share: acme.c gets them, follow.c
 * knows which there are, proof.c shows what an authority asks for, newer.c reads what other
 * nodes have got, status.c tells.
 *
 * Thread: that of the loop.
 */
#ifndef WEIR_ACME_OWN_H
#define WEIR_ACME_OWN_H

#include "account.h"
#include "ari.h"
#include "guest.h"
#include "order.h"
#include "site.h"

#include "weir/acme/acme.h"
#include "weir/base/rng.h"
#include "weir/fetch/fetch.h"

struct acme {
	struct loop *loop;
	struct fetcher fetcher; /* of its own: connections end with an order */
	struct acme_host host;
	struct list sites;
	const struct conf_acme *conf, *next;  /* of configurations that are in use; NULL: none */
	struct account account, next_account; /* next: has a key if it is another one */
	struct tls_client *next_tls;          /* counted */
	char *folder;                         /* owns; NULL: not needed yet */
	struct order order;
	struct order_task task;
	struct site *ordering, *saving, *asking;
	struct ari ari;
	struct work *work;      /* that writes `saving`, or notes */
	uint64_t not_before_us; /* monotonic; the authority wants to be left alone */
	struct rng rng;
	bool plain;                         /* some listener answers without TLS */
	bool next_plain;                    /* of the configuration that is prepared */
	unsigned n_publishing;              /* barriers under way */
	bool is_public;                     /* the last one had the news to tell */
	struct tls_challenge challenges[2]; /* what handshakes show, when asked for */
	bool showing;                       /* the proof of the order */
	struct acme_turn turn;              /* as of the last tick */
	struct str telling;                 /* owns; what the others are to show; empty: nothing */
	uint64_t telling_us; /* monotonic; since then every worker shows it; 0: not yet */
	struct guest guest;
	uint64_t look_us; /* monotonic; when to look at the files again */
	bool left;
};

static inline void acme_tell(const struct acme *acme, enum acme_event event, const struct site *s,
			     const char *text)
{
	acme->host.news(
	    acme->host.ctx,
	    &(struct acme_news){.event = event, .site = s->names.rows[0], .text = text});
}

/* ---- acme.c ---- */

/* Microseconds from now on; 0: an order is due. */
uint64_t acme_due_in(const struct acme *acme, const struct site *s);

/* ---- follow.c ---- */

void acme_stop_order(struct acme *acme);
void acme_drop_site(struct acme *acme, struct site *s);

/* ---- proof.c ---- */

/* struct order.publish */
bool acme_show_proof(void *arg);
/* Whose turn it is, and what goes with it. */
void acme_take_turn(struct acme *acme, bool wants);
/* What can be answered here, as far as can be known: bits of enum conf_acme_challenge. */
unsigned acme_answerable(const struct acme *acme);
/* After a failure the other one: a port may be closed. */
enum conf_acme_challenge acme_first_challenge(unsigned all, unsigned failures);

/* ---- newer.c ---- */

/* True: the files are not those of before; `one`: look at this one only, or NULL. */
bool acme_find_newer(struct acme *acme, struct site *one);

#endif
