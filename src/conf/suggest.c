/* SPDX-License-Identifier: MIT */
/* The word that was probably meant (optimal string alignment distance). */
#include "suggest.h"

#include <stdio.h>

#define WORD_MAX 64
#define DISTANCE_MAX 2

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;
	return m < c ? m : c;
}

unsigned suggest_distance(struct view a, struct view b, unsigned max)
{
	size_t gap = a.len > b.len ? a.len - b.len : b.len - a.len;
	if (gap > max || a.len > WORD_MAX || b.len > WORD_MAX)
		return max + 1;
	unsigned rows[3][WORD_MAX + 1]; /* the matrix, only its last three rows */
	for (size_t j = 0; j <= b.len; j++)
		rows[0][j] = (unsigned)j;
	for (size_t i = 1; i <= a.len; i++) {
		unsigned *row = rows[i % 3], *up = rows[(i + 2) % 3], *up2 = rows[(i + 1) % 3];
		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b.len; j++) {
			unsigned change = a.ptr[i - 1] != b.ptr[j - 1];
			row[j] = min3(up[j] + 1, row[j - 1] + 1, up[j - 1] + change);
			if (i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] &&
			    a.ptr[i - 2] == b.ptr[j - 1] && up2[j - 2] + 1 < row[j])
				row[j] = up2[j - 2] + 1;
		}
	}
	unsigned d = rows[a.len % 3][b.len];
	return d > max ? max + 1 : d;
}

void suggest_init(struct suggest *s, struct view wrong)
{
	*s = (struct suggest){.wrong = wrong, .distance = DISTANCE_MAX + 1};
}

void suggest_try(struct suggest *s, struct view known, unsigned line)
{
	unsigned d = suggest_distance(s->wrong, known, DISTANCE_MAX);
	size_t longer = s->wrong.len > known.len ? s->wrong.len : known.len;
	if (d >= s->distance || d * 2 > longer)
		return; /* "a" is no misspelt "on" */
	s->distance = d;
	s->best = known;
	s->line = line;
}

void suggest_words(struct suggest *s, const char *words)
{
	while (words && *words) {
		size_t len = strcspn(words, "|");
		suggest_try(s, view_of(words, len), 0);
		words += len + (words[len] == '|');
	}
}

const char *suggest_hint(struct suggest *s)
{
	if (!s->best.ptr)
		return NULL;
	int n =
	    snprintf(s->text, sizeof(s->text), "did you mean '" VIEW_FMT "'", VIEW_ARG(s->best));
	if (s->line)
		n += snprintf(s->text + n, sizeof(s->text) - (size_t)n, " (line %u)", s->line);
	snprintf(s->text + n, sizeof(s->text) - (size_t)n, "?");
	return s->text;
}
