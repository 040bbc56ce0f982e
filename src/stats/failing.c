/* SPDX-License-Identifier: MIT */
/* Whether most answers of a pool fail, since when, and how that is said. */
#include "weir/stats/failing.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

#include "weir/base/defs.h"

static const double spans_s[FAILING_SPANS] = {5, 50, 500, 6 * 3600};
#define LONG (FAILING_SPANS - 1)

/* Answers that a share is made of; of what was before, and its seconds. */
#define LEAST 30
#define LEAST_BEFORE 200
#define LEAST_BEFORE_S 60

/* Of the others there are less than this part of what there was. */
#define FEWER 0.6
#define SIGMAS 3 /* neither is chance */

#define NEARLY 0.9
#define NEARLY_LEAST 100
/* It is said after so long; sooner where nothing better is known of it. */
#define NEARLY_US UINT64_C(300000000)
#define NEARLY_NEW_US UINT64_C(60000000)

static const struct {
	uint32_t answers;
	double from, more, until; /* share now, above that of before; it is over below */
	bool always;              /* a pool that gives nothing else fails all the same */
} groups[N_FAILING_GROUPS] = {
    [FAILING_ERRORS] = {ANSWER_BIT(N_ANSWERS) - ANSWER_BIT(ANSWER_400), 0.5, 0.4, 0.4, true},
    [FAILING_REDIRECTS] = {ANSWER_BIT(ANSWER_3xx), 0.8, 0.5, 0.6, false},
    [FAILING_EMPTY] = {ANSWER_BIT(ANSWER_empty) | ANSWER_BIT(ANSWER_unasked), 0.8, 0.5, 0.6, false},
};

/* ---- memories ---- */

static void remember(struct failing_memory *m, double span_s, const double came[N_ANSWERS])
{
	double keep = exp(-1 / span_s);
	m->s = m->s * keep + 1;
	m->n *= keep;
	for (unsigned a = 0; a < N_ANSWERS; a++) {
		m->of[a] = m->of[a] * keep + came[a];
		m->n += came[a];
	}
}

static double sum_of(const struct failing_memory *m, uint32_t answers)
{
	double sum = 0;
	for (unsigned a = 0; a < N_ANSWERS; a++)
		sum += answers & ANSWER_BIT(a) ? m->of[a] : 0;
	return sum;
}

static double share_of(const struct failing_memory *m, enum failing_group g)
{
	return m->n > 0 ? sum_of(m, groups[g].answers) / m->n : 0;
}

/* The shortest that holds enough; LONG: none does. */
static unsigned shortest(const struct failing *f)
{
	unsigned k = 0;
	while (k < LONG && f->memory[k].n < LEAST)
		k++;
	return k;
}

/* What a longer memory has beside the shorter one. */
static struct failing_memory without(const struct failing_memory *all,
				     const struct failing_memory *recent)
{
	struct failing_memory m = {.s = all->s - recent->s};
	for (unsigned a = 0; a < N_ANSWERS; a++) {
		m.of[a] = fmax(all->of[a] - recent->of[a], 0);
		m.n += m.of[a];
	}
	return m;
}

static double share_beside(const struct failing *f, unsigned k, enum failing_group g)
{
	struct failing_memory before = without(&f->memory[LONG], &f->memory[k]);
	bool known = before.n >= LEAST_BEFORE && before.s >= LEAST_BEFORE_S;
	return known ? share_of(&before, g) : -1;
}

/* Of before, < 0: not known.  What the shortest memory has begun to forget is of now as well. */
static double share_before(const struct failing *f, unsigned k, enum failing_group g)
{
	double share = share_beside(f, k + 1, g);
	return share < 0 ? share_beside(f, k, g) : share;
}

/* All others have become fewer, by more than chance: else these came in addition. */
static bool has_fewer_others(const struct failing *f, unsigned k, enum failing_group g)
{
	const struct failing_memory *now = &f->memory[k];
	struct failing_memory then = without(&f->memory[k + 1], now);
	double others = now->n - sum_of(now, groups[g].answers);
	double expected = (then.n - sum_of(&then, groups[g].answers)) * now->s / then.s;
	return others < FEWER * expected && expected - others > SIGMAS * sqrt(expected);
}

/* ---- what is so ---- */

static bool has_changed(const struct failing *f, unsigned k, enum failing_group g)
{
	const struct failing_memory *now = &f->memory[k];
	double share = share_of(now, g), was = share_before(f, k, g), from = groups[g].from;
	double chance = SIGMAS * sqrt(from * (1 - from) / now->n);
	return was >= 0 && share >= from + chance && share - was >= groups[g].more &&
	       has_fewer_others(f, k, g);
}

static void note_nearly(struct failing *f, unsigned k, uint64_t wall_us)
{
	bool nearly = k < LONG && share_of(&f->memory[k], FAILING_ERRORS) >= NEARLY;
	if (!nearly || wall_us < f->nearly_us) /* the clock has gone back */
		f->nearly_us = 0;
	if (nearly && !f->nearly_us)
		f->nearly_us = wall_us;
}

static bool is_nearly(const struct failing *f, unsigned k, uint64_t wall_us)
{
	double was = share_before(f, k, FAILING_ERRORS);
	bool was_better = was >= 0 && was < NEARLY;
	return f->nearly_us && f->memory[LONG].n >= NEARLY_LEAST &&
	       wall_us - f->nearly_us >= (was_better ? NEARLY_US : NEARLY_NEW_US);
}

