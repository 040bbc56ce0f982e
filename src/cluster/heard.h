/* SPDX-License-Identifier: MIT */
/*
 * The words of the other nodes as the server gave them last: who said what, and when.
 * Thread: control.
 */
#ifndef WEIR_CLUSTER_HEARD_H
#define WEIR_CLUSTER_HEARD_H

#include "weir/base/arena.h"
#include "weir/base/view.h"

struct redisReply;

/* What is older says nothing of how much they send. */
#define HEARD_GOOD_US UINT64_C(3000000)

struct heard_node {
	struct view field; /* of the hash: name and instance */
	struct view said;
	uint64_t at_us; /* when it said it, by our clock */
};

struct heard {
	struct arena *arena; /* owns `nodes` */
	struct heard_node *nodes;
	size_t n;
	size_t n_unread;      /* said more than is read, or what is not understood */
	uint64_t answered_us; /* by the server; 0: never */
};

/* An answer: field, age in ms and word of each other one; a word that is too long to be read is
 * a number.  Returns how many that were there have said goodbye: an empty word. */
unsigned heard_take(struct heard *heard, const struct redisReply *all, uint64_t now_us);
void heard_forget(struct heard *heard);

/* 1 when it was said just now, 0 after the time to live. */
double heard_freshness(const struct heard_node *node, uint64_t now_us);
/* Somebody may send what is not known: nothing is judged by less than all.  `n_nodes`: that are
 * believed to be there, this one included. */
bool heard_is_deaf(const struct heard *heard, unsigned n_nodes, uint64_t now_us);

#endif
