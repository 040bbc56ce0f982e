/* SPDX-License-Identifier: MIT */
/*
 * Reading Cookie fields (RFC 6265 5.4: pairs joined by "; ") and taking one
 * name out of them.  Lenient as servers are: what is no pair is passed over.
 *
 *   struct view rest = header->value;
 *   struct cookie cookie;
 *   while (cookie_next(&rest, &cookie)) ...
 *
 * Pure; views borrow from the field.
 */
#ifndef WEIR_HTTP_COOKIE_H
#define WEIR_HTTP_COOKIE_H

#include <stdbool.h>
#include <stddef.h>

#include "weir/base/view.h"

struct cookie {
	struct view name;
	struct view value; /* without quotes around it */
	struct view pair;  /* both, as they stand in the field */
};

/* The next pair; `rest` shrinks.  False at the end. */
bool cookie_next(struct view *rest, struct cookie *cookie);

/*
 * The field without the pairs of that name into `out`, which has room for
 * field.len bytes.  Returns the new length.
 */
size_t cookie_without(struct view field, struct view name, char *out);

/* The pair at the front of a Set-Cookie field, which attributes follow. */
bool cookie_set(struct view field, struct cookie *cookie);

#endif
