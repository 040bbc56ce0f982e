/* SPDX-License-Identifier: MIT */
/*
 * The way back of one that was left alone: by tries that show that it is well, or since the others
 * answer so, too.  And tries of a suspect.
 */
#include <math.h>

#include "odd.h"

/* A suspect that its strategy avoids so well that nothing proves or acquits it: it failed not
 * long ago, and has less than a quarter of what the others have on average, if that is
 * enough to tell. */
#define SUSPECT_US 10000000
#define STARVED_PART 4
#define STARVED_OTHERS 16
/* It is tried more often for a while. */
#define SUSPECT_TRY_US 250000
#define SUSPECT_TRIES 16

/* At few requests a second a try a second is more than one in so many of them: then up to
 * TRY_MOST_US. */
#define TRY_ONE_IN 80
#define TRY_MOST_US 1600000
/* One that took long is made up for by as many times its time. */
#define TRY_TIMES 20
/* How often over a backend must have shown that it is right again, at most. */
#define TIMES_MAX 8
/* Answers of the others that say how they are and may acquit it, and how long it is left in
 * peace then. */
#define OTHERS_LEAST 50
#define PEACE_US 60000000
#define PEACE_DOUBLED_MAX 6

/* Those that take part, itself left out, each with one voice; `n` are their answers lately. */
static struct odd_recent of_others(const struct health_target *t, unsigned span, double *n)
{
	struct odd_recent all = {0};
	*n = 0;
	list_each (it, &t->pool->targets) {
		const struct health_target *other = list_entry(it, struct health_target, link);
		if (other == t || !odd_takes_part(other))
			continue;
		odd_add_voice(&all, &other->odd.recent[span]);
		*n += other->odd.recent[span].n;
	}
	return all;
}

/* Types are only counted while the pool is watched: so it is as long as somebody is out for one. */
bool odd_is_out_for_type(const struct health_pool *hp)
{
	list_each (it, &hp->targets) {
		const struct health_target *t = list_entry(it, struct health_target, link);
		if (t->ejected && t->odd.is_cause && answer_is_type(t->odd.answer))
			return true;
	}
	return false;
}

/* Their share of answers of its type since it was left alone, of `n`. */
static double others_type(const struct health_target *t, double *n)
{
	double shares = 0, voices = 0;
	*n = 0;
	list_each (it, &t->pool->targets) {
		const struct health_target *other = list_entry(it, struct health_target, link);
		if (other == t || !odd_takes_part(other) || !other->odd.evidence)
			continue;
		const struct odd_case *proof = &other->odd.evidence->proof[1];
		*n += proof->n;
		if (proof->n < ODD_VOICE_LEAST)
			continue;
		shares += proof->seen[t->odd.answer] / proof->n;
		voices++;
	}
	return voices > 0 ? shares / voices : t->odd.others;
}

/* Their share of answers that are as bad, of the `n` of the shortest memory that has enough. */
static double others_bad(const struct health_target *t, double *n)
{
	double bad = 0;
	if (answer_is_type(t->odd.answer))
		return others_type(t, n);
	const uint32_t fails = odd_fails_others(t->odd.answer);
	struct odd_recent all = of_others(t, 0, n);
	for (unsigned s = 1; s < ODD_SPANS && *n < OTHERS_LEAST; s++)
		all = of_others(t, s, n);
	for (unsigned a = 0; a < N_ANSWERS; a++)
		bad += fails & ANSWER_BIT(a) ? all.of[a] : 0;
	return all.n > 0 ? bad / all.n : 0;
}

/*
 * The others answer so as well, now that they have its requests: then it was these.  They
 * must have become worse: a pool may give many answers of these kinds in its ordinary life.
 */
void odd_acquit(struct health_target *t)
{
	double n, enough = (t->odd.bad + t->odd.others) / 2;
	uint64_t now = t->health->loop->now_us;
	if (!t->ejected || !t->odd.is_cause || others_bad(t, &n) < enough || n < OTHERS_LEAST)
		return;
	t->odd.peace_until_us = now + ((uint64_t)PEACE_US << t->odd.n_peace);
	t->odd.n_peace += t->odd.n_peace < PEACE_DOUBLED_MAX;
	target_bring_back(t, TRIAL_OFF, "the others answer so, too: it is what they are asked");
	odd_begin_anew(t->pool);
}

