/* SPDX-License-Identifier: MIT */
/*
 * What is known of backends and pools as bytes for the process that takes over
 * (base/pack.h): counters, latency, curves, history, what strategies remember,
 * adaptive limits, learned pins.  Found again by pool, name and address.
 *
 * Control thread; it is read after the first pools are built and before any worker
 * runs.  A part that is damaged, or of another version, is left out alone.
 */
#ifndef WEIR_POOL_PACK_H
#define WEIR_POOL_PACK_H

#include "weir/base/pack.h"
#include "weir/pool/pool.h"

/* How much came over. */
struct pool_inherited {
	uint32_t n_backends, n_pools; /* that were found again */
	uint32_t n_lost;              /* parts of them that could not be read */
};

/* For the process that takes over; or for one that may start much later, whose counters and
 * windows begin anew. */
enum pool_pack { POOL_PACK_ALL, POOL_PACK_LEARNED };

void pool_registry_pack(const struct pool_registry *reg, uint64_t now_us, enum pool_pack what,
			struct str *out);
/* `outcome` as for slow_unpack. */
struct pool_inherited pool_registry_unpack(struct unpack *in, struct pool_registry *reg,
					   uint64_t now_us,
					   const char *(*outcome)(struct view name));

/* What pins are signed with and found by: before any pool is built. */
void pool_secrets_pack(const struct pool_registry *reg, struct str *out);
void pool_secrets_unpack(struct unpack *in, struct pool_registry *reg);

/* What is in flight at backends here, for the process that has taken over; and there: the answer
 * to its `question`, from 1 and always a later one.  Control thread. */
void pool_registry_before_pack(const struct pool_registry *reg, struct str *out);
void pool_registry_before_unpack(struct unpack *in, struct pool_registry *reg, uint32_t question);
/* It has ended. */
void pool_registry_before_gone(struct pool_registry *reg);

#endif
