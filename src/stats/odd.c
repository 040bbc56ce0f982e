/* SPDX-License-Identifier: MIT */
/*
 * Whether one backend answers otherwise than the others: a test on the kinds of its answers,
 * route by route.
 */
#include "weir/stats/odd.h"

#include <math.h>
#include <stdio.h>

#include "weir/base/check.h"
#include "weir/base/defs.h"

static const struct {
	const char *text;
	bool is_bad;
} answers[] = {
#define ANSWER(symbol, is_bad, text) [ANSWER_##symbol] = {text, is_bad},
#include "weir/tbl/answers.def"
#undef ANSWER
#define TYPE(symbol, text) [ANSWER_TYPE_##symbol] = {text, false},
#include "weir/tbl/answer_types.def"
#undef TYPE
};

/* Where some of them may have been told by gRPC: see answer_of_grpc. */
static const char *const or_grpc[N_ANSWERS] = {
    [ANSWER_400] = "answers 400 or grpc-status 3, 9, 11",
    [ANSWER_401] = "answers 401 or grpc-status 16",
    [ANSWER_403] = "answers 403 or grpc-status 7",
    [ANSWER_404] = "answers 404 or grpc-status 5",
    [ANSWER_429] = "answers 429 or grpc-status 8",
    [ANSWER_4xx] = "answers some 4xx or grpc-status 6, 10",
    [ANSWER_500] = "answers 500 or grpc-status 2, 13, 15",
    [ANSWER_503] = "answers 503 or grpc-status 14",
    [ANSWER_5xx] = "answers 5xx or grpc-status 4, 12",
};

bool answer_is_bad(enum answer_kind answer)
{
	check((size_t)answer < N_ANSWERS);
	return answers[answer].is_bad;
}

const char *answer_text(unsigned answer)
{
	check(answer < N_ANSWER_COLUMNS);
	return answers[answer].text;
}

/* ---- evidence ---- */

/* All backends' answers in one stratum. */
struct stratum {
	double n, of[ODD_ANY + 1];
	double shares[ODD_ANY + 1], voices; /* each backend's share, added up; backends */
};

static struct stratum of_backend(const uint32_t counts[N_ANSWER_COLUMNS])
{
	struct stratum s = {0};
	for (unsigned a = 0; a < N_ANSWER_COLUMNS; a++) {
		s.n += a < N_ANSWERS ? counts[a] : 0;
		s.of[a] = counts[a];
		s.of[ODD_ANY] += answers[a].is_bad ? counts[a] : 0;
	}
	s.voices = s.n > 0;
	for (unsigned a = 0; a <= ODD_ANY && s.n > 0; a++)
		s.shares[a] = s.of[a] / s.n;
	return s;
}

static void add_stratum(struct stratum *all, const struct stratum *own)
{
	all->n += own->n;
	for (unsigned a = 0; a <= ODD_ANY; a++) {
		all->of[a] += own->of[a];
		all->shares[a] += own->shares[a];
	}
	all->voices += own->voices;
}

/* Had own requests gone to the others, each with one voice: two that fail fast draw what the others
 * are for, and nearly all answers are theirs. */
static double at_others(const struct stratum *own, const struct stratum *all, unsigned a)
{
	return own->n * fmax(all->shares[a] - own->shares[a], 0) / (all->voices - 1);
}

/* Types are compared where two others have a voice at least. */
static void add_types(struct odd_case *c, const struct stratum *own, const struct stratum *all)
{
	if (all->voices <= 2)
		return;
	c->voiced += own->n;
	for (unsigned t = 0; t < N_ANSWER_TYPES; t++) {
		c->given[t] += own->of[N_ANSWERS + t];
		c->peers[t] += at_others(own, all, N_ANSWERS + t);
	}
}

/* One without company, or without answers of its own, compares to nothing. */
static void add(struct odd_case *c, const struct stratum *own, const struct stratum *all)
{
	double others = all->n - own->n;
	if (own->n <= 0 || others <= 0)
		return;
	c->n += own->n;
	c->others += others;
	for (unsigned a = 0; a <= ODD_ANY; a++) {
		double k = all->of[a], share = k / all->n;
		c->seen[a] += own->of[a];
		c->expected[a] += own->n * share;
		c->variance[a] += own->n * others * share * (1 - share) / (all->n - 1);
		c->elsewhere[a] += at_others(own, all, a);
	}
	add_types(c, own, all);
}

