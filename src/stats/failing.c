/* SPDX-License-Identifier: MIT */
/* Whether most answers of a pool fail, since when, and how that is said. */
#include "weir/stats/failing.h"

#include <math.h>

#include "weir/base/clock.h"
#include "weir/base/defs.h"

static const double spans_s[FAILING_SPANS] = {5, 50, 500, 6 * 3600};
#define LONG (FAILING_SPANS - 1)

/* Answers that a share is made of; of what was before, and its seconds. */
#define LEAST 30
#define LEAST_BEFORE 200
#define LEAST_BEFORE_S 60
/* Of a kind that is to be rare again. */
#define LEAST_RARE 10
/* Of the others there are less than this part of what there was. */
#define FEWER 0.6
#define SIGMAS 3 /* neither is chance */

/* Seconds of those in which anything came. */
#define SEEN_S 3
#define ALWAYS_LEAST 100
#define NEVER 2 /* times all of them */

static const struct {
	uint32_t kinds;
	double from, more; /* share now, and above that of before */
	double until;      /* it is over below */
	/* from here on it fails, whatever was before, after so long; sooner where nothing better is
	 * known of it */
	double always;
	unsigned always_s, always_new_s;
	bool instead;              /* of the others, of which there are fewer; not in addition */
	const char *text, *advice; /* NULL: as of answers */
} groups[N_FAILING_GROUPS] = {
    [FAILING_ERRORS] = {ANSWER_BIT(N_ANSWERS) - ANSWER_BIT(ANSWER_400), 0.5, 0.4, 0.4, 0.9, 300, 60,
			true, NULL, NULL},
    /* of others clients can be the cause */
    [FAILING_FAULTS] = {ANSWER_BIT(ANSWER_500) | ANSWER_BIT(ANSWER_502) | ANSWER_BIT(ANSWER_503) |
			    ANSWER_BIT(ANSWER_lost),
			0.1, 0.1, 0.05, 0.3, 300, 60, false, NULL, NULL},
    [FAILING_REDIRECTS] = {ANSWER_BIT(ANSWER_3xx), 0.8, 0.5, 0.6, NEVER, 0, 0, true, NULL, NULL},
    [FAILING_EMPTY] = {ANSWER_BIT(ANSWER_empty) | ANSWER_BIT(ANSWER_unasked), 0.8, 0.5, 0.6, NEVER,
		       0, 0, true, NULL, NULL},
    /* a twentieth is what an objective of p95 leaves */
    [FAILING_LATE] = {ANSWER_BIT(FAILING_late), 0.05, 0.05, 0.03, 0.05, 10, 10, false,
		      "clients leave unanswered after more than slo.p95:", "they wait too long"},
    [FAILING_LEFT] = {ANSWER_BIT(FAILING_late) | ANSWER_BIT(FAILING_left), 0.05, 0.05, 0.03, 0.5,
		      300, 60, false,
		      "clients leave before they are answered:", "they wait too long"},
    [FAILING_REFUSED] = {ANSWER_BIT(FAILING_refused), 0.05, 0.05, 0.03, 0.3, 300, 60, false,
			 "weir refuses", "no backend has room, or none is usable"},
};

/* ---- memories ---- */

static void remember(struct failing_memory *m, double span_s, const double came[N_FAILING])
{
	double keep = exp(-1 / span_s);
	m->s = m->s * keep + 1;
	m->n *= keep;
	for (unsigned a = 0; a < N_FAILING; a++) {
		m->of[a] = m->of[a] * keep + came[a];
		m->n += came[a];
	}
}

static double sum_of(const struct failing_memory *m, uint32_t kinds)
{
	double sum = 0;
	for (unsigned a = 0; a < N_FAILING; a++)
		sum += kinds & ANSWER_BIT(a) ? m->of[a] : 0;
	return sum;
}

static double share_of(const struct failing_memory *m, enum failing_group g)
{
	return m->n > 0 ? sum_of(m, groups[g].kinds) / m->n : 0;
}

