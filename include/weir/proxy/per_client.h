/* SPDX-License-Identifier: MIT */
/*
 * limits.connections_per_client: how many connections each client has open, in one
 * table that all workers share without locks.  A bucket of eight slots has a client's
 * count; where all of them are taken the client is not counted, and goes on: 262 144
 * slots are more than there are connections.
 */
#ifndef WEIR_PROXY_PER_CLIENT_H
#define WEIR_PROXY_PER_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/addr.h"
#include "weir/base/str.h"
#include "weir/conf/conf.h"

/* Control thread, before a generation with the limit is used. */
bool per_client_prepare(const struct conf *conf, struct str *why);

/*
 * One connection more of this client, if it has less than `limit`.  *slot is for
 * per_client_drop, 0: it is not counted.  Any worker.
 */
bool per_client_take(const struct addr *client, uint32_t limit, uint32_t *slot);
void per_client_drop(uint32_t slot);

#endif
