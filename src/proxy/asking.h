/* SPDX-License-Identifier: MIT */
/*
 * Private to proxy/: an exchange that waits for a filter (EXCHANGE_ASKING).  The head at
 * hand is of the moment, so it is copied, with the facts that came with it; what came of
 * the body waits in ex->gathered, and no more of it is taken meanwhile.
 *
 *   asking_hold     the head in worker->req is kept; the filter may be asked
 *   asking_arrived  the answer is there: the exchange goes on at the end of the turn
 *   asking_restore  and has its head in worker->req once more
 *   asking_free     the copy goes; views of the head with it
 *
 * Whatever ends the exchange in between calls the filter off.
 */
#ifndef WEIR_PROXY_ASKING_H
#define WEIR_PROXY_ASKING_H

#include "exchange.h"

struct aside;

struct asking {
	struct filter_wait wait;
	struct buf *buf; /* that all of this is in; owns */
	struct exchange *ex;
	uint8_t id; /* enum filter_id: which is waited for */
	/* NULL: nobody is waited for any more */
	void (*cancel)(struct asking *asking);
	/* of what has been asked (aside.h); NULL: no pool was */
	struct aside *aside;
	void (*release)(struct asking *asking);
	uint64_t since_us;
	struct exchange_request req;
	struct addr client;
	struct message *head; /* `headers` is cut behind n_headers */
};

/*
 * Keeps the head in worker->req and what came with it of the body, as ex->held.
 * ERR_RANGE: the head is too large for that, ERR_NOMEM: there is no memory; the caller ends
 * the exchange.
 */
enum err asking_hold(struct exchange *ex, const struct exchange_request *req, struct span body);
/* ASKING: from now on this filter is waited for. */
void asking_wait_for(struct exchange *ex, enum filter_id id);
/* Calls it off, whatever there is to call off. */
void asking_cancel(struct exchange *ex);
/* What came of the body, in the client's area. */
struct span asking_restore(struct exchange *ex, const struct asking *asking);
/* NULL is fine. */
void asking_free(struct worker *w, struct asking *asking);

#endif
