/* SPDX-License-Identifier: MIT */
/*
 * One running check: a connection of its own, a deadline, and a kind that says
 * what to send and how to judge what comes.  Private to health/.
 *
 *   check_start --> connected --> kind->begin --> kind->feed ... --> check_pass
 *        |              |              |              |                   or
 *        +--------------+--------------+--------------+----------> check_fail
 *
 * check_pass and check_fail report to the target and end the check: nothing of
 * it may be touched afterwards.
 */
#ifndef WEIR_HEALTH_CHECK_H
#define WEIR_HEALTH_CHECK_H

#include "settings.h"

#include "weir/base/defs.h"
#include "weir/fetch/fetch.h"
#include "weir/http/h1.h"
#include "weir/net/stream.h"
#include "weir/net/tls.h"

struct health_target;
struct prober;
struct check;

struct check_kind {
	const char *keyword;
	bool plain; /* never over TLS, whatever the pool's traffic does */
	/* The connection stands.  May end the check; one that always does needs no more. */
	void (*begin)(struct check *c);
	/* Bytes came.  May end the check. */
	void (*feed)(struct check *c, char *ptr, size_t len);
	/* The peer ended the connection.  Must end the check. */
	void (*end)(struct check *c);
	/* Gives back c->state; NULL: nothing to do. */
	void (*fini)(struct check *c);
};

/* All rows in the order of checks.def. */
extern const struct check_kind *const check_kinds[];
#define CHECK(symbol, keyword, sentence) extern const struct check_kind check_##symbol;
#include "weir/tbl/checks.def"
#undef CHECK

#define CHECK_MAGIC 0x43484b31

struct check {
	void *slab_link;    /* only while free */
	struct timer timer; /* stays filed while free */
	/* from here on zeroed for each check */
	uint32_t magic;
	struct stream stream;
	struct prober *prober;
	struct health_target *target;           /* borrows: it ends its check before it goes */
	const struct health_settings *settings; /* of the target's pool */
	const struct check_kind *kind;
	struct check **running; /* of the target */
	struct view address;    /* what Host says without a setting */
	struct addr peer;       /* where it connects */
	bool tls;               /* it goes over TLS */
	const char *doing;      /* "connecting": timeouts name it */
	uint64_t began_us;
	uint16_t status; /* of the response, once it is known */
	struct buf *in;  /* of the kind: what came so far; owns */
	struct h1_body body;
	bool has_head;
	bool local;  /* what fails now is weir's own fault */
	void *state; /* of the kind; owns */
};

struct check_result {
	bool ok;
	bool local; /* weir itself could not: no memory, no descriptors */
	uint16_t status;
	uint64_t duration_us;
	const char *reason; /* valid during the call */
};

/* What all checks share; health thread. */
struct prober {
	struct loop *loop;
	struct fetcher fetcher; /* for load.c */
	struct buf_pool bufs;
	struct slab checks;
	struct tls_local tls;
	struct message head; /* scratch */
	char scratch[64 * 1024];
	/* the check is over and gone */
	void (*done)(struct health_target *target, const struct check_result *result);
};

void prober_init(struct prober *p, struct loop *loop,
		 void (*done)(struct health_target *target, const struct check_result *result));
void prober_fini(struct prober *p);

struct check_job {
	struct health_target *target;
	const struct health_settings *settings;
	struct tls_client *tls; /* NULL: plain TCP */
	unsigned send_proxy;    /* version of the PROXY header; 0: none */
	const struct addr *address;
	struct view address_text;
	struct check **running; /* holds the check until it is over, then NULL */
};

/* Reports through prober->done, maybe before this returns.  False when there is
 * no room for one more. */
bool check_start(struct prober *p, const struct check_job *job);
/* Ends it without a word. */
void check_cancel(struct check *c);

/* ---- for kinds ---- */

/* Sends; false when the check has failed of it. */
bool check_send(struct check *c, const void *ptr, size_t len);
void check_pass(struct check *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
void check_fail(struct check *c, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
