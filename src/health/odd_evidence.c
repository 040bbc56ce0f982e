/* SPDX-License-Identifier: MIT */
/* What is held against backends while their pool is watched: whose answers are compared, and
 * since when. */
#include <stdlib.h>
#include <string.h>

#include "odd.h"

#include "weir/base/bitset.h"

void odd_look_again(const struct health *h)
{
	h->host.look(h->host.ctx);
}

void odd_sum_strata(const struct backend *b, odd_counts out)
{
	memset(out, 0, sizeof(odd_counts));
	for (unsigned i = 0; i < b->n_workers; i++) {
		struct odd_strata *strata =
		    atomic_load_explicit(&b->local[i]->odd.strata, memory_order_relaxed);
		for (unsigned s = 0; strata && s < ODD_STRATA; s++) {
			const struct odd_row *row =
			    atomic_load_explicit(&strata->row[s], memory_order_acquire);
			for (unsigned a = 0; row && a < N_ANSWER_COLUMNS; a++)
				out[s][a] += atomic_load_explicit(&row->n[a], memory_order_relaxed);
		}
	}
}

/* ---- what was counted up to a period: most pools are asked in few ways ---- */

void odd_subtract_counted(const struct odd_evidence *evidence, const odd_counts now, odd_counts out)
{
	const uint32_t(*then)[N_ANSWER_COLUMNS] = evidence->counted;
	memcpy(out, now, sizeof(odd_counts));
	for (uint32_t left = evidence->strata; left; left &= left - 1, then++)
		for (unsigned a = 0; a < N_ANSWER_COLUMNS; a++)
			out[__builtin_ctz(left)][a] -= (*then)[a];
}

static bool is_empty(const uint32_t row[N_ANSWER_COLUMNS])
{
	uint32_t all = 0;
	for (unsigned a = 0; a < N_ANSWER_COLUMNS; a++)
		all |= row[a];
	return !all;
}

void odd_keep_counted(struct health_target *t, const odd_counts now)
{
	struct odd_evidence *evidence = t->odd.evidence;
	uint32_t strata = 0;
	for (unsigned s = 0; s < ODD_STRATA; s++)
		strata |= (uint32_t)!is_empty(now[s]) << s;
	uint32_t(*rows)[N_ANSWER_COLUMNS] = evidence->counted;
	if (strata & ~evidence->strata)
		rows = realloc(rows, bits_count(strata) * sizeof(*rows));
	if (strata && !rows) {
		odd_drop_evidence(t);
		return;
	}
	evidence->counted = rows;
	evidence->strata = strata;
	for (uint32_t left = strata; left; left &= left - 1, rows++)
		memcpy(rows, now[__builtin_ctz(left)], sizeof(*rows));
}

static void keep_all_counted(struct health_target *t)
{
	odd_counts now;
	odd_sum_strata(t->backend, now);
	odd_keep_counted(t, now);
}

/* Takes the traffic that is to be compared. */
bool odd_takes_part(const struct health_target *t)
{
	return t->weight > 0 && !t->ejected && backend_state(t->backend) == BACKEND_up;
}

/* From now on it is compared; what came before, under another target perhaps, is not. */
bool odd_make_evidence(struct health_target *t)
{
	struct backend *b = t->backend;
	if (t->odd.evidence)
		return true;
	for (unsigned i = 0; i < b->n_workers; i++)
		if (!atomic_load_explicit(&b->local[i]->odd.strata, memory_order_relaxed))
			/* release: whoever sees the pointer sees the zeroes behind it */
			atomic_store_explicit(&b->local[i]->odd.strata,
					      calloc(1, sizeof(struct odd_strata)),
					      memory_order_release);
	t->odd.evidence = calloc(1, sizeof(*t->odd.evidence));
	if (t->odd.evidence)
		keep_all_counted(t);
	return t->odd.evidence != NULL;
}

/* What it answered before it went says nothing of it when it is back. */
void odd_drop_evidence(struct health_target *t)
{
	if (t->odd.evidence)
		free(t->odd.evidence->counted);
	free(t->odd.evidence);
	t->odd.evidence = NULL;
}

/* What was known is of other times: somebody is left alone, tried and found well again, or
 * suspected anew. */
void odd_begin_anew(struct health_pool *hp)
{
	if (!atomic_load_explicit(&hp->state->watched, memory_order_relaxed))
		return;
	hp->period_us = hp->health->loop->now_us;
	list_each (it, &hp->targets) {
		struct health_target *t = list_entry(it, struct health_target, link);
		if (!odd_takes_part(t)) {
			odd_drop_evidence(t);
			continue;
		}
		if (!odd_make_evidence(t))
			continue;
		memset(t->odd.evidence->proof, 0, sizeof(t->odd.evidence->proof));
		keep_all_counted(t);
	}
}

void odd_begin_anew_of(struct health_target *t)
{
	struct health_pool *hp = t->pool;
	hp->period_us = hp->health->loop->now_us;
	list_each (it, &hp->targets) {
		struct health_target *other = list_entry(it, struct health_target, link);
		if (other->odd.evidence)
			keep_all_counted(other);
	}
	if (t->odd.evidence)
		memset(t->odd.evidence->proof, 0, sizeof(t->odd.evidence->proof));
}

void odd_set_watched(struct health_pool *hp, bool watched, bool anew)
{
	if (atomic_load_explicit(&hp->state->watched, memory_order_relaxed) == watched)
		return;
	atomic_store_explicit(&hp->state->watched, watched, memory_order_relaxed);
	if (anew)
		odd_begin_anew(hp);
	odd_look_again(hp->health);
}
