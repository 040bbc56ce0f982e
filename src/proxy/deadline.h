/* SPDX-License-Identifier: MIT */
/*
 * Private to proxy/: deadlines that clients bring along, in grpc-timeout or the
 * pool's timeouts.deadline_header (whole milliseconds).  They only shorten what
 * is configured.  The backend is told what is left at the moment the request is
 * sent, less a little for the way.
 */
#ifndef WEIR_PROXY_DEADLINE_H
#define WEIR_PROXY_DEADLINE_H

#include "exchange.h"

/* "250m", "1S": 1 to 8 digits and one of H M S m u n; microseconds. */
bool deadline_parse_grpc(struct view text, uint64_t *us);

/* Takes the deadline out of the request.  False: it cannot be met. */
bool deadline_request(struct exchange *ex, struct message *msg);
/* Room for what is left in the head at hand. */
void deadline_put(struct exchange *ex, struct h1_out *out);
/* Writes what is left there; before each attempt.  False: nothing is. */
bool deadline_stamp(struct exchange *ex);

/* Whether a deadline may have to be looked at. */
static inline bool deadline_applies(const struct exchange *ex)
{
	return ex->has_grpc_timeout || ex->view->pool->conf->timeouts.deadline_header.ptr;
}

#endif
