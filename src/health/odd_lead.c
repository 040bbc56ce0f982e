/* SPDX-License-Identifier: MIT */
/*
 * Who looks better than the others: draws their requests, for its weight, or answers in a
 * fraction of their time.  It may be so by giving something else, so types of answers
 * are compared for these only (stats/odd.h).
 *
 * A good backend may lead for ever, and to compare costs each request something.  So its pool is
 * watched for a while, and soon again, since it may change: a third of the time, or always where
 * few requests come.  One that draws nearly all leaves nothing to compare to: in that third whoever
 * has had the fewest is asked.
 */
#include <math.h>
#include <stdlib.h>

#include "odd.h"

/* As fast as this, at a difference that is one. */
#define FASTER 3
#define FASTER_US 1000
/* Speeds are told once a second: so long after it is back, and as long as a speed is of, that of a
 * backend may be that of tries that failed. */
#define TOLD_US 1500000

/* Of up to so many the time of most is that of all, of more that of every second, third ... */
#define TIMES 256

/* Others that are asked, at each look that finds so few new answers of theirs. */
#define VOICES 8
#define VOICE_FEW 1
/* So long, and again after that; sooner when one begins to lead, so often in a row. */
#define ASK_US 1500000
#define ASK_AGAIN_US (3 * ASK_US)
#define ASK_AHEAD 6
/* Of the last two seconds: so few, and to compare them costs nothing. */
#define FEW_ANSWERS 100

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
	uint64_t times[TIMES];
	const unsigned each = hp->n_targets / TIMES + 1;
	size_t n_times = 0;
	list_each (it, &hp->targets) {
		const struct health_target *t = list_entry(it, struct health_target, link);
		uint64_t us = took_us(t);
		if (!odd_takes_part(t))
			continue;
		for (unsigned s = 0; s < ODD_SPANS; s++)
			crowd.answers[s] += t->odd.recent[s].n;
		crowd.weights += t->weight;
		if (us && crowd.n % each == 0 && n_times < TIMES)
			times[n_times++] = us;
		crowd.n++;
	}
	crowd.most_us = median_of(times, n_times);
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
	uint64_t span = atomic_load_explicit(&t->backend->newest_span_us, memory_order_relaxed);
	if (t->health->loop->now_us < t->odd.back_us + span + TOLD_US)
		return false;
	return own && crowd->most_us >= FASTER * own && crowd->most_us >= own + FASTER_US;
}

/* ---- when they are compared ---- */

static void open_window(struct health_pool *hp, uint64_t now)
{
	struct odd_watch *w = &hp->watch;
	uint64_t from = w->ask_until_us > now ? w->ask_until_us : now;
	uint64_t again = w->ask_again_us > now ? w->ask_again_us : now;
	if (from == now)
		list_each (it, &hp->targets)
			list_entry(it, struct health_target, link)->odd.told = 0;
	w->ask_until_us = now + ASK_US;
	w->ask_again_us = again + (w->ask_until_us - from) * (ASK_AGAIN_US / ASK_US);
}

/* Who led by accident a moment ago may do so for a reason now. */
static bool is_due(const struct health_pool *hp, bool begins, uint64_t now)
{
	uint64_t ahead = begins ? (uint64_t)ASK_AHEAD * ASK_AGAIN_US : 0;
	return now + ahead >= hp->watch.ask_again_us;
}

void odd_ask_on(struct health_pool *hp)
{
	uint64_t now = hp->health->loop->now_us;
	if (now < hp->watch.ask_until_us && is_due(hp, true, now))
		open_window(hp, now);
}

static bool few_answer(const struct crowd *crowd)
{
	return crowd->answers[0] < FEW_ANSWERS;
}

bool odd_find_leaders(struct health_pool *hp)
{
	const struct crowd crowd = crowd_of(hp);
	uint64_t now = hp->health->loop->now_us;
	bool any = false, due = false;
	list_each (it, &hp->targets) {
		struct health_target *t = list_entry(it, struct health_target, link);
		bool led = t->odd.leads;
		t->odd.leads = odd_takes_part(t) && (is_ahead(t, &crowd) || is_faster(t, &crowd));
		any |= t->odd.leads;
		due |= t->odd.leads && is_due(hp, !led, now);
	}
	if (due)
		open_window(hp, now);
	return any && (now < hp->watch.ask_until_us || few_answer(&crowd));
}

/* ---- voices ---- */

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

/* Leaders, and as many of the others as are asked: the fewest answers that one of either gave. */
struct voices {
	unsigned others;
	double least[2]; /* by whether it leads */
};

static bool has_voice(struct voices *voices, const struct health_target *t)
{
	if (!odd_takes_part(t) || t->odd.is_suspect)
		return false;
	return t->odd.leads || voices->others++ < VOICES;
}

static struct voices hear(const struct health_pool *hp)
{
	struct voices voices = {.least = {INFINITY, INFINITY}};
	list_each (it, &hp->targets) {
		struct health_target *t = list_entry(it, struct health_target, link);
		t->odd.told += t->odd.came;
		if (has_voice(&voices, t))
			voices.least[t->odd.leads] = fmin(voices.least[t->odd.leads], t->odd.told);
	}
	return voices;
}

/*
 * Who draws much is not to draw all, nor those who are asked: where few requests come they would
 * have each of them, and nobody knew what the leader gives.
 */
void odd_ask(struct health_pool *hp)
{
	const struct voices heard = hear(hp);
	bool asks = hp->tries && hp->health->loop->now_us < hp->watch.ask_until_us &&
		    heard.least[true] < INFINITY;
	struct voices voices = {0};
	list_each (it, &hp->targets) {
		struct health_target *t = list_entry(it, struct health_target, link);
		if (asks && has_voice(&voices, t) && t->odd.came <= VOICE_FEW &&
		    t->odd.told <= heard.least[!t->odd.leads])
			ask(t);
		else
			odd_stop_asking(t);
	}
}
