/* SPDX-License-Identifier: MIT */
/*
 * The odd one out: does one backend answer otherwise than the others do, to the
 * same requests at the same time?
 *
 * What was asked differs by route, path and time, so answers are only compared
 * within a stratum: requests that look alike (odd_stratum), of one look.  In each,
 * the number of answers of a kind that a backend would have given, had requests
 * been dealt out by lot, has a hypergeometric mean and variance; the differences
 * are added up over strata and looks (Cochran, Mantel and Haenszel) and forgotten
 * with a time constant.  That holds however the answers hang together, as long as
 * requests are dealt out without regard to what they ask: those of a key or a pin
 * must not be counted.
 *
 * Of media types none is worse than another.  One backend gives another than the others
 * do where most of them agree, each with one voice, however few of its answers there are:
 * so there must be three at least.  And only one that leads is asked, by drawing the requests of
 * the others or by its speed: a new version may answer otherwise and be right, but is not to look
 * fast for it.
 *
 *   odd_fold(came, counts, n);    // once a look
 *   odd_case_add(&cases[i], &came[i], keep);
 *   if (odd_judge(&cases[i], n, leads, &finding)) ...
 *
 * Pure arithmetic; any thread.
 */
#ifndef WEIR_STATS_ODD_H
#define WEIR_STATS_ODD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weir/base/defs.h"
#include "weir/base/view.h"

enum answer_kind {
#define ANSWER(symbol, is_bad, text) ANSWER_##symbol,
#include "weir/tbl/answers.def"
#undef ANSWER
	N_ANSWERS
};

/* Kinds go on with the types of what comes as a 2xx: it has one of either. */
enum answer_type {
	ANSWER_TYPES_BEGIN = N_ANSWERS - 1,
#define TYPE(symbol, text) ANSWER_TYPE_##symbol,
#include "weir/tbl/answer_types.def"
#undef TYPE
	N_ANSWER_COLUMNS
};
#define N_ANSWER_TYPES (N_ANSWER_COLUMNS - N_ANSWERS)
_Static_assert(N_ANSWER_COLUMNS <= 32, "sets of answers are 32 bits");
static inline bool answer_is_type(unsigned answer)
{
	return answer >= N_ANSWERS && answer < N_ANSWER_COLUMNS;
}

/* Says nothing about the backend: interim, or no status there is. */
#define ANSWER_NONE UINT8_MAX /* and not in any set */

/* Evidence is kept with several memories, from a short to a long one: few answers take long. */
#define ODD_SPANS 3

/* Sets of answers have bit 1 << answer. */
#define ANSWER_BIT(answer) (UINT32_C(1) << (answer))

/*
 * A body is small where the others' are so many classes larger, 16 times at least: pages
 * differ, and may be compressed by one application and not by another.
 */
#define ANSWER_SMALLER 2
#define ANSWER_SMALL (ANSWER_full + ANSWER_SMALLER + 1) /* the largest that may be */

/* What is always taken for usual: it works. */
#define ANSWERS_GOOD                                                                 \
	(ANSWER_BIT(ANSWER_full) | ANSWER_BIT(ANSWER_64k) | ANSWER_BIT(ANSWER_16k) | \
	 ANSWER_BIT(ANSWER_coded) | ANSWER_BIT(ANSWER_3xx))
/* Until it is known what a pool gives. */
#define ANSWERS_ANY_SIZE (ANSWERS_GOOD | (ANSWER_BIT(ANSWER_empty) - 1))

/* By status: a whole 2xx is ANSWER_full until the size of its body is known. */
uint8_t answer_of(unsigned status);
/* By the value of grpc-status: that of the HTTP status that means the same, ANSWER_full for OK. */
uint8_t answer_of_grpc(struct view code);
/* A 2xx with a body of so many bytes. */
static inline uint8_t answer_of_size(uint64_t bytes)
{
	if (bytes >= 65536)
		return ANSWER_full;
	if (unlikely(bytes == 0))
		return ANSWER_empty;
	unsigned bits = 64 - (unsigned)__builtin_clzll(bytes);
	return (uint8_t)(bits < 4 ? ANSWER_16 : ANSWER_64k + (16 - bits) / 2);
}
/* By the value of Content-Type, empty: there is none; an enum answer_type. */
uint8_t answer_type(struct view media, bool coded);
bool answer_is_bad(enum answer_kind answer);
const char *answer_text(unsigned answer);

