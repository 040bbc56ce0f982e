/* SPDX-License-Identifier: MIT */
/*
 * What nodes that share a pool tell each other, by way of Redis: presence.  Once a second a
 * node says what it has in flight at each backend and how many requests it sends there, and
 * reads the same of the others.  Who was not heard of for CLUSTER_TTL_US is gone.
 *
 * Nothing waits for it: no request, no reload, no end.  Without the server the others' loads
 * fade within CLUSTER_TTL_US, and cluster_why says what is wrong.
 *
 * Keys of Redis, in one slot of a Redis cluster, all of which expire by themselves:
 *   {PREFIX}:nodes    sorted set, node by the time (the server's) at which it spoke last
 *   {PREFIX}:presence hash, node to what it said (base/pack.h, at most PRESENCE_MAX bytes)
 *
 * Thread: control.
 */
#ifndef WEIR_CLUSTER_CLUSTER_H
#define WEIR_CLUSTER_CLUSTER_H

#include "weir/base/err.h"
#include "weir/base/str.h"
#include "weir/cluster/redis.h"
#include "weir/conf/conf.h"
#include "weir/pool/pool.h"

#define CLUSTER_TTL_US UINT64_C(5000000)
#define CLUSTER_NODES_MAX 256
#define PRESENCE_MAX (1024 * 1024)

struct cluster;

/* A node other than this one. */
struct cluster_node {
	struct view name;
	struct view status; /* where its API is read, "" when nowhere */
	struct view version;
	uint64_t age_us;        /* since it spoke */
	double in_flight, rate; /* over all its pools; requests a second */
};

struct cluster_state {
	bool on;
	bool connected;
	struct view node;    /* our name */
	struct view address; /* of the server */
	const char *why;     /* "" while all is well */
	uint64_t published, failed;
	size_t n_limits;   /* keys of shared rate limits that are in use */
	bool limits_alone; /* nobody answers in time: each goes on with 1/n_parts */
	unsigned n_parts;
};

/* What a node wants of the others, where one at a time does something. */
struct cluster_wish {
	bool wants;        /* its turn, or to keep it */
	struct view proof; /* what the others are to show; empty: nothing */
	struct view shown; /* what is shown for the one whose turn it is; empty: nothing */
};

struct cluster_turn {
	bool mine;         /* also when nobody can be asked */
	bool shared;       /* others are asked, and answer */
	bool trusted;      /* who speaks there has shown a password or a certificate */
	bool everywhere;   /* all others show `proof` of the wish */
	struct view proof; /* what is to be shown for another; until the next call */
};

/* NULL without memory. */
struct cluster *cluster_new(struct loop *loop, struct pool_registry *registry);
void cluster_free(struct cluster *cluster); /* NULL is fine */

/*
 * Makes ready for a configuration: files are read when it returns.  On failure nothing
 * changes and `why` says what is wrong; else commit or cancel has to follow.
 */
enum err cluster_prepare(struct cluster *cluster, const struct conf *conf, struct str *why);
void cluster_commit(struct cluster *cluster);
void cluster_cancel(struct cluster *cluster);

/* Once a second, after the registry's. */
void cluster_tick(struct cluster *cluster, uint64_t now_us);
/* Once a second, by who takes turns: a lease, asked for and kept by asking.  For TURNS_ALONE_US
 * after the start it is nobody's, without an answer it is everybody's. */
void cluster_take_turn(struct cluster *cluster, const struct cluster_wish *wish,
		       struct cluster_turn *out);

struct cluster_state cluster_state(const struct cluster *cluster);
/* Those heard of lately, in the order of their names; memory of `arena`. */
struct cluster_node *cluster_nodes(const struct cluster *cluster, struct arena *arena, size_t *n);

#endif
