/* SPDX-License-Identifier: MIT */
/*
 * Which backends of a pool a node uses when there are many of both (pools.*.subset).
 *
 * Rendezvous hashing (Thaler, Ravishankar 1998) of node and backend: of each priority the
 * `want` backends with the highest hash.  Nodes need not know each other; when a backend
 * comes or goes, a node changes at most one of its own, and when a node comes or
 * goes, the others change nothing.  How many nodes a backend has is spread as by
 * chance: with m of them on the average, by about the root of m.  Deterministic
 * subsetting by number of node (SRE book, chapter 20) is even, but moves most when n changes.
 */
#ifndef WEIR_POOL_SUBSET_H
#define WEIR_POOL_SUBSET_H

#include "weir/base/arena.h"
#include "weir/conf/conf.h"

/* Sets the bits of those that the node uses; members that are gone count for nothing. */
void pool_subset(const struct conf_backend *backends, size_t n, struct view node, uint32_t want,
		 struct arena *arena, uint64_t *chosen);

#endif
