/* SPDX-License-Identifier: MIT */
/* Private to proxy/: an exchange finds a backend, at once or in the queue of its pool. */
#ifndef WEIR_PROXY_PLACE_H
#define WEIR_PROXY_PLACE_H

#include "exchange.h"

/*
 * Picks a backend and sends the request, or waits for one.  False when nobody is
 * there; else the exchange may have ended already.
 */
bool place_seek(struct exchange *ex);
/* The same for a further try, which begins now: with what there is since a reload. */
bool place_again(struct exchange *ex);
/* The pick alone, into ex->at->lease. */
enum pool_verdict place_take(struct exchange *ex);
/* With a lease: connects and sends.  The exchange may have ended when this returns. */
void place_start(struct exchange *ex);
/* Into the queue; or the exchange ends.  `why`: POOL_FULL or POOL_CROWDED. */
void place_wait(struct exchange *ex, enum pool_verdict why);
/* Waiting for the backend of its pin is over: true when another one has it now. */
bool place_elsewhere(struct exchange *ex);

#endif
