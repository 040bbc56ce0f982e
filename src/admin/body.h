/* SPDX-License-Identifier: MIT */
/*
 * Reading a request's JSON body through jansson.  A file of its own, because
 * jansson and our JSON writer use the same names; jansson stays in body.c.
 */
#ifndef WEIR_ADMIN_BODY_H
#define WEIR_ADMIN_BODY_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/str.h"

struct body;

/*
 * An object with no members but `keys` (NULL ends the list), or NULL and a
 * sentence in `why`.  Repeated members are refused.
 */
struct body *body_parse(struct view text, const char *const *keys, struct str *why);
void body_free(struct body *body); /* NULL is fine */

bool body_has(const struct body *body, const char *key);
/* False when the member is missing or no text; the view borrows from the body. */
bool body_text(const struct body *body, const char *key, struct view *out);
bool body_integer(const struct body *body, const char *key, int64_t *out);

/*
 * Calls fn for each pair of {"name": "value"} or [["name", "value"]], in order,
 * until it returns false.  False then, or when the member has another shape; a
 * missing one has no pairs.
 */
bool body_pairs(const struct body *body, const char *key,
		bool (*fn)(void *arg, struct view name, struct view value), void *arg);

#endif
