/* SPDX-License-Identifier: MIT */
/*
 * Room for new connections when descriptors run out: clients that hold one and do
 * nothing with it give it up, those first who have been idle longest.
 */
#ifndef WEIR_PROXY_ROOM_H
#define WEIR_PROXY_ROOM_H

#include "weir/proxy/worker.h"

/* There are descriptors, beside those that are kept for backends. */
bool room_is_there(const struct worker *w);
/*
 * Closes idle client connections of this worker, a sixteenth of them; how many.  When
 * it has none, the other workers are asked for theirs, which takes a moment.
 */
unsigned room_make(struct worker *w);
/* Part of a worker's init. */
void room_init(struct worker *w);

#endif