/* The shortest that holds enough; LONG: none does. */
static unsigned shortest(const struct failing *f, double least)
{
	unsigned k = 0;
	while (k < LONG && f->memory[k].n < least)
		k++;
	return k;
}

/* What a longer memory has beside the shorter one. */
static struct failing_memory without(const struct failing_memory *all,
				     const struct failing_memory *recent)
{
	struct failing_memory m = {.s = all->s - recent->s};
	for (unsigned a = 0; a < N_FAILING; a++) {
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
	double others = now->n - sum_of(now, groups[g].kinds);
	double expected = (then.n - sum_of(&then, groups[g].kinds)) * now->s / then.s;
	return others < FEWER * expected && expected - others > SIGMAS * sqrt(expected);
}

/* ---- what is so ---- */

static bool has_changed(const struct failing *f, unsigned k, enum failing_group g)
{
	const struct failing_memory *now = &f->memory[k];
	double share = share_of(now, g), was = share_before(f, k, g), from = groups[g].from;
	double chance = SIGMAS * sqrt(from * (1 - from) / now->n);
	return was >= 0 && share >= from + chance && share - was >= groups[g].more &&
	       (!groups[g].instead || has_fewer_others(f, k, g));
}

/* The shortest memory in which `share` of all are more than chance; LONG: none. */
static unsigned memory_for(const struct failing *f, double share)
{
	return shortest(f, fmax(LEAST, LEAST_RARE / share));
}

/* Seconds in which nothing came do not count. */
static void note_always(struct failing *f, bool comes, uint64_t wall_us)
{
	for (int g = 0; g < N_FAILING_GROUPS; g++) {
		unsigned k = memory_for(f, groups[g].always);
		bool now =
		    k < LONG && share_of(&f->memory[k], (enum failing_group)g) >= groups[g].always;
		if (!now || wall_us < f->always_us[g]) /* the clock has gone back */
			f->always_us[g] = 0;
		if (now && !f->always_us[g])
			f->always_us[g] = wall_us;
		else if (now && !comes)
			f->always_us[g] += 1000000;
	}
}

static bool is_always(const struct failing *f, unsigned k, enum failing_group g, uint64_t wall_us)
{
	double was = share_before(f, k, g);
	bool was_better = was >= 0 && was < groups[g].always;
	unsigned s = was_better ? groups[g].always_s : groups[g].always_new_s;
	return f->always_us[g] && f->memory[LONG].n >= ALWAYS_LEAST &&
	       wall_us - f->always_us[g] >= s * UINT64_C(1000000);
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

/* Of few, or small shares, the longer memories are sure first.  What is told already gives way to
 * what stands before it.  Who breaks off all that is under way and is gone, as a test of load is at
 * its end, leaves nothing behind that could fail. */
static void look(struct failing *f, unsigned shortest_k, bool comes, uint64_t wall_us)
{
	int end = f->on ? (int)f->group : N_FAILING_GROUPS;
	for (int i = 0; i < end; i++) {
		enum failing_group g = (enum failing_group)i;
		unsigned k = shortest_k;
		while (k < LONG && !has_changed(f, k, g))
			k++;
		f->seen_s[i] = k == LONG ? 0 : f->seen_s[i] + comes;
		if (f->seen_s[i] >= SEEN_S) {
			begin(f, k, g, wall_us);
			return;
		}
		if (!is_always(f, shortest_k, g, wall_us))
			continue;
		begin(f, shortest_k, g, wall_us);
		f->was = -1; /* little else, for minutes or ever */
		return;
	}
}

/* The memory that says how it is now: a small share is one of more. */
static unsigned memory_of(const struct failing *f)
{
	unsigned k = memory_for(f, groups[f->group].until);
	return k < LONG ? k : LONG - 1;
}

/* It is over, or has become what is usual.  One that nobody asks any more is not known to be. */
static bool is_over(const struct failing *f)
{
	const struct failing_memory *longest = &f->memory[LONG - 1];
	if (longest->n < LEAST)
		return longest->n < 1;
	if (f->share < groups[f->group].until)
		return true;
	double before = share_before(f, memory_of(f), f->group);
	bool is_usual = f->was >= 0 && f->share - before < groups[f->group].more / 2;
	return is_usual && f->share < groups[f->group].always;
}

/* How much it is, and the kind that most of it are. */
static void describe(struct failing *f)
{
	const struct failing_memory *m = &f->memory[memory_of(f)];
	uint32_t kinds = groups[f->group].kinds;
	f->share = share_of(m, f->group);
	f->kind = N_FAILING;
	for (unsigned a = 0; a < N_FAILING; a++)
		if (kinds & ANSWER_BIT(a) && m->of[a] >= 0.8 * sum_of(m, kinds))
			f->kind = a;
}

void failing_second(struct failing *f, const double totals[N_FAILING], uint64_t wall_us)
{
	double came[N_FAILING] = {0}, all = 0;
	for (unsigned a = 0; a < N_FAILING; a++) {
		came[a] = f->is_counted ? fmax(totals[a] - f->totals[a], 0) : 0;
		f->totals[a] = totals[a];
		all += came[a];
	}
	f->is_counted = true;
	for (unsigned i = 0; i < FAILING_SPANS; i++)
		remember(&f->memory[i], spans_s[i], came);
	unsigned k = shortest(f, LEAST);
	note_always(f, all > 0, wall_us);
	if (k < LONG)
		look(f, k, all > 0, wall_us);
	if (f->on)
		describe(f);
	if (f->on && is_over(f))
		f->on = false;
}

static const char *advice_of(const struct failing *f)
{
	if (groups[f->group].advice)
		return groups[f->group].advice;
	return f->was < 0 ? "is it the right app, and asked for what it has?"
			  : "look at what was deployed or changed then";
}

bool failing_say(const struct failing *f, char text[FAILING_TEXT])
{
	struct str out = str_fixed(text, FAILING_TEXT);
	char clock[CLOCK_LOCAL_LEN + 1];
	if (!f->on)
		return false;
	if (groups[f->group].text)
		str_text(&out, groups[f->group].text);
	else
		str_printf(&out, "%s to",
			   f->kind < N_ANSWERS ? answer_text(f->kind) : "fails or refuses");
	str_printf(&out, " %s", odd_percent(f->share).at);
	if (f->was >= 0) {
		clock_local(clock, f->since_us);
		str_printf(&out, " since %s, %s before", clock, odd_percent(f->was).at);
	}
	str_printf(&out, ": %s", advice_of(f));
	return true;
}

/* ---- for the process that takes over ---- */

void failing_pack(const struct failing *f, struct str *out)
{
	for (unsigned i = 0; i < FAILING_SPANS; i++) {
		const struct failing_memory *m = &f->memory[i];
		pack_double(out, m->s);
		for (unsigned a = 0; a < N_FAILING; a++)
			pack_double(out, m->of[a]);
	}
	for (int g = 0; g < N_FAILING_GROUPS; g++)
		pack_u64(out, f->always_us[g]);
	pack_u64(out, f->on);
	pack_u64(out, f->group);
	pack_double(out, f->was);
	pack_u64(out, f->since_us);
}

static void take_memory(struct unpack *in, struct failing_memory *m)
{
	m->s = unpack_double(in);
	in->bad |= !(m->s >= 0);
	for (unsigned a = 0; a < N_FAILING && !in->bad; a++) {
		m->of[a] = unpack_double(in);
		in->bad |= !(m->of[a] >= 0);
		m->n += m->of[a];
	}
}

void failing_unpack(struct unpack *in, struct failing *f)
{
	for (unsigned i = 0; i < FAILING_SPANS && !in->bad; i++)
		take_memory(in, &f->memory[i]);
	for (int g = 0; g < N_FAILING_GROUPS && !in->bad; g++)
		f->always_us[g] = unpack_u64(in);
	f->on = unpack_bool(in);
	f->group = (enum failing_group)unpack_max(in, N_FAILING_GROUPS - 1);
	f->was = unpack_double(in);
	f->since_us = unpack_u64(in);
	if (in->bad)
		return;
	describe(f);
}