/* Requests that look alike; others may share their stratum, which costs power, not truth. */
#define ODD_STRATA 16
uint8_t odd_stratum(uint32_t route, struct view method, struct view path);

/* What a backend gave in a look, by stratum. */
typedef uint32_t odd_counts[ODD_STRATA][N_ANSWER_COLUMNS];

/* All bad answers together are a kind, too. */
#define ODD_ANY N_ANSWER_COLUMNS

/* A backend against the others. */
struct odd_case {
	double n;      /* answers of its own that could be compared */
	double others; /* those of the others, where it has any */
	double seen[ODD_ANY + 1];
	double expected[ODD_ANY + 1]; /* had all been dealt the same */
	double variance[ODD_ANY + 1];
	double elsewhere[ODD_ANY + 1]; /* had its requests gone to the others, one as often as
					  another */
	/* where two others have a voice: its answers, those of each type, and what they had been if
	 * each of the others had one voice */
	double voiced, given[N_ANSWER_TYPES], peers[N_ANSWER_TYPES];
};

/* What a look adds to `cases`; those of 0 know nothing. */
void odd_fold(struct odd_case *cases, const odd_counts *counts, size_t n);
/* What came is known; `keep` is how much of what was known before is kept. */
void odd_case_add(struct odd_case *known, const struct odd_case *came, double keep);

/* Answers of a backend, or of several, whatever was asked. */
struct odd_recent {
	double of[N_ANSWERS], n, bad; /* each kind, all, and the bad ones */
};

/* Whoever has had so many has a voice, and all voices are equal: of, n and bad of `all` are sums
 * of shares, whoever draws the most answers. */
#define ODD_VOICE_LEAST 4
void odd_add_voice(struct odd_recent *all, const struct odd_recent *own);
/* At a glance: worth a closer look?  `all` are voices; its own is among them. */
bool odd_is_suspect(const struct odd_recent *own, const struct odd_recent *all);
/* Does it draw the requests of the others?  It has far more than `part` for each of theirs. */
bool odd_is_ahead(double own, double others, double part);
/* Those of this kind; of sizes also what is not far larger. */
double odd_alike(const struct odd_recent *of, unsigned answer);

struct odd_finding {
	unsigned answer;        /* the kind or type that differs most, of sizes the largest; or
				   ODD_ANY */
	double share, others;   /* of the bad answers of this kind among its own, and elsewhere */
	double bad, others_bad; /* the same of all bad answers */
	bool grpc;              /* some were told by a grpc-status; the caller's, for odd_say */
};

/* Whether this one of n backends gives more bad answers than the others, or far smaller ones, or
 * leads and gives something else. */
bool odd_judge(const struct odd_case *of, size_t n, bool leads, struct odd_finding *finding);

/* Whether it begins to look so of one that leads: some more answers, and it is known. */
bool odd_leans(const struct odd_case *of, size_t n);

/* The answers that count as bad of whoever stands out so, and those that do of the others. */
uint32_t odd_fails(unsigned answer);
uint32_t odd_fails_others(unsigned answer);

/* "98 %", "0.1 %", "0 %" */
struct odd_percent {
	char at[16];
};
struct odd_percent odd_percent(double share);
/* "answers 404 to 98 %, the others to 0.1 %" */
#define ODD_TEXT 68
void odd_say(const struct odd_finding *finding, char out[ODD_TEXT]);

/*
 * Is it right again?  Answers to single requests that try it, one after the other,
 * weigh for or against (Wald's sequential test): `bad` is its share of bad answers
 * when it was left alone, `now` that of the others at this time.
 */
struct odd_trial {
	double score;
};
/* True when it has shown so `times` over. */
bool odd_trial_note(struct odd_trial *trial, bool is_bad, double bad, double now, unsigned times);

#endif
