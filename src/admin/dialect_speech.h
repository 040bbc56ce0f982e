/* SPDX-License-Identifier: MIT */
/* One command of HAProxy's dialect, and what answers it; between dialect.c and dialect_stat.c. */
#ifndef WEIR_ADMIN_DIALECT_SPEECH_H
#define WEIR_ADMIN_DIALECT_SPEECH_H

#include "dialect.h"

#define WORDS_MAX 8

struct speech {
	struct api *api;
	bool *prompts; /* commands follow each other, each answered with a prompt */
	struct str *out;
	struct view words[WORDS_MAX];
	unsigned n_words;
	struct arena *arena;
};

void dialect_show_stat(struct speech *s);

#endif
