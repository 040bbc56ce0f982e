/* SPDX-License-Identifier: MIT */
/*
 * What variables stand for in an exchange.  Those of the request's head are read from it
 * while it is at hand (exchange->asking); what is needed later is written down by
 * values_keep, for whatever names it: the route, its listener, the log.
 *
 *   struct values v = values_of(ex);
 *   expand(template, ESCAPE_FIELD, &v.source, &out);
 */
#ifndef WEIR_PROXY_VALUES_H
#define WEIR_PROXY_VALUES_H

#include "exchange.h"
#include "weir/route/expand.h"

struct values {
	struct expand_source source;
	const struct exchange *ex;
};

struct values values_of(const struct exchange *ex);

/* The value of one variable; `room` may hold it. */
struct view values_get(const struct exchange *ex, const struct variable *variable,
		       char room[EXPAND_ROOM]);

/*
 * Writes down those of the set that are not yet, while the head is at hand.  False when
 * they do not fit: the head is too large for what is asked of it.
 */
bool values_keep(struct exchange *ex, const struct variable_set *set);

/* Puts edits of a request's head with variables. */
void values_put_fields(const struct exchange *ex, const struct conf_pairs *fields,
		       struct h1_out *out);

#endif
