/* SPDX-License-Identifier: MIT */
/*
 * One order, from a key to a certificate on the disk (RFC 8555 7).
 *
 *                 an order was under way: RESUMING --> to where that was
 *                                            |  of no use: PLACING
 *   IDLE --begin--> KEY --> DIRECTORY --> ACCOUNT --> PLACING, NOTING --> AUTHORIZATION <-+
 *                                            ^          |          |  |  it is valid   |
 *                                            +----------+          |  +--> the next ---+
 *                           the account is unknown: once anew      |       (none: FINALIZING)
 *                                                                  |                   |
 *               tls-alpn-01, or PUBLISHING <-----------------------+ http-01           |
 *               other nodes      |                                 v                   |
 *                                +---------------------------> CHALLENGE               |
 *                                                                  v                   |
 *                                                              VALIDATION -------------+
 *
 *   FINALIZING --> ISSUING --> DOWNLOAD --> SAVING --> IDLE, done
 *
 *   KEY         a thread makes the key and writes it: who cannot write does not order
 *   DIRECTORY   which URLs the authority has; ACCOUNT: ours, made where it is missing
 *   RESUMING    what has become of the order that an earlier process placed
 *   PLACING     newOrder; NOTING: a thread writes down its URL
 *   AUTHORIZATION, PUBLISHING, CHALLENGE, VALIDATION
 *               of one name after the other: what is asked for, that all workers and nodes
 *               can show it, that it may be looked at, and whether it was found good
 *   FINALIZING  the request for the certificate; ISSUING: whether it is there
 *   SAVING      a thread writes it; that failing does not make the order fail
 *
 * Every step ends with an answer or the deadline of its request; those that ask again and again
 * end after STEP_MAX_US.  Any of them may fail, which is done as well.
 *
 * Thread: that of the loop.
 */
#ifndef WEIR_ACME_ORDER_H
#define WEIR_ACME_ORDER_H

#include "ca.h"

#include "weir/conf/conf.h"
#include "weir/loop/work.h"

enum order_step {
#define ORDER_STEP(symbol, words) ORDER_##symbol,
#include "weir/tbl/acme_steps.def"
#undef ORDER_STEP
};

/* What an order is about; borrowed until it is done. */
struct order_task {
	const struct conf_acme *conf;
	const struct conf_views *names;
	const char *folder;
	const char *file;         /* of the certificate, in the folder */
	const char *account_file; /* the same of the account's key */
	struct view account_pem;  /* to be written there first; empty: it is there */
	struct view thumbprint;   /* of the account's key */
	struct view replaces; /* what is renewed (RFC 9773 5), for those that know it; or empty */
	enum conf_acme_challenge first; /* what is tried if the authority offers it */
	unsigned challenges;            /* what can be answered, as in conf_acme */
	bool others;                    /* other nodes answer challenges as well */
	int64_t good_until_s; /* the certificate in use, as far as an authority gave it; or 0 */
};

struct order_result {
	const char *why;        /* "": it went well */
	struct view pem;        /* key and chain; borrowed for the call */
	int save_error;         /* errno: it is not on the disk; 0: it is */
	bool account_is_there;  /* its key has been written */
	bool of_authority;      /* it failed in a way that other orders will as well */
	bool goes_on;           /* the order may be gone on with */
	uint64_t retry_after_s; /* what the authority asks for; 0: nothing */
};

struct order {
	struct loop *loop;
	struct ca ca; /* key and tls are the caller's to set */
	void (*done)(void *arg, const struct order_result *result);
	/* `proof` is to be shown for `name`, `authorization` by other nodes: order_published
	 * follows; false: it cannot be */
	bool (*publish)(void *arg);
	void *arg;
	/* its own */
	enum order_step step;
	const struct order_task *task;
	struct timer timer; /* asks again */
	uint64_t since_us;  /* of this step */
	unsigned n_asked;   /* in this step */
	struct work *work;
	struct str key_pem, pem;             /* owns */
	struct str new_account, new_order;   /* owns; URLs, as the next ones */
	struct str url, finalize, challenge; /* of the order; of the challenge at hand */
	struct str name;                     /* that is being authorized */
	struct str authorization;            /* what answers its challenge */
	struct str proof;              /* owns; certificate and key of tls-alpn-01; or empty */
	enum conf_acme_challenge type; /* of the challenge */
	json_t *authorizations;        /* owns; URLs */
	size_t at;                     /* of these */
	bool account_is_there, account_anew;
	bool knows_replaces; /* the authority does */
};

void order_init(struct order *o, struct loop *loop, struct fetcher *fetcher);
void order_fini(struct order *o);
/* `task` is borrowed until done or order_stop. */
void order_begin(struct order *o, const struct order_task *task);
/* Every worker shows the proof. */
void order_published(struct order *o);
/* Nothing is called any more. */
void order_stop(struct order *o);
/* The next one is of another account, or at another authority. */
void order_forget(struct order *o);
/* What it is at, for people. */
void order_words(const struct order *o, struct str *out);

#endif
