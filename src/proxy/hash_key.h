/* SPDX-License-Identifier: MIT */
/* Private to proxy/: the key of a request for hashing strategies. */
#ifndef WEIR_PROXY_HASH_KEY_H
#define WEIR_PROXY_HASH_KEY_H

#include "exchange.h"

/* As the pool's `hash.on` says; 0 when the request has none. */
uint64_t hash_key_of(const struct exchange *ex, const struct exchange_request *req,
		     struct message *msg);

#endif
