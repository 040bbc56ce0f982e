/* SPDX-License-Identifier: MIT */
/* Private to stats/: what is judged, who is compared, and what is said. */
#ifndef WEIR_STATS_VERDICT_H
#define WEIR_STATS_VERDICT_H

#include "scaling.h"

#define GROWTH_MIN 2.0
#define GROWTH_SOME 1.2 /* of who misses an objective that it holds alone */
#define FIRMER 1.1      /* by so much more speaks what takes the other cause's place */

/* A pool, or one backend of it. */
struct case_file {
	const struct scaling *s;
	const struct scaling_input *in;
	const struct scaling_side *alone, *now;
	char *say;          /* the sentence, of SCALING_SENTENCE */
	double growth;      /* of p95; 0: not known */
	enum verdict cause; /* that was named last, see struct scaling_opinion */
	double seen_us;     /* p95 with all that clients see of it */
};

#define SAY(...) snprintf(say, SCALING_SENTENCE, __VA_ARGS__)

#define SLOWER "slower since " /* everybody, at equal load: what a sentence begins with */

/* ---- verdict_say.c: a sentence each ---- */

struct text {
	char at[16];
};
/* "850 us", "12.3 ms", "1.24 s" */
struct text text_us(double us);

typedef enum verdict say_fn(const struct case_file *c);
say_fn say_few_now, say_few_alone, say_deaf, say_not_alone, say_healthy, say_steady,
    say_performance, say_unsettled, say_shared, say_shared_by_size, say_drifted, say_no_load,
    say_scalability, say_no_cause;

/* ---- verdict_host.c: one backend against the others ---- */

enum trait { TRAIT_SERVICE, TRAIT_NOW, TRAIT_RATE, N_TRAITS };

/* Each trait of the usable backends that have it, in order; of at most 256 of them. */
struct company {
	double sorted[N_TRAITS][256];
	size_t n[N_TRAITS];
};

void company_meet(const struct scaling_input *in, struct company *company);
/* part->slower: it is called a bad host from 1.5 on, and until it is below 1.25. */
void company_set_slower(const struct scaling *s, const struct company *company,
			struct scaling_part *part);
void company_say_slow(const struct company *company, const struct scaling_member *m, char *say);
/* More to do than the others, and slower for it; says so. */
bool company_is_hot(const struct case_file *c, const struct company *company,
		    const struct scaling_member *m);

/* ---- opinion.c: what holds until enough looks agree on something else ---- */

void opinion_settle(struct scaling_opinion *o, char *sentence, enum verdict verdict,
		    const char *said);

#endif
