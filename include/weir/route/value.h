/* SPDX-License-Identifier: MIT */
/*
 * What the head of a request has for variables, but for those of TLS.  Fields that a
 * client may not say are dropped before (identity.h): they are not seen here; those that
 * a route edits away are.
 *
 * Pure function; views borrow from the message, the scratch and `room`.
 */
#ifndef WEIR_ROUTE_VALUE_H
#define WEIR_ROUTE_VALUE_H

#include "weir/base/addr.h"
#include "weir/http/message.h"
#include "weir/route/expand.h"
#include "weir/route/route.h"

struct value_head {
	const struct message *msg;
	const struct addr *client;
	struct view scheme;
	const struct route_scratch *scratch; /* of the route_find for this request */
};

struct view value_of_head(const struct value_head *head, const struct variable *variable,
			  char room[EXPAND_ROOM]);

/* The first cookie of that name; empty when there is none. */
struct view value_of_cookie(const struct message *msg, struct view name);

#endif
