/* SPDX-License-Identifier: MIT */
/*
 * What a route asks for.  Host and path are found by the tree of the table; the rest is
 * checked for each candidate: a list of methods, networks or listeners is satisfied by any
 * of its rows, headers, cookies and query arguments by all of theirs.  `not` and
 * explanations look at host and path by themselves.
 *
 * A regex that reaches its limit decides nothing (REGEX_GAVE_UP).
 */
#ifndef WEIR_ROUTE_CONDITION_H
#define WEIR_ROUTE_CONDITION_H

#include <stdbool.h>

#include "table.h"
#include "weir/route/route.h"

/* A request in the form in which it is matched. */
struct lookup {
	const struct route_request *req;
	struct route_scratch *scratch;
	struct view host;  /* lower case, without port */
	struct view path;  /* normalised, without the query */
	struct view query; /* without the '?' */
};

/* All but host and path, `not` included. */
enum regex_result conditions_hold(const struct compiled *route, const struct lookup *l);

/* One key of a match, host and path included; one that is not given holds. */
enum match_key {
	MATCH_SCHEME,
	MATCH_LISTENER,
	MATCH_HOST,
	MATCH_HOST_REGEX,
	MATCH_PATH,
	MATCH_PATH_EXACT,
	MATCH_PATH_REGEX,
	MATCH_METHOD,
	MATCH_HEADER,
	MATCH_COOKIE,
	MATCH_QUERY,
	MATCH_CLIENT,
	N_MATCH_KEYS,
};
const char *match_key_name(enum match_key key);
bool match_key_given(const struct conf_match *match, enum match_key key);
enum regex_result match_key_holds(const struct compiled_match *match, enum match_key key,
				  const struct lookup *l);
/* All keys. */
enum regex_result match_holds(const struct compiled_match *match, const struct lookup *l);

#endif
