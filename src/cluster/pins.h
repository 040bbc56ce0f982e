/* SPDX-License-Identifier: MIT */
/*
 * Learned pins of all nodes: what is new here goes to Redis ten times a second, what is new
 * there comes back with the answer.  No request waits: one that comes to another node before
 * that is served as if it had no pin.
 *
 *   {PREFIX}:pins  stream; entries of at most PINS_BATCH pins: pool, address, key and how
 *                  many seconds it was known.  The last PINS_KEPT entries stay, an hour after
 *                  the last one.
 *
 * The stream is read from its beginning after each new connection, so that a node that
 * starts, or a server that was replaced, costs no more than what is in it.
 *
 * Thread: control.
 */
#ifndef WEIR_CLUSTER_PINS_H
#define WEIR_CLUSTER_PINS_H

#include "weir/base/rng.h"
#include "weir/base/str.h"
#include "weir/cluster/cluster.h"
#include "weir/cluster/redis.h"
#include "weir/pool/pool.h"

#define PINS_EVERY_US 100000
#define PINS_BATCH 256
/* After an answer that is none: the server may be too old for it. */
#define PINS_PAUSE_US 5000000
#define PINS_KEPT "10000"
#define PINS_KEPT_MS "3600000"

struct pins_sharing {
	struct redis *redis; /* borrows */
	struct loop *loop;
	struct pool_registry *registry;
	struct view prefix; /* borrows; empty: off */
	struct timer timer;
	struct rng rng;
	bool asked;
	char last[48];   /* of the stream: what was read last; "": nothing */
	struct str word; /* owns */
	struct cluster_pins n;
};

void pins_sharing_init(struct pins_sharing *pins, struct redis *redis, struct loop *loop,
		       struct pool_registry *registry);
void pins_sharing_fini(struct pins_sharing *pins);
/* Borrowed until the next call; empty: nothing is shared. */
void pins_sharing_follow(struct pins_sharing *pins, struct view prefix);
struct cluster_pins pins_sharing_told(const struct pins_sharing *pins);

#endif
