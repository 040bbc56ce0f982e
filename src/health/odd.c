/* SPDX-License-Identifier: MIT */
/*
 * The odd one out, from counters to an ejection and back; stats/odd.h has the
 * arithmetic.  A look at a pool every LOOK_US, more often while it is watched:
 *
 *            somebody gives more bad answers       proof, by what was asked
 *   calm ------------------------------> watching -------------------------> ejected
 *    ^                                      |                                   |
 *    +------ nobody for WATCH_US -----------+   tried once a second: as good    |
 *    +----------------------------------------- as the others, or they as bad --+
 *
 * Who leads has the pool watched as well, from time to time (odd_lead.c).
 *
 * In calm only totals are read, a cache line or two a worker and backend; workers
 * count by what was asked while the pool is watched.  Nobody is compared to what others
 * answered while it was not there.
 *
 * Any ejected backend is tried, unless requests go by keys: whose try would it be?
 * For those, and without traffic, an ejection ends by time (eject.c).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "odd.h"

#include "weir/base/check.h"

#define LOOK_US 250000
#define WATCHED_LOOK_US 100000
/* A period has as many answers, but lasts so long at least, and at most. */
#define PERIOD_US 1000000
#define PERIOD_MOST_US 60000000
#define PERIOD_ANSWERS (16 * ODD_STRATA)
/* Watched for so long after the last suspicion. */
#define WATCH_US 15000000

/* Memories of what was known; the last is that of `latest`. */
static const double memories_us[ODD_SPANS] = {ODD_SHORT_US, 20e6, 200e6};
#define LATEST_US 0.5e6

/* Answers that make a share; the share from which on they are usual, and are no longer. */
#define USUAL_LEAST 8
#define USUAL_FROM 0.05
#define USUAL_UNTIL 0.02
/* One that has given so many, and hardly ever a bad kind, is right about it: the others, if they
 * fail at once, have drawn its requests, and were the most. */
#define USUAL_SURE 100

/* ---- reading ---- */

/* What is kept of what was known `us` ago. */
static double keep(double us, double memory_us)
{
	return exp(-us / memory_us);
}

static uint32_t sum_answers(const struct backend *b, unsigned kind)
{
	uint32_t sum = 0;
	for (unsigned i = 0; i < b->n_workers; i++)
		sum += atomic_load_explicit(&b->local[i]->odd.answers[kind], memory_order_relaxed);
	return sum;
}

/* Answers that came since the last look. */
static void take_in(struct odd_recent *recent, const double came[N_ANSWERS], double kept)
{
	recent->n = recent->bad = 0;
	for (unsigned a = 0; a < N_ANSWERS; a++) {
		recent->of[a] = recent->of[a] * kept + came[a];
		recent->n += recent->of[a];
		recent->bad += answer_is_bad((enum answer_kind)a) ? recent->of[a] : 0;
	}
}

static void read_totals(struct health_target *t, double passed_us)
{
	struct odd_target *odd = &t->odd;
	double came[N_ANSWERS];
	odd->latest *= keep(passed_us, LATEST_US);
	odd->came = 0;
	for (unsigned a = 0; a < N_ANSWERS; a++) {
		uint32_t now = sum_answers(t->backend, a);
		came[a] = (double)(now - odd->totals[a]);
		odd->came += came[a];
		odd->totals[a] = now;
	}
	odd->latest += odd->came;
	for (unsigned s = 0; s < ODD_SPANS; s++)
		take_in(&odd->recent[s], came, keep(passed_us, memories_us[s]));
}

/* ---- watching ---- */

/* Seems worse than the others. */
static bool anybody_suspect(const struct health_pool *hp)
{
	list_each (it, &hp->targets)
		if (list_entry(it, struct health_target, link)->odd.is_suspect)
			return true;
	for (unsigned s = 0; s < ODD_SPANS; s++) {
		struct odd_recent all = {0};
		list_each (it, &hp->targets) {
			const struct health_target *t = list_entry(it, struct health_target, link);
			if (odd_takes_part(t))
				odd_add_voice(&all, &t->odd.recent[s]);
		}
		list_each (it, &hp->targets) {
			const struct health_target *t = list_entry(it, struct health_target, link);
			if (odd_takes_part(t) && odd_is_suspect(&t->odd.recent[s], &all))
				return true;
		}
	}
	return false;
}

/* ---- what is usual ---- */