void odd_fold(struct odd_case *cases, const odd_counts *counts, size_t n)
{
	for (unsigned s = 0; s < ODD_STRATA; s++) {
		struct stratum all = {0};
		for (size_t i = 0; i < n; i++) {
			struct stratum own = of_backend(counts[i][s]);
			add_stratum(&all, &own);
		}
		for (size_t i = 0; i < n && all.n > 0; i++) {
			struct stratum own = of_backend(counts[i][s]);
			add(&cases[i], &own, &all);
		}
	}
}

void odd_case_add(struct odd_case *known, const struct odd_case *came, double keep)
{
	known->n = known->n * keep + came->n;
	known->others = known->others * keep + came->others;
	for (unsigned a = 0; a <= ODD_ANY; a++) {
		known->seen[a] = known->seen[a] * keep + came->seen[a];
		known->expected[a] = known->expected[a] * keep + came->expected[a];
		known->variance[a] = known->variance[a] * keep + came->variance[a];
		known->elsewhere[a] = known->elsewhere[a] * keep + came->elsewhere[a];
	}
	known->voiced = known->voiced * keep + came->voiced;
	for (unsigned t = 0; t < N_ANSWER_TYPES; t++) {
		known->given[t] = known->given[t] * keep + came->given[t];
		known->peers[t] = known->peers[t] * keep + came->peers[t];
	}
}

/* ---- verdict ---- */

/* Own answers and those of others, and how far apart shares must lie: that far, and by a factor
 * of two. */
#define LEAST 4
#define LEAST_OTHERS 10
#define EFFECT 0.2
/* One false alarm in so many looks at a pool. */
#define CHANCES 1e9
/* In so many to ask on. */
#define LEANS 1e2

#define SUSPECT_SIGMAS 3

static double sum(const double *of, unsigned from, unsigned to)
{
	double all = 0;
	for (unsigned a = from; a < to; a++)
		all += of[a];
	return all;
}

static bool is_far_above(double n, double bad, double share)
{
	double above = bad - n * share;
	double variance = n * share * (1 - share) + 1;
	return above >= n * EFFECT / 2 &&
	       above * above >= SUSPECT_SIGMAS * SUSPECT_SIGMAS * variance;
}

void odd_add_voice(struct odd_recent *all, const struct odd_recent *own)
{
	if (own->n < ODD_VOICE_LEAST)
		return;
	for (unsigned a = 0; a < N_ANSWERS; a++)
		all->of[a] += own->of[a] / own->n;
	all->bad += own->bad / own->n;
	all->n++;
}

bool odd_is_suspect(const struct odd_recent *own, const struct odd_recent *all)
{
	double others = all->n - 1;
	if (own->n < ODD_VOICE_LEAST || others < 1)
		return false;
	if (is_far_above(own->n, own->bad, fmax(all->bad - own->bad / own->n, 0) / others))
		return true;
	for (unsigned a = ANSWER_SMALL; a < ANSWER_empty; a++) {
		unsigned like = a - ANSWER_SMALLER;
		double alike =
		    sum(all->of, like, ANSWER_empty) - sum(own->of, like, ANSWER_empty) / own->n;
		if (is_far_above(own->n, sum(own->of, a, ANSWER_empty), fmax(alike, 0) / others))
			return true;
	}
	return false;
}

double odd_alike(const struct odd_recent *of, unsigned answer)
{
	if (answer >= ANSWER_empty)
		return of->of[answer];
	return sum(of->of, answer > ANSWER_SMALLER ? answer - ANSWER_SMALLER : 0, ANSWER_empty);
}

/*
 * Bennett's inequality: how unlikely chance is to lead so far above the mean, as a
 * logarithm.  A hypergeometric count is a sum of independent draws, so it holds for
 * the smallest numbers and the most uneven shares, where a normal tail is far off.
 */
