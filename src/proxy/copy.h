/* SPDX-License-Identifier: MIT */
/*
 * Private to proxy/: a copy of a request on its way to another pool (routes[].mirror), an
 * exchange of its own without a client, which follows the original and has no part in it.
 *
 *   GATHERING --whole--> DUE --turn's end--> SENT --> its answer, read and thrown away
 *       |                 |                   |
 *       +-----------------+--> DROPPED        +--> both have ended: compared, and over
 *
 *   GATHERING  the request's body comes: all of it is held, mirror.body_bytes at most
 *   DUE        until everybody else has had this turn; if the original waits for a backend
 *              by then, the copy is dropped
 *   SENT       it has taken a place that was free at once
 *   DROPPED    its memory goes at the end of the turn
 *
 * Each has a place among mirror.in_flight from the beginning, and mirror.timeout for all of
 * that: an original that takes longer is left alone.  What comes back is read a piece at a time,
 * behind everybody else (waits_as_bulk), and not much further than the original's answer went:
 * more would tell nothing, and a copy costs no more than what it is of.  A copy is never
 * repeated but over another connection where a kept one had been closed, and tells the pool
 * nothing of health: only load and latency.
 */
#ifndef WEIR_PROXY_COPY_H
#define WEIR_PROXY_COPY_H

#include "exchange.h"

#include "weir/filter/mirror.h"

/*
 * The request at hand is to be copied; `body` came with it.  It has passed all filters and
 * nothing of it is changed yet, nor after this.
 */
void copy_begin(struct exchange *ex, struct mirror *mirror, struct span body);
/* Whether the body of the answer is to be told to its copy. */
bool copy_hears_body(const struct exchange *ex);
/* At the end of the turn: `ex` is a copy that is DUE. */
void copy_send(struct exchange *ex);
/* The worker stops. */
void copy_stop_all(struct worker *w);

#endif
