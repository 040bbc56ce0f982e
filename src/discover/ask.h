/* SPDX-License-Identifier: MIT */
/* What the sources that ask over HTTP have in common: requests, streams of lines, JSON. */
#ifndef WEIR_DISCOVER_ASK_H
#define WEIR_DISCOVER_ASK_H

#include <jansson.h>

#include "source.h"

/* Bytes of an answer, and of one line of a watch. */
#define ASK_ANSWER_MAX (32u << 20)
#define ASK_LINE_MAX (4u << 20)
#define ASK_TIMEOUT_US UINT64_C(10000000)

/* "" where there is none. */
const char *json_text_of(const json_t *object, const char *key);
uint64_t json_u64_of(const json_t *object, const char *key); /* also of "12" */

/* A file with a token or password, without the line end; false with a sentence in `why`. */
bool ask_secret(struct view path, struct str *out, struct str *why);

/* What failed, for people: the fetch itself, or the status. */
void ask_fail(struct source *s, const char *what, const struct fetch_answer *a);

/* Bytes as they come, to whole lines. */
struct lines {
	struct str text; /* owns */
};
/* False: a line is too long.  `line` may stop the source: it returns false then, and
 * nothing is touched any more. */
bool lines_feed(struct lines *l, struct view bytes, bool (*line)(void *arg, struct view line),
		void *arg);

#endif
