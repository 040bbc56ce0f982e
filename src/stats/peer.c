/* SPDX-License-Identifier: MIT */
/*
 * One backend against the others at the same level, in the same seconds: what moves with time
 * or with load is the same on both sides.  What was found long ago counts until enough is new:
 * a backend to which little is sent since it is slow remains known for it.
 */
#include <math.h>
#include <string.h>

#include "scaling.h"

#define PEER_MEMORY_S 300.0
#define WEIGHT_MAX 1000.0  /* more makes it no surer, only later */
#define WEIGHT_BLOCK 160.0 /* of it; one bad moment is not a bad host */
#define WEIGHT_MIN 10.0
#define FLOOR 0.05 /* of a logarithm: no request is surer */
#define PEER_Z 4.0

/* Of those that are not known to be slow, by level. */
struct others {
	double n[LEVEL_SPLIT], log[LEVEL_SPLIT];
};

static bool is_one_of(const struct scaling_member *m)
{
	return m->part && m->usable && m->part->slower <= 0;
}

static void sum_others(const struct scaling_input *in, struct others *others)
{
	*others = (struct others){{0}, {0}};
	for (size_t i = 0; i < in->n; i++) {
		if (!is_one_of(&in->members[i]))
			continue;
		const struct scaling_peer *p = &in->members[i].part->peer;
		for (uint32_t k = 1; k < LEVEL_SPLIT; k++) {
			others->n[k] += (double)p->fresh_n[k];
			others->log[k] += (double)p->fresh_log[k];
		}
	}
}

static void compare(const struct scaling_member *m, const struct others *all, double seconds)
{
	struct scaling_peer *p = &m->part->peer;
	double apart = 0, w = 0, keep = exp(-seconds / PEER_MEMORY_S);
	for (uint32_t k = 1; k < LEVEL_SPLIT; k++) {
		double n = (double)p->fresh_n[k], log = (double)p->fresh_log[k];
		double own = is_one_of(m) ? 1 : 0, others = all->n[k] - own * n;
		if (n < 1 || others < 1)
			continue;
		double each = n * others / (n + others);
		apart += each * (log / n - (all->log[k] - own * log) / others);
		w += each;
	}
	double share = w > WEIGHT_BLOCK ? WEIGHT_BLOCK / w : 1;
	p->apart = p->apart * keep + apart * share;
	p->w = p->w * keep + w * share;
	if (p->w > WEIGHT_MAX) {
		p->apart *= WEIGHT_MAX / p->w;
		p->w = WEIGHT_MAX;
	}
}

static void forget_fresh(const struct scaling_input *in)
{
	for (size_t i = 0; i < in->n; i++) {
		struct scaling_part *part = in->members[i].part;
		if (!part)
			continue;
		memset(part->peer.fresh_n, 0, sizeof(part->peer.fresh_n));
		memset(part->peer.fresh_log, 0, sizeof(part->peer.fresh_log));
	}
}

void scaling_look_peers(struct scaling *s, const struct scaling_input *in)
{
	struct others others;
	if (s->peers_block == s->n_blocks)
		return;
	double seconds = (double)(s->n_blocks - s->peers_block) * SCALING_BLOCK_S;
	s->peers_block = s->n_blocks;
	sum_others(in, &others);
	for (size_t i = 0; i < in->n; i++)
		if (in->members[i].part && in->members[i].usable)
			compare(&in->members[i], &others, seconds);
	forget_fresh(in);
}

/* How many times as long it takes; 0: not known.  `sure`: that is no chance. */
double scaling_peer_factor(const struct scaling *s, const struct scaling_part *part, bool *sure)
{
	const struct scaling_peer *p = &part->peer;
	*sure = false;
	if (p->w < WEIGHT_MIN)
		return 0;
	double mean = p->apart / p->w, spread = fmax(scaling_spread(s), FLOOR * FLOOR);
	*sure = mean > PEER_Z * EXCESS * sqrt(spread / p->w);
	return exp(mean);
}