static double unlikely_by(double above, double variance)
{
	if (above <= 0)
		return 0;
	if (variance <= 0)
		return INFINITY;
	double u = above / variance;
	return variance * ((1 + u) * log1p(u) - u);
}

static double effect_of(const struct odd_case *c, unsigned a)
{
	return (c->seen[a] - c->elsewhere[a]) / c->n;
}

static bool stands_out(const struct odd_case *c, unsigned a, double chances)
{
	return effect_of(c, a) >= EFFECT && c->elsewhere[a] <= c->seen[a] / 2 &&
	       unlikely_by(c->seen[a] - c->expected[a], c->variance[a]) > log(chances);
}

/* The bad kind that makes it worse than the others; one above ODD_ANY: none does. */
#define NOTHING (ODD_ANY + 1)

static unsigned find_bad(const struct odd_case *of, double chances)
{
	unsigned most = NOTHING;
	/* one kind in place of another that is as bad does not make it worse */
	if (effect_of(of, ODD_ANY) < EFFECT)
		return NOTHING;
	for (unsigned a = 0; a < N_ANSWERS; a++)
		if (answers[a].is_bad && stands_out(of, a, chances) &&
		    (most == NOTHING || effect_of(of, a) > effect_of(of, most)))
			most = a;
	bool mixed = most == NOTHING || effect_of(of, most) < effect_of(of, ODD_ANY) / 2;
	return mixed && stands_out(of, ODD_ANY, chances) ? ODD_ANY : most;
}

static struct odd_finding bad_finding(const struct odd_case *of, unsigned answer)
{
	return (struct odd_finding){
	    .answer = answer,
	    .share = of->seen[answer] / of->n,
	    .others = of->elsewhere[answer] / of->n,
	    .bad = of->seen[ODD_ANY] / of->n,
	    .others_bad = of->elsewhere[ODD_ANY] / of->n,
	};
}

/*
 * Whether bodies are of this size or below where those of the others are ANSWER_SMALLER
 * classes larger: who answers where the others fail has no smaller ones.
 */
static bool is_small(const struct odd_case *of, unsigned size, double chances,
		     struct odd_finding *f)
{
	double small = sum(of->seen, size, ANSWER_empty);
	double alike = sum(of->elsewhere, size - ANSWER_SMALLER, ANSWER_empty);
	double larger = sum(of->elsewhere, ANSWER_full, size - ANSWER_SMALLER);
	*f = (struct odd_finding){
	    size, small / of->n, alike / of->n, small / of->n, alike / of->n, false,
	};
	return small - alike >= EFFECT * of->n && alike <= small / 2 &&
	       larger - sum(of->seen, ANSWER_full, size) >= EFFECT * of->n &&
	       /* the variances of kinds add up to more than that of them all */
	       unlikely_by(small - sum(of->expected, size, ANSWER_empty),
			   sum(of->variance, size, ANSWER_empty)) > log(chances);
}

/* The smallest size that says all that can be said. */
static bool find_small(const struct odd_case *of, double chances, struct odd_finding *most)
{
	bool found = false;
	for (unsigned size = ANSWER_empty - 1; size >= ANSWER_SMALL; size--) {
		struct odd_finding f;
		if (!is_small(of, size, chances, &f) ||
		    (found && f.share - f.others <= most->share - most->others))
			continue;
		found = true;
		*most = f;
	}
	return found;
}

/* ---- something else ---- */

#define AHEAD 3 /* times what it should have beside the others */
#define AHEAD_LEAST 16
/* Part of its answers that others must have a voice about. */
#define VOICED 0.25

bool odd_is_ahead(double own, double others, double part)
{
	return own >= AHEAD_LEAST && own >= AHEAD * others * part;
}

