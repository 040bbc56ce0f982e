/* SPDX-License-Identifier: MIT */
/*
 * Proof that a backend is the odd one: while a pool is watched, answers are counted by what was
 * asked, each is compared to what the others of its period got, and who is found guilty goes.
 */
#include "odd_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weir/base/check.h"

/* A period has as many answers, but lasts so long at least, and at most. */
#define PERIOD_US 1000000
#define PERIOD_MOST_US 60000000
#define PERIOD_ANSWERS (16 * ODD_STRATA)

/* ---- evidence ---- */

static void sum_strata(const struct backend *b, odd_counts out)
{
	memset(out, 0, sizeof(odd_counts));
	for (unsigned i = 0; i < b->n_workers; i++) {
		struct odd_strata *strata =
		    atomic_load_explicit(&b->local[i]->odd.strata, memory_order_relaxed);
		for (unsigned s = 0; strata && s < ODD_STRATA; s++)
			for (unsigned a = 0; a < N_ANSWER_COLUMNS; a++)
				out[s][a] +=
				    atomic_load_explicit(&strata->n[s][a], memory_order_relaxed);
	}
}

static void subtract(const odd_counts now, const odd_counts then, odd_counts out)
{
	for (unsigned s = 0; s < ODD_STRATA; s++)
		for (unsigned a = 0; a < N_ANSWER_COLUMNS; a++)
			out[s][a] = now[s][a] - then[s][a];
}

bool odd_takes_part(const struct health_target *t)
{
	return t->weighted && !t->ejected && backend_state(t->backend) == BACKEND_up;
}

/* From now on it is compared; what came before, under another target perhaps, is not. */
static bool make_strata(struct health_target *t)
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
		sum_strata(b, t->odd.evidence->counted);
	return t->odd.evidence != NULL;
}

void odd_drop_evidence(struct health_target *t)
{
	free(t->odd.evidence);
	t->odd.evidence = NULL;
}

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
		if (!make_strata(t))
			continue;
		memset(t->odd.evidence->proof, 0, sizeof(t->odd.evidence->proof));
		sum_strata(t->backend, t->odd.evidence->counted);
	}
}

/* ---- proof ---- */

static void name(struct health_target *t, const char *finding)
{
	bool known = *t->odd.why != '\0';
	snprintf(t->odd.why, sizeof(t->odd.why),
		 "%.67s: outlier.max_ejected does not let it be left alone", finding);
	t->odd.named_us = t->health->loop->now_us;
	target_settle(t, t->odd.why);
	if (!known)
		target_note(t, t->odd.why);
}

void odd_unname(struct health_target *t)
{
	if (!*t->odd.why)
		return;
	*t->odd.why = '\0';
	target_settle(t, "");
}

static void convict(struct health_target *t, const struct odd_finding *f)
{
	char finding[ODD_TEXT];
	odd_say(f, finding);
	if (!target_may_eject(t)) {
		name(t, finding);
		return;
	}
	snprintf(t->eject_reason, sizeof(t->eject_reason), "%.67s: left alone, tried once a second",
		 finding);
	t->odd.bad = f->bad;
	t->odd.others = f->others_bad;
	t->odd.is_cause = true;
	odd_blame(t, f->answer);
	target_eject(t, EJECTION_odd);
	odd_begin_anew(t->pool);
}

/* Those that are compared at a look. */
struct jury {
	size_t n;
	struct health_target **of;
	odd_counts *now;                   /* all that was counted so far */
	odd_counts *counts;                /* of this period */
	struct odd_case *cases[ODD_SPANS]; /* with what was known before it */
	bool grew;                         /* somebody came, or came back */
};

static struct jury gather(struct health_pool *hp, struct arena *arena)
{
	struct jury j = {
	    .of = arena_array(arena, hp->n_targets, sizeof(struct health_target *)),
	    .now = arena_array(arena, hp->n_targets, sizeof(odd_counts)),
	    .counts = arena_array(arena, hp->n_targets, sizeof(odd_counts)),
	};
	double passed_us = (double)(hp->health->loop->now_us - hp->period_us);
	list_each (it, &hp->targets) {
		struct health_target *t = list_entry(it, struct health_target, link);
		if (!odd_takes_part(t)) {
			odd_drop_evidence(t);
			continue;
		}
		j.grew |= !t->odd.evidence;
		if (j.n == hp->n_targets || !make_strata(t))
			continue;
		sum_strata(t->backend, j.now[j.n]);
		subtract(j.now[j.n], t->odd.evidence->counted, j.counts[j.n]);
		j.of[j.n++] = t;
	}
	for (unsigned s = 0; s < ODD_SPANS; s++) {
		j.cases[s] = arena_array(arena, j.n, sizeof(struct odd_case));
		for (size_t i = 0; i < j.n; i++)
			j.cases[s][i] = j.of[i]->odd.evidence->proof[s];
		odd_fold(j.cases[s], (const odd_counts *)j.counts, j.n,
			 odd_kept(passed_us, odd_memories_us[s]));
	}
	return j;
}

/* The worst of those there is proof against; one a look, what is left is seen at the next. */
static struct health_target *find_worst(const struct jury *j, struct odd_finding *worst)
{
	struct health_target *found = NULL;
	for (size_t k = 0; k < j->n * ODD_SPANS; k++) {
		struct health_target *t = j->of[k % j->n];
		struct odd_finding f;
		if (t->health->loop->now_us < t->odd.peace_until_us ||
		    !odd_judge(&j->cases[k / j->n][k % j->n], j->n, &f) ||
		    (found && f.bad - f.others_bad <= worst->bad - worst->others_bad))
			continue;
		found = t;
		*worst = f;
	}
	return found;
}

/*
 * Answers are compared within a period: in shorter ones too few meet others of their
 * kind.  There are looks before it is over, since bad answers may come by the thousand.  Who
 * comes within it was not asked when the others were: it ends, and the next is of all.
 */
static void end_period(struct health_pool *hp, const struct jury *j)
{
	hp->period_us = hp->health->loop->now_us;
	for (size_t i = 0; i < j->n; i++) {
		struct odd_evidence *evidence = j->of[i]->odd.evidence;
		for (unsigned s = 0; s < ODD_SPANS; s++)
			evidence->proof[s] = j->cases[s][i];
		memcpy(evidence->counted, j->now[i], sizeof(odd_counts));
	}
}

static bool is_over(const struct health_pool *hp, const struct jury *j)
{
	uint64_t passed_us = hp->health->loop->now_us - hp->period_us, answers = 0;
	for (size_t i = 0; i < j->n; i++)
		for (unsigned s = 0; s < ODD_STRATA; s++)
			for (unsigned a = 0; a < N_ANSWERS; a++)
				answers += j->counts[i][s][a];
	return j->grew || passed_us >= (answers >= PERIOD_ANSWERS ? PERIOD_US : PERIOD_MOST_US);
}

void odd_weigh(struct health_pool *hp)
{
	struct odd_finding f;
	struct arena *arena = arena_new();
	struct jury j = gather(hp, arena);
	struct health_target *worst = find_worst(&j, &f);
	if (is_over(hp, &j))
		end_period(hp, &j);
	if (worst)
		convict(worst, &f);
	arena_free(arena);
}
