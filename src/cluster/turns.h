/* SPDX-License-Identifier: MIT */
/*
 * What one node at a time does (orders of certificates), and what it wants the others to show
 * meanwhile.  Once a second a node says whether it wants its turn, and hears whether it has it:
 * a lease, which is gone TURNS_LEASE_MS after who has it has spoken last.
 *
 * Keys of Redis, in one slot, all of which expire by themselves:
 *   {PREFIX}:acme:lease  who has it
 *   {PREFIX}:acme:proof  what that one wants to be shown
 *   {PREFIX}:acme:seen   set of those that show it
 *   {PREFIX}:acme:nodes  sorted set, those that take turns by when they spoke last
 *
 * Who gets no answer for TURNS_ALONE_US goes on by itself.
 *
 * Thread: control.
 */
#ifndef WEIR_CLUSTER_TURNS_H
#define WEIR_CLUSTER_TURNS_H

#include "weir/base/str.h"
#include "weir/cluster/cluster.h"
#include "weir/cluster/redis.h"

#define TURNS_LEASE_MS "15000"
#define TURNS_ALONE_US 5000000

struct turns {
	struct redis *redis;  /* borrows */
	struct view prefix;   /* borrows; empty: off */
	uint64_t answered_us; /* the last answer, or the beginning */
	bool asked;           /* a question is under way */
	bool wanted, has;     /* what it says; what the last answer said */
	bool everywhere;      /* the others show `told` */
	struct str told;      /* owns; of the last question: what is to be shown */
	struct str answered;  /* owns; the same of the last answer's */
	struct str proof;     /* owns; what another one wants to be shown */
};

void turns_init(struct turns *turns, struct redis *redis);
void turns_fini(struct turns *turns);
/* Borrowed until the next call; empty: nothing is shared. */
void turns_follow(struct turns *turns, struct view prefix);
/* `field`: who speaks. */
void turns_take(struct turns *turns, struct view field, const struct cluster_wish *wish,
		struct cluster_turn *out);

#endif
