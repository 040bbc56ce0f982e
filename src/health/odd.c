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
 * In calm only totals are read, a cache line or two a worker and backend; workers
 * count by what was asked while the pool is watched.  Nobody is compared to what others
 * answered while it was not there.
 *
 * Any ejected backend is tried, unless requests go by keys: whose try would it be?
 * For those, and without traffic, an ejection ends by time (eject.c).
 *
 * Here are the looks: who is suspected, what is usual.  Proof is in odd_proof.c, the way
 * back in odd_back.c.
 */
#include "odd_parts.h"

#define LOOK_US 250000
#define WATCHED_LOOK_US 100000
/* Watched for so long after the last suspicion. */
#define WATCH_US 15000000
/* Memory of `latest`. */
#define LATEST_US 0.5e6

/* Answers that make a share; the share from which on they are usual, and are no longer. */
#define USUAL_LEAST 8
#define USUAL_FROM 0.05
#define USUAL_UNTIL 0.02

/* ---- reading ---- */

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
	odd->latest *= odd_kept(passed_us, LATEST_US);
	for (unsigned a = 0; a < N_ANSWERS; a++) {
		uint32_t now = sum_answers(t->backend, a);
		came[a] = (double)(now - odd->totals[a]);
		odd->latest += came[a];
		odd->totals[a] = now;
	}
	for (unsigned s = 0; s < ODD_SPANS; s++)
		take_in(&odd->recent[s], came, odd_kept(passed_us, odd_memories_us[s]));
}

/* ---- watching ---- */

static void set_watched(struct health_pool *hp, bool watched)
{
	if (atomic_load_explicit(&hp->state->watched, memory_order_relaxed) == watched)
		return;
	atomic_store_explicit(&hp->state->watched, watched, memory_order_relaxed);
	odd_begin_anew(hp);
	hp->health->host.look(hp->health->host.ctx);
}

/* Worth a closer look: it seems worse than the others, or draws their requests. */
static bool is_suspect(const struct odd_recent *own, const struct odd_recent *all, size_t n)
{
	return odd_is_suspect(own, all) || odd_is_ahead(own->n, all->n - own->n, n);
}

static bool anybody_suspect(const struct health_pool *hp)
{
	list_each (it, &hp->targets)
		if (list_entry(it, struct health_target, link)->odd.is_suspect)
			return true;
	for (unsigned s = 0; s < ODD_SPANS; s++) {
		struct odd_recent all = {0};
		size_t n = 0;
		list_each (it, &hp->targets) {
			const struct health_target *t = list_entry(it, struct health_target, link);
			if (!odd_takes_part(t))
				continue;
			odd_recent_add(&all, &t->odd.recent[s]);
			n++;
		}
		list_each (it, &hp->targets) {
			const struct health_target *t = list_entry(it, struct health_target, link);
			if (odd_takes_part(t) && is_suspect(&t->odd.recent[s], &all, n))
				return true;
		}
	}
	return false;
}

/* ---- what is usual ---- */

static void find_usual(struct health_pool *hp)
{
	unsigned voters = 0, votes[N_ANSWERS] = {0};
	uint32_t was = atomic_load_explicit(&hp->state->usual, memory_order_relaxed);
	uint32_t usual = ANSWERS_GOOD;
	list_each (it, &hp->targets) {
		struct health_target *t = list_entry(it, struct health_target, link);
		const struct odd_recent *own = &t->odd.recent[0];
		if (!odd_takes_part(t) || own->n < USUAL_LEAST)
			continue;
		voters++;
		for (unsigned a = 0; a < N_ANSWERS; a++)
			votes[a] += odd_alike(own, a) >=
				    own->n * (was & ANSWER_BIT(a) ? USUAL_UNTIL : USUAL_FROM);
	}
	for (unsigned a = 0; a < N_ANSWERS; a++)
		usual |= votes[a] * 2 > voters ? ANSWER_BIT(a) : 0;
	if (!voters || usual == was)
		return;
	atomic_store_explicit(&hp->state->usual, usual, memory_order_relaxed);
	hp->health->host.look(hp->health->host.ctx);
}

/* ---- looks ---- */

static void look(struct health_pool *hp)
{
	uint64_t now = hp->health->loop->now_us;
	double passed_us = (double)(now - hp->looked_us);
	hp->looked_us = now;
	list_each (it, &hp->targets)
		read_totals(list_entry(it, struct health_target, link), passed_us);
	find_usual(hp);
	if (anybody_suspect(hp) || odd_is_out_for_type(hp))
		hp->watched_until_us = now + WATCH_US;
	bool was = atomic_load_explicit(&hp->state->watched, memory_order_relaxed);
	set_watched(hp, now < hp->watched_until_us);
	if (was && now < hp->watched_until_us)
		odd_weigh(hp);
	list_each (it, &hp->targets) {
		struct health_target *t = list_entry(it, struct health_target, link);
		odd_acquit(t);
		odd_follow_suspect(t);
		if (now - t->odd.named_us > WATCH_US)
			odd_unname(t);
	}
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
	hp->watched_until_us = 0;
	set_watched(hp, false);
	list_each (it, &hp->targets) {
		struct health_target *t = list_entry(it, struct health_target, link);
		atomic_store_explicit(&t->backend->odd.try_us, 0, memory_order_relaxed);
		odd_unname(t);
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
	odd_drop_evidence(t);
}