static void begin(struct failing *f, unsigned k, enum failing_group g, uint64_t wall_us)
{
	f->on = true;
	f->group = g;
	f->was = share_before(f, k, g);
	/* a share that all are of has taken as long to be seen */
	uint64_t ago_us = (uint64_t)(-log(1 - groups[g].from) * spans_s[k] * 1e6);
	f->since_us = wall_us > ago_us ? wall_us - ago_us : 0;
}

static void look(struct failing *f, unsigned k, uint64_t wall_us)
{
	for (int g = 0; g < N_FAILING_GROUPS; g++)
		if (has_changed(f, k, (enum failing_group)g)) {
			begin(f, k, (enum failing_group)g, wall_us);
			return;
		}
	if (!is_nearly(f, k, wall_us))
		return;
	begin(f, k, FAILING_ERRORS, wall_us);
	f->was = -1; /* little else, for minutes or ever */
}

/* It is over, or has become what is usual.  One that nobody asks any more is not known to be. */
static bool is_over(const struct failing *f, unsigned k)
{
	double before = share_before(f, k, f->group);
	if (k == LONG)
		return f->memory[LONG - 1].n < 1;
	if (f->share < groups[f->group].until)
		return true;
	bool is_usual = f->was >= 0 && f->share - before < groups[f->group].more / 2;
	return is_usual && !(groups[f->group].always && f->share >= NEARLY);
}

/* The kind that most of a group are. */
static unsigned kind_of(const struct failing_memory *m, uint32_t answers)
{
	for (unsigned a = 0; a < N_ANSWERS; a++)
		if (answers & ANSWER_BIT(a) && m->of[a] >= 0.8 * sum_of(m, answers))
			return a;
	return N_ANSWERS;
}

void failing_second(struct failing *f, const double totals[N_ANSWERS], uint64_t wall_us)
{
	double came[N_ANSWERS] = {0};
	for (unsigned a = 0; a < N_ANSWERS; a++) {
		came[a] = f->is_counted ? fmax(totals[a] - f->totals[a], 0) : 0;
		f->totals[a] = totals[a];
	}
	f->is_counted = true;
	for (unsigned i = 0; i < FAILING_SPANS; i++)
		remember(&f->memory[i], spans_s[i], came);
	unsigned k = shortest(f);
	note_nearly(f, k, wall_us);
	if (!f->on && k < LONG)
		look(f, k, wall_us);
	if (f->on && k < LONG) {
		f->share = share_of(&f->memory[k], f->group);
		f->answer = kind_of(&f->memory[k], groups[f->group].answers);
	}
	if (f->on && is_over(f, k))
		f->on = false;
}

/* "since 14:05, to 1 % before: ..." */
static void say_change(const struct failing *f, struct str *out)
{
	char clock[16];
	time_t at = (time_t)(f->since_us / 1000000);
	struct tm tm;
	if (localtime_r(&at, &tm) && strftime(clock, sizeof(clock), "%H:%M", &tm))
		str_printf(out, " since %s", clock);
	str_printf(out, ", to %s before: look at what was deployed or changed then",
		   odd_percent(f->was).at);
}

bool failing_say(const struct failing *f, char text[FAILING_TEXT])
{
	struct str out = str_fixed(text, FAILING_TEXT);
	if (!f->on)
		return false;
	str_printf(&out, "%s to %s",
		   f->answer == N_ANSWERS ? "fails or refuses" : answer_text(f->answer),
		   odd_percent(f->share).at);
	if (f->was >= 0)
		say_change(f, &out);
	else
		str_text(&out, ": is it the right app, and asked for what it has?");
	return true;
}

/* ---- for the process that takes over ---- */

void failing_pack(const struct failing *f, struct str *out)
{
	for (unsigned i = 0; i < FAILING_SPANS; i++) {
		const struct failing_memory *m = &f->memory[i];
		pack_double(out, m->s);
		for (unsigned a = 0; a < N_ANSWERS; a++)
			pack_double(out, m->of[a]);
	}
	pack_u64(out, f->nearly_us);
	pack_u64(out, f->on);
	pack_u64(out, f->group);
	pack_double(out, f->was);
	pack_u64(out, f->since_us);
}

static void take_memory(struct unpack *in, struct failing_memory *m)
{
	m->s = unpack_double(in);
	in->bad |= !(m->s >= 0);
	for (unsigned a = 0; a < N_ANSWERS && !in->bad; a++) {
		m->of[a] = unpack_double(in);
		in->bad |= !(m->of[a] >= 0);
		m->n += m->of[a];
	}
}

void failing_unpack(struct unpack *in, struct failing *f)
{
	for (unsigned i = 0; i < FAILING_SPANS && !in->bad; i++)
		take_memory(in, &f->memory[i]);
	f->nearly_us = unpack_u64(in);
	f->on = unpack_bool(in);
	f->group = (enum failing_group)unpack_max(in, N_FAILING_GROUPS - 1);
	f->was = unpack_double(in);
	f->since_us = unpack_u64(in);
	if (in->bad)
		return;
	f->share = share_of(&f->memory[0], f->group);
	f->answer = kind_of(&f->memory[0], groups[f->group].answers);
}
