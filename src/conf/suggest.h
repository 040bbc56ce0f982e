/* SPDX-License-Identifier: MIT */
/*
 * "did you mean": the nearest of some known words by Damerau-Levenshtein
 * distance, at most 2.
 */
#ifndef WEIR_CONF_SUGGEST_H
#define WEIR_CONF_SUGGEST_H

#include <stdbool.h>

#include "weir/base/view.h"

struct suggest {
	struct view wrong;
	struct view best; /* ptr NULL: nothing near enough yet */
	unsigned distance;
	unsigned line; /* of the best, when it has one */
	char text[160];
};

void suggest_init(struct suggest *s, struct view wrong);
void suggest_try(struct suggest *s, struct view known, unsigned line);
void suggest_words(struct suggest *s, const char *words);
/* "did you mean 'app' (line 9)?", or NULL; valid as long as `s`. */
const char *suggest_hint(struct suggest *s);

/* Insertions, deletions, changes and swaps of neighbours; `max` + 1 when more. */
unsigned suggest_distance(struct view a, struct view b, unsigned max);

#endif
