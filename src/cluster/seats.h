/* SPDX-License-Identifier: MIT */
/* Backends of ours, found by what nodes call them: pool and address. */
#ifndef WEIR_CLUSTER_SEATS_H
#define WEIR_CLUSTER_SEATS_H

#include "weir/base/arena.h"
#include "weir/pool/pool.h"

struct seat {
	struct backend *backend; /* NULL: free */
	double in_flight, rate;  /* of the others; whoever adds up */
};

struct seats {
	struct seat *rows;
	size_t mask;
};

/* Of all backends there are now. */
struct seats seats_take(const struct pool_registry *registry, struct arena *arena);
/* A free one: there is no such backend. */
struct seat *seats_find(const struct seats *seats, struct view pool, struct view address);

#endif
