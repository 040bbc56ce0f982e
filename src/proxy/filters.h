/* SPDX-License-Identifier: MIT */
/* Private to proxy/: the filters of a route, asked for an exchange. */
#ifndef WEIR_PROXY_FILTERS_H
#define WEIR_PROXY_FILTERS_H

#include "exchange.h"

struct asking;

/*
 * Asks those of ex->route in the order of filters.def.  False: one of them has
 * answered, and the exchange has ended, or it waits (ASKING), `body` with it.
 */
bool filters_pass(struct exchange *ex, const struct exchange_request *req, struct span body);
/* The same from the one that `asking` waited for on; `late`: in vain. */
bool filters_again(struct exchange *ex, struct asking *asking, struct span body, bool late);

/* filtered.c: the response will go through the filter that acts there. */
void filtered_begin(struct exchange *ex, uint8_t mark);

#endif