/* Bad kinds that it hardly ever gives, as far as is known. */
static uint32_t never_gives(const struct odd_recent *of)
{
	uint32_t kinds = 0;
	for (unsigned a = 0; a < N_ANSWERS && of->n >= USUAL_SURE; a++)
		if (answer_is_bad((enum answer_kind)a) && of->of[a] < of->n * USUAL_UNTIL)
			kinds |= ANSWER_BIT(a);
	return kinds & ~ANSWERS_GOOD;
}

static void find_usual(struct health_pool *hp)
{
	unsigned voters = 0, votes[N_ANSWERS] = {0};
	uint32_t never = 0;
	uint32_t was = atomic_load_explicit(&hp->state->usual, memory_order_relaxed);
	uint32_t usual = ANSWERS_GOOD;
	list_each (it, &hp->targets) {
		struct health_target *t = list_entry(it, struct health_target, link);
		const struct odd_recent *own = &t->odd.recent[0];
		if (odd_takes_part(t))
			never |= never_gives(&t->odd.recent[ODD_SPANS - 1]);
		if (!odd_takes_part(t) || own->n < USUAL_LEAST)
			continue;
		voters++;
		for (unsigned a = 0; a < N_ANSWERS; a++)
			votes[a] += odd_alike(own, a) >=
				    own->n * (was & ANSWER_BIT(a) ? USUAL_UNTIL : USUAL_FROM);
	}
	for (unsigned a = 0; a < N_ANSWERS; a++)
		usual |= votes[a] * 2 > voters ? ANSWER_BIT(a) : 0;
	usual &= ~never;
	if (!voters || usual == was)
		return;
	atomic_store_explicit(&hp->state->usual, usual, memory_order_relaxed);
	odd_look_again(hp->health);
}

/* ---- proof ---- */

static void hold(struct health_target *t, bool held)
{
	if (atomic_exchange_explicit(&t->backend->odd.held, held, memory_order_relaxed) != held)
		odd_look_again(t->health);
}

/* It keeps what is due to its weight, but what it does must not draw more. */
static void name(struct health_target *t, const struct odd_finding *f)
{
	bool known = *t->odd.why != '\0';
	char finding[ODD_TEXT], why[BACKEND_REASON_MAX];
	odd_say(f, finding);
	snprintf(why, sizeof(why), "%.67s: outlier.max_ejected does not let it be left alone",
		 finding);
	t->odd.named_us = t->health->loop->now_us;
	hold(t, true);
	if (strcmp(why, t->odd.why) == 0)
		return;
	memcpy(t->odd.why, why, sizeof(why));
	target_settle(t, t->odd.why);
	if (!known)
		target_note(t, t->odd.why);
}

static void unname(struct health_target *t)
{
	hold(t, false);
	if (!*t->odd.why)
		return;
	*t->odd.why = '\0';
	target_settle(t, "");
}

static void convict(struct health_target *t, const struct odd_finding *f)
{
	char finding[ODD_TEXT];
	odd_say(f, finding);
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
		if (j.n == hp->n_targets || !odd_make_evidence(t))
			continue;
		odd_sum_strata(t->backend, j.now[j.n]);
		odd_subtract_counted(t->odd.evidence, j.now[j.n], j.counts[j.n]);
		j.of[j.n++] = t;
	}
	struct odd_case *came = arena_array(arena, j.n, sizeof(struct odd_case));
	odd_fold(came, (const odd_counts *)j.counts, j.n);
	for (unsigned s = 0; s < ODD_SPANS; s++) {
		double kept = keep(passed_us, memories_us[s]);
		j.cases[s] = arena_array(arena, j.n, sizeof(struct odd_case));
		for (size_t i = 0; i < j.n; i++) {
			j.cases[s][i] = j.of[i]->odd.evidence->proof[s];
			odd_case_add(&j.cases[s][i], &came[i], kept);
		}
	}
	return j;
}

/* The worst that there is proof of, by one memory or another. */
static bool find_proof(const struct jury *j, size_t i, struct odd_finding *worst)
{
	const struct health_target *t = j->of[i];
	bool found = false;
	for (unsigned s = 0; s < ODD_SPANS; s++) {
		struct odd_finding f;
		if (t->health->loop->now_us < t->odd.peace_until_us ||
		    !odd_judge(&j->cases[s][i], j->n, t->odd.leads, &f) ||
		    (found && f.bad - f.others_bad <= worst->bad - worst->others_bad))
			continue;
		found = true;
		*worst = f;
		worst->grpc = atomic_load_explicit(&t->backend->odd.grpc, memory_order_relaxed);
	}
	return found;
}

/* The worst of those there is proof against; one a look, what is left is seen at the next.
 * Those that are to stay are named, all of them. */
