/* SPDX-License-Identifier: MIT */
/*
 * Bulk waits for what is small (stream_put_off).  Of a body whose length is known it is what
 * is left that makes it bulk.  Where nobody knows how much is to come, in chunks, until the
 * end or through a tunnel, it is what the turn before has moved: a tunnel of small messages
 * stays small however many there were.  A connection of HTTP/2 to a backend, which has streams
 * of all kinds, is bulk where the turn before has moved so much of bodies of which much is left,
 * or nobody knows how much.
 *
 *   if (bulk_is(&body, ex->body_out - ex->out_seen) && stream_put_off(stream))
 *           return;
 *   ex->out_seen = ex->body_out;
 */
#ifndef WEIR_PROXY_BULK_H
#define WEIR_PROXY_BULK_H

#include "weir/http/h1.h"
#include "weir/proxy/worker.h"

static inline bool bulk_is(const struct h1_body *body, uint64_t moved)
{
	return body->state == H1_BODY_LENGTH ? body->left >= BULK_BYTES : moved >= BULK_TURN;
}

#endif
