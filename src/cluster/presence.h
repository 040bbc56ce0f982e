/* SPDX-License-Identifier: MIT */
/*
 * What a node says of itself once a second, as bytes: who it is, and its load at each
 * backend that has any.  Backends are known by pool and address: names may differ.
 * Thread: control.
 */
#ifndef WEIR_CLUSTER_PRESENCE_H
#define WEIR_CLUSTER_PRESENCE_H

#include "weir/base/pack.h"
#include "weir/pool/pool.h"

struct presence {
	struct view name, status, version;
};

/* A row: views into the bytes. */
struct presence_row {
	struct view pool, address;
	double in_flight;  /* mean of its last second */
	uint64_t requests; /* in that second */
};

/* All that `registry` has; at most `max` bytes, and then the rest is left out. */
void presence_pack(struct str *out, const struct presence *who,
		   const struct pool_registry *registry, size_t max);
/* The head; false: not of this version, or damaged. */
bool presence_unpack(struct unpack *in, struct presence *who);
/* The next row; false at the end, or at damage. */
bool presence_next(struct unpack *in, struct presence_row *row);

#endif