static struct health_target *find_worst(const struct jury *j, struct odd_finding *worst)
{
	struct health_target *found = NULL;
	for (size_t i = 0; i < j->n; i++) {
		struct odd_finding f;
		if (!find_proof(j, i, &f))
			continue;
		if (!target_may_eject(j->of[i])) {
			name(j->of[i], &f);
			continue;
		}
		if (found && f.bad - f.others_bad <= worst->bad - worst->others_bad)
			continue;
		found = j->of[i];
		*worst = f;
	}
	return found;
}

static bool anybody_leans(const struct jury *j)
{
	for (size_t k = 0; k < j->n * ODD_SPANS; k++)
		if (j->of[k % j->n]->odd.leads && odd_leans(&j->cases[k / j->n][k % j->n], j->n))
			return true;
	return false;
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
		odd_keep_counted(j->of[i], j->now[i]);
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

static void weigh(struct health_pool *hp, struct arena *arena)
{
	struct odd_finding f;
	struct jury j = gather(hp, arena);
	struct health_target *worst = find_worst(&j, &f);
	if (is_over(hp, &j))
		end_period(hp, &j);
	if (worst)
		convict(worst, &f);
	else if (anybody_leans(&j))
		odd_ask_on(hp);
}

/* ---- looks ---- */

/* Of who leads it is seen from time to time, too short each for few requests: that adds up.
 * What is older than a period or two is of other times. */
static bool watch(struct health_pool *hp, bool leads)
{
	uint64_t now = hp->health->loop->now_us;
	bool suspect = anybody_suspect(hp) || odd_is_out_for_type(hp);
	if (suspect)
		hp->watch.until_us = now + WATCH_US;
	bool watched = leads || now < hp->watch.until_us;
	odd_set_watched(hp, watched, suspect || now - hp->period_us > 2 * PERIOD_MOST_US);
	return watched;
}

static void look(struct health_pool *hp)
{
	uint64_t now = hp->health->loop->now_us;
	double passed_us = (double)(now - hp->looked_us);
	hp->looked_us = now;
	list_each (it, &hp->targets)
		read_totals(list_entry(it, struct health_target, link), passed_us);
	find_usual(hp);
	bool was = atomic_load_explicit(&hp->state->watched, memory_order_relaxed);
	if (watch(hp, odd_find_leaders(hp)) && was) {
		struct arena *arena = arena_new();
		weigh(hp, arena);
		arena_free(arena);
	}
	list_each (it, &hp->targets) {
		struct health_target *t = list_entry(it, struct health_target, link);
		odd_acquit(t);
		odd_follow_suspect(t);
		if (now - t->odd.named_us > WATCH_US)
			unname(t);
	}
	odd_ask(hp);
}

static void on_look(struct timer *timer)
{
	struct health_pool *hp = container_of(timer, struct health_pool, odd_look);
	look(hp);
	bool watched = atomic_load_explicit(&hp->state->watched, memory_order_relaxed);
	loop_timer(hp->health->loop, &hp->odd_look, watched ? WATCHED_LOOK_US : LOOK_US);
}

static void stop(struct health_pool *hp)
{
	timer_clear(&hp->odd_look);
	hp->watch.until_us = 0;
	odd_set_watched(hp, false, false);
	list_each (it, &hp->targets) {
		struct health_target *t = list_entry(it, struct health_target, link);
		atomic_store_explicit(&t->backend->odd.try_us, 0, memory_order_relaxed);
		odd_stop_asking(t);
		unname(t);
		if (t->ejected && t->odd.is_cause)
			target_bring_back(t, TRIAL_OFF, "outlier.odd was switched off");
	}
}

void pool_follow_odd(struct health_pool *hp, const struct pool *pool)
{
	const struct conf_outlier *conf = &pool->conf->outlier;
	bool on = conf->on && conf->odd;
	hp->state = pool->state;
	hp->tries = on && !(pool->strategy->needs & NEEDS_KEY);
	hp->odd_look.fn = on_look;
	if (!on)
		stop(hp);
	else if (!timer_is_set(&hp->odd_look))
		loop_timer(hp->health->loop, &hp->odd_look, LOOK_US);
}

void target_begin_odd(struct health_target *t)
{
	for (unsigned a = 0; a < N_ANSWERS; a++)
		t->odd.totals[a] = sum_answers(t->backend, a);
	odd_blame(t, ODD_ANY);
}

void target_free_odd(struct health_target *t)
{
	atomic_store_explicit(&t->backend->odd.try_us, 0, memory_order_relaxed);
	atomic_store_explicit(&t->backend->odd.held, false, memory_order_relaxed);
	odd_drop_evidence(t);
}
