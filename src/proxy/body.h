/* SPDX-License-Identifier: MIT */
/*
 * Private to proxy/: the body of a request on its way to a backend.  What comes from
 * the client's side is in exchange.h (exchange_body and its like).
 *
 *   no backend yet        kept behind the head, in ex->req
 *   an attempt sends      handed to it, and kept as long as it may be sent again
 *   the route gathers     into ex->gathered, from which the two above are fed in order
 *                         once it is whole, full, or there is no memory for more
 */
#ifndef WEIR_PROXY_BODY_H
#define WEIR_PROXY_BODY_H

#include "exchange.h"

/* Takes a backend, or waits for one; the exchange may have ended after this. */
void body_seek(struct exchange *ex);
/*
 * Whether the body of the request in worker->req is gathered first (request_buffer).
 * If so an Expect goes no further: the backend is not there to answer it.
 */
bool body_gathers(struct exchange *ex);
/* Begins with that, and with what came along with the head. */
void body_gather(struct exchange *ex, struct span first);
/* The attempt takes more of it. */
void body_goes_on(struct exchange *ex);

#endif
