/* SPDX-License-Identifier: MIT */
/*
 * What nodes that share a pool tell each other, by way of Redis: presence.  Once a second a
 * node says what it has in flight at each backend and how many requests it sends there, and
 * reads the same of the others.  Who was not heard of for CLUSTER_TTL_US is gone; who ends
 * as planned says goodbye, an empty word.
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
#include "weir/base/pack.h"
#include "weir/base/str.h"
#include "weir/cluster/redis.h"
#include "weir/conf/conf.h"
#include "weir/pool/pool.h"

#define CLUSTER_TTL_US UINT64_C(5000000)
#define CLUSTER_NODES_MAX 256
#define PRESENCE_MAX (1024 * 1024)
/* Bytes of all words that are read at once, far below REDIS_ANSWER_MAX: a larger answer would end
 * the connection, and with it what else is shared.  Who has no room is known not to be known. */
#define CLUSTER_WORDS_MAX (4 * 1024 * 1024)

struct cluster;

/* A node other than this one. */
struct cluster_node {
	struct view name;
	struct view status; /* where its API is read, "" when nowhere */
	struct view version;
	uint64_t age_us;        /* since it spoke */
	double in_flight, rate; /* over all its pools; requests a second */
};

/* Learned pins; lost: they found no room to wait in.  Unread: entries that are none. */
struct cluster_pins {
	uint64_t told, heard, lost, unread;
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
	struct cluster_pins pins;
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

/* Another process goes on under this name: when this one ends, it says goodbye only if that one
 * has spoken. */
void cluster_followed(struct cluster *cluster);
/* For the process that takes over: the name that `auto` stands for. */
void cluster_pack(const struct cluster *cluster, struct str *out);
void cluster_unpack(struct unpack *in, struct cluster *cluster);

struct cluster_state cluster_state(const struct cluster *cluster);
/* Those heard of lately, in the order of their names; two processes of a node (a hand-over) are
 * one, and that of this one is none of them; memory of `arena`. */
struct cluster_node *cluster_nodes(const struct cluster *cluster, struct arena *arena, size_t *n);

#endif