/* Whether it gives this type where the others give another: not where they fail. */
static bool is_other(const struct odd_case *of, unsigned type, double chances,
		     struct odd_finding *f)
{
	unsigned a = N_ANSWERS + type;
	double own = of->given[type], peers = of->peers[type], typed = 0;
	for (unsigned t = 0; t < N_ANSWER_TYPES; t++)
		typed += t == type ? 0 : of->peers[t] - of->given[t];
	double share = of->seen[a] / of->n, others = of->elsewhere[a] / of->n;
	*f = (struct odd_finding){a, share, others, share, others, false};
	return of->voiced >= VOICED * of->n && own - peers >= EFFECT * of->voiced &&
	       peers <= own / 4 && typed >= EFFECT * of->voiced &&
	       unlikely_by(of->seen[a] - of->expected[a], of->variance[a]) > log(chances);
}

static bool find_other(const struct odd_case *of, double chances, struct odd_finding *most)
{
	bool found = false;
	for (unsigned t = 0; t < N_ANSWER_TYPES; t++) {
		struct odd_finding f;
		if (!is_other(of, t, chances, &f) || (found && f.share <= most->share))
			continue;
		found = true;
		*most = f;
	}
	return found;
}

bool odd_judge(const struct odd_case *of, size_t n, bool leads, struct odd_finding *finding)
{
	/* as many questions are asked in a look: all backends, all kinds, sizes and types */
	double chances = CHANCES * (double)n * (ODD_ANY + 1);
	if (of->n < LEAST || of->others < LEAST_OTHERS)
		return false;
	unsigned bad = find_bad(of, chances);
	if (bad != NOTHING) {
		*finding = bad_finding(of, bad);
		return true;
	}
	return find_small(of, chances, finding) || (leads && find_other(of, chances, finding));
}

bool odd_leans(const struct odd_case *of, size_t n)
{
	struct odd_finding f;
	return of->n >= LEAST && of->others >= LEAST &&
	       find_other(of, LEANS * (double)n * (ODD_ANY + 1), &f);
}

/* ---- what follows from it ---- */

static bool is_size(unsigned answer)
{
	return answer >= ANSWER_SMALL && answer < ANSWER_empty;
}

/* Bodies of this size and below. */
static uint32_t sizes_from(unsigned size)
{
	return ANSWER_BIT(ANSWER_empty) - ANSWER_BIT(size);
}

static uint32_t bad_answers(void)
{
	uint32_t set = 0;
	for (unsigned a = 0; a < N_ANSWERS; a++)
		set |= answers[a].is_bad ? ANSWER_BIT(a) : 0;
	return set;
}

uint32_t odd_fails(unsigned answer)
{
	return bad_answers() | (is_size(answer) ? sizes_from(answer) : 0) |
	       (answer_is_type(answer) ? ANSWER_BIT(answer) : 0);
}

uint32_t odd_fails_others(unsigned answer)
{
	return bad_answers() | (is_size(answer) ? sizes_from(answer - ANSWER_SMALLER) : 0);
}

struct odd_percent odd_percent(double share)
{
	struct odd_percent p;
	double x = 100 * share;
	snprintf(p.at, sizeof(p.at), "%.*f %%", x >= 0.05 && x < 9.95 ? 1 : 0, x);
	return p;
}

void odd_say(const struct odd_finding *f, char out[ODD_TEXT])
{
	const char *text = f->answer == ODD_ANY ? "fails or refuses" : answers[f->answer].text;
	if (f->grpc && f->answer < N_ANSWERS && or_grpc[f->answer])
		text = or_grpc[f->answer];
	snprintf(out, ODD_TEXT, "%s to %s, the others to %s", text, odd_percent(f->share).at,
		 odd_percent(f->others).at);
}

/* ---- the way back ---- */

#define SURE 1000.0 /* to one */
#define SHARE_LEAST 0.01
#define SHARE_MOST 0.95

bool odd_trial_note(struct odd_trial *trial, bool is_bad, double bad, double now, unsigned times)
{
	now = fmin(fmax(now, SHARE_LEAST), SHARE_MOST / 2);
	bad = fmin(fmax(bad, 2 * now), SHARE_MOST);
	trial->score += is_bad ? log(now / bad) : log((1 - now) / (1 - bad));
	/* what it did long ago is no reason to doubt it */
	trial->score = fmax(trial->score, 0);
	return trial->score >= log(SURE) * times;
}
