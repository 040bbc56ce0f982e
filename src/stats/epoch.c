/* SPDX-License-Identifier: MIT */
/* An epoch: the time since a change in which evidence is comparable. */
#include <math.h>

#include "weir/base/hash.h"

#include "recent.h"
#include "scaling.h"

#define DRAINED_MAX_US 10e6

/* R is of who serves now, with what limits. */
static void forget_now(struct scaling *s, const char *cause, uint64_t now_us)
{
	recents_forget(s->recent_now, RECENT_NOW);
	s->since = (struct spread){0};
	s->member_block = s->n_blocks;
	s->opinion = (struct scaling_opinion){.verdict = VERDICT_not_enough_data};
	s->epoch_cause = cause;
	s->epoch_us = now_us;
	s->fine_rate = s->fine_p95_us = s->fine_usual = 0;
	s->slowed_us = 0;
}

void scaling_begin_epoch(struct scaling *s, const char *cause, uint64_t now_us)
{
	forget_now(s, cause, now_us);
	recents_forget(s->recent_alone, RECENT_ALONE);
	recents_forget(s->recent_solo, RECENT_ALONE);
	s->first_block = s->n_blocks;
	s->change.was.n = 0; /* what comes is not its */
	s->one_is_free = false;
	s->shift = (struct scaling_shift){0};
	scaling_forget_sizes(s);
	s->epoch++; /* the parts follow at their next fold */
}

static uint64_t mix(uint64_t sum, uint64_t x)
{
	return hash_mix(sum ^ x);
}

/* Members that take requests, their weights, limits, and whether their load is looked at. */
static uint64_t signature_of(const struct scaling_input *in)
{
	uint64_t sum = in->pooled;
	for (size_t i = 0; i < in->n; i++) {
		const struct scaling_member *m = &in->members[i];
		if (!m->usable)
			continue;
		for (size_t k = 0; k < m->name.len; k++)
			sum = mix(sum, (unsigned char)m->name.ptr[k]);
		sum = mix(sum, (uint64_t)(m->weight * 1024));
		sum = mix(sum, m->limit);
	}
	return sum ? sum : 1;
}

/* With another limit or strategy a full backend does something else. */
static uint64_t rules_of(const struct scaling_input *in)
{
	uint64_t most = 0;
	for (size_t i = 0; i < in->n; i++)
		if (in->members[i].usable && in->members[i].limit > most)
			most = in->members[i].limit;
	return most * 2 + in->pooled;
}

/* What a request takes alone does not depend on how many others there are: that stays. */
void scaling_look_epoch(struct scaling *s, const struct scaling_input *in)
{
	uint64_t signature = signature_of(in);
	if (s->signature && signature != s->signature) {
		s->drained_us = in->now_us + (uint64_t)fmin(s->now_p99_us, DRAINED_MAX_US);
		forget_now(s, "members, weights or limits changed", in->now_us);
	}
	s->signature = signature;
	uint64_t rules = rules_of(in);
	if (rules != s->rules)
		scaling_forget_sizes(s);
	s->rules = rules;
}
