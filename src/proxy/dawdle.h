/* SPDX-License-Identifier: MIT */
/* Private to proxy/: a client that is slow to send its request's body. */
#ifndef WEIR_PROXY_DAWDLE_H
#define WEIR_PROXY_DAWDLE_H

#include "exchange.h"

/* What a client may take for nothing, before the rate at which it sends matters. */
#define DAWDLE_US 5000000

/* Time in which all that came was taken, and the client had to send more. */
uint64_t dawdle_us(const struct exchange *ex);
/* From now on `weir` waits for the client, or does not. */
void dawdle_note(struct exchange *ex, bool waits);
/* When more of the body is to be here: body_idle, timeouts.body, limits.body_rate. */
uint64_t dawdle_deadline(const struct exchange *ex);

#endif
