/* SPDX-License-Identifier: MIT */
/*
 * What a route asks for besides host and path: method, header, query, client.
 * Checked for each candidate; a list of methods or networks is satisfied by any
 * of its rows, headers and query arguments by all of theirs.
 */
#ifndef WEIR_ROUTE_CONDITION_H
#define WEIR_ROUTE_CONDITION_H

#include <stdbool.h>

#include "weir/route/route.h"

/* `query` without the '?'. */
bool conditions_hold(const struct conf_route *route, const struct route_request *req,
		     struct view query);

#endif
