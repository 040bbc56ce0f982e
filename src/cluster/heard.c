/* SPDX-License-Identifier: MIT */
/* What the server says of the other nodes, in the order of their fields. */
#include "heard.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>

#include "presence.h"

#include "weir/cluster/cluster.h"

static struct view text_of(const redisReply *reply)
{
	return reply->type == REDIS_REPLY_STRING ? view_of(reply->str, reply->len) : VIEW_NONE;
}

static int by_field(const void *a, const void *b)
{
	const struct heard_node *x = a, *y = b;
	return view_cmp(x->field, y->field);
}

static bool is_goodbye(const redisReply *said)
{
	return said->type == REDIS_REPLY_STRING && said->len == 0;
}

static unsigned count_goodbyes(const struct heard *heard, const redisReply *all)
{
	unsigned n = 0;
	for (size_t i = 0; i + 2 < all->elements; i += 3) {
		struct heard_node node = {.field = text_of(all->element[i])};
		n += is_goodbye(all->element[i + 2]) && heard->n &&
		     bsearch(&node, heard->nodes, heard->n, sizeof(node), by_field);
	}
	return n;
}

static bool is_read(const redisReply *age, struct view field, struct view said)
{
	struct unpack in = unpack_of(said);
	struct presence who;
	return field.len && age->type == REDIS_REPLY_INTEGER && age->integer >= 0 &&
	       said.len <= PRESENCE_MAX && presence_unpack(&in, &who);
}

static void take_one(struct heard *heard, redisReply *const row[3], uint64_t now_us)
{
	struct view field = text_of(row[0]), said = text_of(row[2]);
	if (is_goodbye(row[2]))
		return;
	if (heard->n == CLUSTER_NODES_MAX || !is_read(row[1], field, said)) {
		heard->n_unread++;
		return;
	}
	uint64_t age_us = (uint64_t)row[1]->integer * 1000;
	heard->nodes[heard->n++] = (struct heard_node){
	    .field = arena_view(heard->arena, field),
	    .said = arena_view(heard->arena, said),
	    .at_us = now_us > age_us ? now_us - age_us : 0,
	};
}

unsigned heard_take(struct heard *heard, const struct redisReply *all, uint64_t now_us)
{
	unsigned n_goodbyes = count_goodbyes(heard, all);
	heard_forget(heard);
	heard->answered_us = now_us;
	heard->arena = arena_new();
	heard->nodes = arena_array(heard->arena, all->elements / 3, sizeof(*heard->nodes));
	for (size_t i = 0; i + 2 < all->elements; i += 3)
		take_one(heard, &all->element[i], now_us);
	if (heard->n)
		qsort(heard->nodes, heard->n, sizeof(*heard->nodes), by_field);
	return n_goodbyes;
}

void heard_forget(struct heard *heard)
{
	arena_free(heard->arena);
	*heard = (struct heard){.answered_us = heard->answered_us};
}

double heard_freshness(const struct heard_node *node, uint64_t now_us)
{
	uint64_t age_us = now_us > node->at_us ? now_us - node->at_us : 0;
	return age_us < CLUSTER_TTL_US ? 1 - (double)age_us / (double)CLUSTER_TTL_US : 0;
}

bool heard_is_deaf(const struct heard *heard, unsigned n_nodes, uint64_t now_us)
{
	if (!heard->answered_us || now_us > heard->answered_us + HEARD_GOOD_US || heard->n_unread)
		return true;
	for (size_t i = 0; i < heard->n; i++)
		if (now_us > heard->nodes[i].at_us + HEARD_GOOD_US)
			return true;
	return n_nodes > heard->n + 1; /* who has just gone may still send */
}
