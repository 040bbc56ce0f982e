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

/* Those without a kind speak of the request; 101 has opened a tunnel, 304 stands for a body. */
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
	case 501:
	case 505:
	case 506:
	case 507:
	case 508:
	case 510:
	case 511:
		return ANSWER_NONE;
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

bool odd_judge(const struct odd_case *of, size_t n, struct odd_finding *finding)
{
	/* as many questions are asked in a look: all backends, all kinds */
	double chances = CHANCES * (double)n * (N_ANSWERS + 1);
	unsigned most = N_ANSWERS + 1;
	/* one kind in place of another that is as bad does not make it worse */
	if (of->n < LEAST || of->others < LEAST_OTHERS || effect_of(of, ODD_ANY) < EFFECT)
		return false;
	for (unsigned a = 0; a < N_ANSWERS; a++)
		if (answers[a].is_bad && stands_out(of, a, chances) &&
		    (most > N_ANSWERS || effect_of(of, a) > effect_of(of, most)))
			most = a;
	bool mixed = most > N_ANSWERS || effect_of(of, most) < effect_of(of, ODD_ANY) / 2;
	if (mixed && stands_out(of, ODD_ANY, chances))
		most = ODD_ANY;
	if (most > N_ANSWERS)
		return false;
	*finding = (struct odd_finding){
	    .answer = most,
	    .share = of->seen[most] / of->n,
	    .others = of->elsewhere[most] / of->n,
	    .bad = of->seen[ODD_ANY] / of->n,
	    .others_bad = of->elsewhere[ODD_ANY] / of->n,
	};
	return true;
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