/* One that is often right is asked on; one that let a request wait long is not, for long. */
static void try_after(struct health_target *t, bool failed, uint64_t least_us)
{
	uint64_t took = atomic_load_explicit(&t->backend->odd.took_us, memory_order_relaxed);
	uint64_t most = t->pool->outlier.max_eject_us, gap = least_us;
	if (took > ODD_TRY_US)
		gap = took * TRY_TIMES < most ? took * TRY_TIMES : most;
	odd_try_in(t, !failed || t->odd.trial.score > 0 ? 0 : gap);
}

static bool is_starved(const struct health_target *t)
{
	double others = 0;
	unsigned n = 0;
	list_each (it, &t->pool->targets) {
		const struct health_target *other = list_entry(it, struct health_target, link);
		if (other == t || !odd_takes_part(other))
			continue;
		others += other->odd.latest;
		n++;
	}
	return others >= STARVED_OTHERS && t->odd.latest * STARVED_PART * n < others;
}

/* So that it is known what it answers, and not only what it answered. */
void odd_follow_suspect(struct health_target *t)
{
	uint64_t now = t->health->loop->now_us,
		 at = atomic_load_explicit(&t->backend->odd.error_us, memory_order_relaxed);
	bool failed = at > t->odd.cleared_us && now < at + SUSPECT_US;
	bool suspect =
	    failed && t->pool->tries && odd_takes_part(t) && (t->odd.is_suspect || is_starved(t));
	if (suspect == t->odd.is_suspect || t->ejected)
		return;
	t->odd.is_suspect = suspect;
	t->odd.trial = (struct odd_trial){0};
	t->odd.n_tries = 0;
	if (suspect) {
		odd_try_in(t, 0);
		odd_begin_anew_of(t);
	} else {
		atomic_store_explicit(&t->backend->odd.try_us, 0, memory_order_relaxed);
	}
	odd_look_again(t->health);
}

static void note_suspect(struct health_target *t, bool failed)
{
	double n, now = others_bad(t, &n);
	if (odd_trial_note(&t->odd.trial, failed, 1, now, 1)) {
		t->odd.is_suspect = false;
		t->odd.cleared_us = t->health->loop->now_us;
		strategy_forgive(&t->backend->memory);
		atomic_store_explicit(&t->backend->odd.try_us, 0, memory_order_relaxed);
		return;
	}
	bool often = t->odd.n_tries++ < SUSPECT_TRIES;
	try_after(t, failed, often ? SUSPECT_TRY_US : ODD_TRY_US);
}

static uint64_t try_gap_us(const struct health_target *t)
{
	double n;
	of_others(t, 0, &n);
	double gap_us = TRY_ONE_IN * ODD_SHORT_US / fmax(n, 1);
	return (uint64_t)fmin(fmax(gap_us, ODD_TRY_US), TRY_MOST_US);
}

/* Errors in a row do not say how often: it may have been right in between, and tries tell. */
static void learn_share(struct odd_target *odd, bool failed)
{
	odd->n_tried++;
	odd->n_failed += failed;
	if (failed)
		odd->bad = fmin(odd->bad, (odd->n_failed + 1.0) / (odd->n_tried + 1.0));
}

void odd_note_try(struct health_target *t, bool failed)
{
	double n, now = others_bad(t, &n);
	unsigned times = t->n_ejected < TIMES_MAX ? t->n_ejected : TIMES_MAX;
	if (!t->ejected && t->odd.is_suspect)
		note_suspect(t, failed);
	if (!t->ejected || !t->pool->tries)
		return;
	t->odd.tried_us = t->health->loop->now_us;
	learn_share(&t->odd, failed);
	if (odd_trial_note(&t->odd.trial, failed, t->odd.bad, now, times ? times : 1)) {
		target_bring_back(t, TRIAL_OFF, "it answers as the others do: in service again");
		odd_begin_anew(t->pool);
	} else {
		try_after(t, failed, try_gap_us(t));
	}
}
