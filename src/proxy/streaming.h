/* SPDX-License-Identifier: MIT */
/*
 * Which exchanges are streams: their length says nothing about speed, and while they are open
 * the backend has hardly any work with them.  From the moment one is known to be a stream it is
 * counted as one (pool.h, lease_streams), and its duration is that until its answer began.
 *
 *   a tunnel                                   once it is open
 *   an answer of content type text/event-stream    once its first part was relayed
 *   a good answer (2xx) that does not say      when something, but less than STREAMING_BYTES, came
 *   how long it is, e.g. of gRPC               in STREAMING_LOOK_US after it had begun, and not for
 *                                              want of a client that reads
 */
#ifndef WEIR_PROXY_STREAMING_H
#define WEIR_PROXY_STREAMING_H

#include "attempt.h"

#define STREAMING_LOOK_US UINT64_C(5000000)
#define STREAMING_BYTES 65536

/* The head of an answer that is for the client is in worker->resp. */
void streaming_head(struct attempt *at);
/* A part of the answer was relayed and there is more to come: RECEIVING begins. */
void streaming_begin(struct attempt *at);
/* The time of a look has come: at->look_us. */
void streaming_look(struct attempt *at);

#endif
