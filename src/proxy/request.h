/* SPDX-License-Identifier: MIT */
/*
 * Private to proxy/: the bytes of an exchange's request.
 *
 *   ex->direct   head and body in the receive area; until the callback ends
 *   ex->req      a buffer with all that has come, while the exchange has no backend;
 *                then as long as it may be sent again (ex->replayable)
 *   ex->gathered what of the body is gathered before it has one (request_buffer)
 */
#ifndef WEIR_PROXY_REQUEST_H
#define WEIR_PROXY_REQUEST_H

#include "exchange.h"

/* The rewritten head and what came along of the body.  False: there is no room for it. */
bool request_put(struct exchange *ex, struct span body, bool complete);
/* How much more of the body may be kept while there is no backend. */
size_t request_room(const struct exchange *ex);
/* More of the body, framed.  False: no memory. */
bool request_append(struct exchange *ex, struct span body);
/* What is sent can be sent again only while all of it is kept. */
void request_keep_for_replay(struct exchange *ex, struct span body);
void request_drop(struct exchange *ex);

/* ---- ex->gathered: see body.h ---- */

/* False: no memory. */
bool request_gather(struct exchange *ex, struct span body);
/* Up to `cap` bytes of it from the front; how many. */
size_t request_gathered(struct exchange *ex, char *to, size_t cap);
/* The exchange goes. */
void request_free(struct exchange *ex);

#endif
