/* SPDX-License-Identifier: MIT */
/*
 * Who looks better than the others: draws their requests, for its weight, or answers in a
 * fraction of their time.  It may be so by giving something else, so types of answers
 * are compared for these only (stats/odd.h).
 *
 * One that draws nearly all leaves nothing to compare to.  So some of the others are asked
 * a few times a second, for a while, and again from time to time: a good backend may lead
 * for ever.
 */
#include "odd.h"

/* As fast as this, at a difference that is one. */
#define FASTER 3
#define FASTER_US 1000

/* Others that are asked, at each look that finds so few new answers of theirs. */
#define VOICES 8
#define VOICE_FEW 1
/* So long, and again after that. */
#define ASK_US 4000000
#define ASK_AGAIN_US 12000000

/* ---- who leads ---- */

static bool is_ahead(const struct health_target *t, unsigned span)
{
	struct odd_recent all = {0};
	double weights = 0;
	unsigned n = 0;
	list_each (it, &t->pool->targets) {
		const struct health_target *other = list_entry(it, struct health_target, link);
		if (other == t || !odd_takes_part(other))
			continue;
		odd_add_recent(&all, &other->odd.recent[span]);
		weights += other->weight;
		n++;
	}
	return n > 1 && odd_is_ahead(t->odd.recent[span].n, all.n, t->weight / weights);
}

static uint64_t took_us(const struct health_target *t)
{
	return atomic_load_explicit(&t->backend->newest_us, memory_order_relaxed);
}

/* Most of those of whom it is known take several times as long. */
static bool is_faster(const struct health_target *t)
{
	const uint64_t own = took_us(t);
	unsigned n = 0, slower = 0;
	list_each (it, &t->pool->targets) {
		const struct health_target *other = list_entry(it, struct health_target, link);
		uint64_t us = took_us(other);
		if (other == t || !odd_takes_part(other) || !us)
			continue;
		slower += us >= FASTER * own && us >= own + FASTER_US;
		n++;
	}
	return own && slower > 1 && slower * 2 > n;
}

static bool leads(const struct health_target *t)
{
	bool ahead = false;
	for (unsigned s = 0; s < ODD_SPANS && !ahead; s++)
		ahead = is_ahead(t, s);
	return ahead || is_faster(t);
}

bool odd_find_leaders(struct health_pool *hp)
{
	bool any = false;
	list_each (it, &hp->targets) {
		struct health_target *t = list_entry(it, struct health_target, link);
		t->odd.leads = odd_takes_part(t) && leads(t);
		any |= t->odd.leads;
	}
	return any;
}

/* ---- voices ---- */

static bool is_asked_about(struct odd_target *odd, uint64_t now)
{
	if (odd->leads && now >= odd->ask_again_us) {
		odd->ask_until_us = now + ASK_US;
		odd->ask_again_us = now + ASK_AGAIN_US;
	}
	return odd->leads && now < odd->ask_until_us;
}

/* The next request is for it, even one that cannot be repeated: nothing speaks against it. */
static void ask(struct health_target *t)
{
	_Atomic uint64_t *try_us = &t->backend->odd.try_us;
	if (atomic_load_explicit(try_us, memory_order_relaxed) != 1)
		atomic_store_explicit(try_us, 1, memory_order_relaxed);
	if (!t->odd.is_voice)
		odd_look_again(t->health);
	t->odd.is_voice = true;
}

void odd_stop_asking(struct health_target *t)
{
	if (t->odd.is_voice && !t->ejected && !t->odd.is_suspect)
		atomic_store_explicit(&t->backend->odd.try_us, 0, memory_order_relaxed);
	t->odd.is_voice = false;
}

void odd_ask_others(struct health_pool *hp)
{
	bool asks = false;
	unsigned voices = 0;
	list_each (it, &hp->targets)
		asks |= is_asked_about(&list_entry(it, struct health_target, link)->odd,
				       hp->health->loop->now_us);
	list_each (it, &hp->targets) {
		struct health_target *t = list_entry(it, struct health_target, link);
		bool may = hp->tries && asks && voices < VOICES && odd_takes_part(t) &&
			   !t->odd.leads && !t->odd.is_suspect;
		voices += may;
		if (may && t->odd.came <= VOICE_FEW)
			ask(t);
		else
			odd_stop_asking(t);
	}
}
