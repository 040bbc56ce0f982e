/* SPDX-License-Identifier: MIT */
/*
 * Routes compiled for lookup: the first matching row decides (in file order).
 * Host and path are found by hash and prefix tree, so the cost does not grow
 * with the number of routes; only routes with regexes, and those that share
 * host and path, are looked at one by one.  Pure function of table and request.
 *
 * Thread: route_table_new on the control thread, the table is const and shared
 * afterwards; one struct route_scratch per worker.
 */
#ifndef WEIR_ROUTE_ROUTE_H
#define WEIR_ROUTE_ROUTE_H

#include "weir/base/addr.h"
#include "weir/base/err.h"
#include "weir/base/str.h"
#include "weir/conf/conf.h"
#include "weir/http/message.h"

struct route_table;
struct route_scratch; /* PCRE2 match data and JIT stack of one worker */

/* NULL on a regex that does not compile; `error` says which and where. */
struct route_table *route_table_new(const struct conf *conf, struct str *error);
void route_table_free(struct route_table *table);

struct route_scratch *route_scratch_new(void);
void route_scratch_free(struct route_scratch *scratch);

struct route_request {
	struct view host; /* without port, any case */
	struct view path; /* with the query, as sent */
	struct view method;
	struct message *msg;       /* for header matches */
	const struct addr *client; /* after trusted_proxies */
};

/* The route that decides, or NULL. */
const struct conf_route *route_find(const struct route_table *table, struct route_scratch *scratch,
				    const struct route_request *req);

/*
 * The pool of a split: `random` is 64 random bits.  For CONF_ACTION_POOL the
 * pool itself.
 */
uint32_t route_pool(const struct conf_route *route, uint64_t random);

/* The rewritten path (rewrite.path_regex / rewrite.path) into `out`; false when
 * the regex does not match or the result does not fit, and `out` is untouched. */
bool route_rewrite_path(const struct route_table *table, struct route_scratch *scratch,
			const struct conf_route *route, struct view path, struct str *out);

/* redirect.to with {scheme} {host} {uri} {path} {query} filled in. */
void route_redirect_to(const struct conf_route *route, struct view scheme, struct view authority,
		       struct view path, struct str *out);

#endif
