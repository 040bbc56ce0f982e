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
#include <stdlib.h>

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

/* All that take part, looked at once: of each one all others would be too many looks. */
struct crowd {
	unsigned n;
	double answers[ODD_SPANS], weights;
	/* of whoever is faster more than half of the others take so long, two at least; 0: too few
	 */
	uint64_t most_us;
};

static uint64_t took_us(const struct health_target *t)
{
	return atomic_load_explicit(&t->backend->newest_us, memory_order_relaxed);
}

static int by_time(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static uint64_t median_of(uint64_t *times, size_t n)
{
	qsort(times, n, sizeof(*times), by_time);
	return n > 2 ? times[n / 2] : 0;
}

static struct crowd crowd_of(const struct health_pool *hp)
{
	struct crowd crowd = {0};
	struct arena *arena = arena_new();
	uint64_t *times = arena_array(arena, hp->n_targets, sizeof(*times));
	size_t n_times = 0;
	list_each (it, &hp->targets) {
		const struct health_target *t = list_entry(it, struct health_target, link);
		uint64_t us = took_us(t);
		if (!odd_takes_part(t))
			continue;
		for (unsigned s = 0; s < ODD_SPANS; s++)
			crowd.answers[s] += t->odd.recent[s].n;
		crowd.weights += t->weight;
		crowd.n++;
		if (us && n_times < hp->n_targets)
			times[n_times++] = us;
	}
	crowd.most_us = median_of(times, n_times);
	arena_free(arena);
	return crowd;
}

static bool is_ahead(const struct health_target *t, const struct crowd *crowd)
{
	bool ahead = false;
	for (unsigned s = 0; s < ODD_SPANS && crowd->n > 2; s++) {
		double own = t->odd.recent[s].n;
		ahead |= odd_is_ahead(own, crowd->answers[s] - own,
				      t->weight / (crowd->weights - t->weight));
	}
	return ahead;
}

/* Most of those of whom it is known take several times as long. */
static bool is_faster(const struct health_target *t, const struct crowd *crowd)
{
	uint64_t own = took_us(t);
	return own && crowd->most_us >= FASTER * own && crowd->most_us >= own + FASTER_US;
}

bool odd_find_leaders(struct health_pool *hp)
{
	const struct crowd crowd = crowd_of(hp);
	bool any = false;
	list_each (it, &hp->targets) {
		struct health_target *t = list_entry(it, struct health_target, link);
		t->odd.leads = odd_takes_part(t) && (is_ahead(t, &crowd) || is_faster(t, &crowd));
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
