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
#include "weir/base/hash.h"

static const struct {
	const char *text;
	bool is_bad;
} answers[] = {
#define ANSWER(symbol, is_bad, text) [ANSWER_##symbol] = {text, is_bad},
#include "weir/tbl/answers.def"
#undef ANSWER
};

_Static_assert(N_ANSWERS < 32, "sets of answers are 32 bits");

bool answer_is_bad(enum answer_kind answer)
{
	check((size_t)answer < N_ANSWERS);
	return answers[answer].is_bad;
}

const char *answer_text(enum answer_kind answer)
{
	check((size_t)answer < N_ANSWERS);
	return answers[answer].text;
}

/*
 * 501 and others of its kind speak of the request, and cost nobody anything by themselves; but
 * who alone gives them is odd.  101 has opened a tunnel, 304 stands for a body.
 */
uint8_t answer_of(unsigned status)
{
	switch (status) {
	case 101:
	case 304:
		return ANSWER_full;
	case 204:
	case 205:
		return ANSWER_empty;
	case 400:
		return ANSWER_400;
	case 401:
		return ANSWER_401;
	case 403:
		return ANSWER_403;
	case 404:
		return ANSWER_404;
	case 410:
		return ANSWER_410;
	case 421:
		return ANSWER_421;
	case 429:
		return ANSWER_429;
	case 500:
		return ANSWER_500;
	case 502:
		return ANSWER_502;
	case 503:
		return ANSWER_503;
	default:
		break;
	}
	static const uint8_t classes[] = {ANSWER_NONE, ANSWER_NONE, ANSWER_full,
					  ANSWER_3xx,  ANSWER_4xx,  ANSWER_5xx};
	return status / 100 < ARRAY_LEN(classes) ? classes[status / 100] : ANSWER_NONE;
}

uint8_t odd_stratum(uint32_t route, struct view method, struct view path)
{
	uint64_t hash = hash_bytes(path.ptr, path.len, route + 1);
	hash = hash_bytes(method.ptr, method.len, hash);
	return (uint8_t)(hash % ODD_STRATA);
}

/* ---- evidence ---- */

static void forget(struct odd_case *c, double keep)
{
	c->n *= keep;
	c->others *= keep;
	for (unsigned a = 0; a <= ODD_ANY; a++) {
		c->seen[a] *= keep;
		c->expected[a] *= keep;
		c->variance[a] *= keep;
		c->elsewhere[a] *= keep;
	}
}

/* All backends' answers in one stratum. */
struct stratum {
	double n, of[N_ANSWERS + 1];
};

static struct stratum of_backend(const uint32_t counts[N_ANSWERS])
{
	struct stratum s = {0};
	for (unsigned a = 0; a < N_ANSWERS; a++) {
		s.n += counts[a];
		s.of[a] = counts[a];
		s.of[ODD_ANY] += answers[a].is_bad ? counts[a] : 0;
	}
	return s;
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
		c->elsewhere[a] += own->n * (k - own->of[a]) / others;
	}
}

void odd_fold(struct odd_case *cases, const odd_counts *counts, size_t n, double keep)
{
	for (size_t i = 0; i < n; i++)
		forget(&cases[i], keep);
	for (unsigned s = 0; s < ODD_STRATA; s++) {
		struct stratum all = {0};
		for (size_t i = 0; i < n; i++) {
			struct stratum own = of_backend(counts[i][s]);
			all.n += own.n;
			for (unsigned a = 0; a <= ODD_ANY; a++)
				all.of[a] += own.of[a];
		}
		for (size_t i = 0; i < n && all.n > 0; i++) {
			struct stratum own = of_backend(counts[i][s]);
			add(&cases[i], &own, &all);
		}
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

#define SUSPECT_LEAST 4
#define SUSPECT_SIGMAS 3

bool odd_is_suspect(double n, double bad, double others, double others_bad)
{
	if (n < SUSPECT_LEAST || others < SUSPECT_LEAST)
		return false;
	double share = others_bad / others, above = bad - n * share;
	double variance = n * share * (1 - share) + 1;
	return above >= n * EFFECT / 2 &&
	       above * above >= SUSPECT_SIGMAS * SUSPECT_SIGMAS * variance;
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

static double sum(const double *of, unsigned from, unsigned to)
{
	double all = 0;
	for (unsigned a = from; a < to; a++)
		all += of[a];
	return all;
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
	    size, small / of->n, alike / of->n, small / of->n, alike / of->n,
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

bool odd_judge(const struct odd_case *of, size_t n, struct odd_finding *finding)
{
	/* as many questions are asked in a look: all backends, all kinds and sizes */
	double chances = CHANCES * (double)n * (N_ANSWERS + 1);
	if (of->n < LEAST || of->others < LEAST_OTHERS)
		return false;
	unsigned bad = find_bad(of, chances);
	if (bad != NOTHING) {
		*finding = bad_finding(of, bad);
		return true;
	}
	return find_small(of, chances, finding);
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
	return bad_answers() | (is_size(answer) ? sizes_from(answer) : 0);
}

uint32_t odd_fails_others(unsigned answer)
{
	return bad_answers() | (is_size(answer) ? sizes_from(answer - ANSWER_SMALLER) : 0);
}

struct percent {
	char at[16];
};

/* "98 %", "0.1 %", "0 %" */
static struct percent percent(double share)
{
	struct percent p;
	double x = 100 * share;
	snprintf(p.at, sizeof(p.at), "%.*f %%", x >= 0.05 && x < 9.95 ? 1 : 0, x);
	return p;
}

void odd_say(const struct odd_finding *f, char out[ODD_TEXT])
{
	const char *text = f->answer == ODD_ANY ? "fails or refuses" : answers[f->answer].text;
	snprintf(out, ODD_TEXT, "%s to %s, the others to %s", text, percent(f->share).at,
		 percent(f->others).at);
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
