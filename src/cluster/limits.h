/* SPDX-License-Identifier: MIT */
/*
 * Rate limits of all nodes, by way of Redis: fifty times a second what keys used here goes
 * there, and comes back as how far ahead each key is over all nodes, how much all want and what
 * this node may use (weir/filter/quota.h says what becomes of it).  A key of Redis is
 * {PREFIX}:limit:NAME and expires when it says nothing any more.
 *
 * Who does not answer within LIMITS_LATE_US is not waited for: each key goes on with a
 * fair part.
 *
 * Thread: control.
 */
#ifndef WEIR_CLUSTER_LIMITS_H
#define WEIR_CLUSTER_LIMITS_H

#include "weir/base/rng.h"
#include "weir/cluster/redis.h"
#include "weir/filter/quota.h"

/* Between two tellings; with many keys or nodes up to LIMITS_SELDOM_US. */
#define LIMITS_EVERY_US 20000
#define LIMITS_SELDOM_US 100000
#define LIMITS_LATE_US 400000
/* Keys in one command, and commands at a time. */
#define LIMITS_BATCH 128
#define LIMITS_BATCHES 4

struct limits_batch {
	struct limits *of;
	size_t n; /* 0: free */
	uint64_t asked_us;
	struct quota_report rows[LIMITS_BATCH];
};

struct limits {
	struct redis *redis; /* borrows */
	struct loop *loop;
	struct view prefix; /* borrows; empty: off */
	struct timer timer;
	struct rng rng;
	unsigned n_nodes;  /* that share, this one included */
	bool alone;        /* nobody answers in time */
	struct mail knock; /* a key that was silent is used */
	struct limits_batch batches[LIMITS_BATCHES];
};

void limits_init(struct limits *limits, struct redis *redis, struct loop *loop);
/* The last word, when the process ends: what is not told here is missed by all until it would have
 * been used.  Waits for nobody. */
void limits_give_back(struct limits *limits);
void limits_fini(struct limits *limits);
/* Borrowed until the next call; empty: nothing is shared. */
void limits_follow(struct limits *limits, struct view prefix);
/* How many share: what a fair part is. */
void limits_set_nodes(struct limits *limits, unsigned n_nodes);

#endif
