/* SPDX-License-Identifier: MIT */
/*
 * What the pool code needs of the worker it runs on.  Embedded in the worker;
 * one thread.
 */
#ifndef WEIR_POOL_WORKER_H
#define WEIR_POOL_WORKER_H

#include <stdint.h>

#include "weir/base/buf.h"
#include "weir/base/rng.h"
#include "weir/base/slab.h"
#include "weir/loop/loop.h"

struct backend_local;

/* How a worker reaches a backend. */
enum upconn_way {
	WAY_OPEN, /* by a connection that is to be opened */
	WAY_JOIN, /* one has room for one more exchange */
	WAY_NONE, /* the backend allows no exchange on the one there is: others would be like it */
	WAY_CROWDED, /* by one that is to be opened, but limits.connecting are */
};

struct pool_worker {
	unsigned id; /* index into every `local` array */
	struct loop *loop;
	struct buf_pool bufs;
	struct slab upconns;
	struct rng rng;
	/* as far as HTTP/2 connections say, never WAY_CROWDED; NULL: always WAY_OPEN */
	enum upconn_way (*way)(const struct backend_local *local);
	uint32_t n_asked; /* arrivals in large pools, see pool.c */
	uint64_t *mask;   /* scratch bitset for picks; owns */
	uint32_t mask_words;
};

/* `max_upconns` and `max_bufs` bound the slabs. */
void pool_worker_init(struct pool_worker *pw, unsigned id, struct loop *loop, uint32_t max_upconns,
		      uint32_t max_bufs);
void pool_worker_fini(struct pool_worker *pw);

/* A scratch bitset of at least `words` words; NULL without memory.  Control
 * paths call it ahead (on a new generation), so that picks never allocate. */
uint64_t *pool_worker_mask(struct pool_worker *pw, uint32_t words);

#endif
