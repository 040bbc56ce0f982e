/* SPDX-License-Identifier: MIT */
/*
 * Routes compiled for lookup: the first matching row decides (in file order).
 * Host and path are found by hash and prefix tree, so the cost does not grow
 * with the number of routes; only routes with regexes, and those that share
 * host and path, are looked at one by one.  Pure function of table and request.
 *
 * What matches (requests are compared in a normal form and forwarded as sent):
 *   host        case, port and a trailing dot are ignored; "*.a.example" is any
 *               depth below a.example, not a.example itself; "*" is any host
 *   path        "/v1" is /v1, /v1/ and all below, not /v1x; "/v1/" is /v1/ and
 *               all below, not /v1
 *   path_exact  the whole path
 *   path_regex  found anywhere in the path unless anchored
 *   Before that, %XX of letters, digits and -._~ is decoded, "." and ".." are
 *   resolved and runs of slashes become one, in routes as in requests; %2F, %00
 *   and the like stay encoded.  The query is never part of the path.
 *   header, cookie, query: each row must be there; "*" is any value, a regex is
 *   found in it; query names and values are compared percent-decoded ('+' is a
 *   plus sign).
 *   host_regex  found in the host in lower case, without port
 *   not         all of its keys do not hold at once
 * Groups {1} .. {9} are those of host_regex, then those of path_regex.
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
#include "weir/route/expand.h"

struct route_table;
struct route_scratch; /* PCRE2 match data and JIT stack of one worker */

/*
 * NULL on a regex or rewrite template that does not compile; `error` says which
 * and where.  The table borrows from `conf`, which must outlive it.
 */
struct route_table *route_table_new(const struct conf *conf, struct str *error);
void route_table_free(struct route_table *table);

struct route_scratch *route_scratch_new(void);
void route_scratch_free(struct route_scratch *scratch);

struct route_request {
	struct view host; /* a port and case make no difference */
	struct view path; /* with the query, as sent */
	struct view method;
	struct view scheme;        /* http or https */
	struct view listener;      /* its name */
	struct message *msg;       /* for header matches */
	const struct addr *client; /* after trusted_proxies */
};

/*
 * The route that decides, or NULL: none does, or the regex of one reached its limit
 * before it was known whether it matches (route_gave_up).
 */
const struct conf_route *route_find(const struct route_table *table, struct route_scratch *scratch,
				    const struct route_request *req);

/*
 * What {1} .. {9} stand for, `group` from 1, in the route that the last route_find gave;
 * borrows from its request and from `scratch` until the next one.
 */
struct view route_group(const struct route_scratch *scratch, unsigned group);

/*
 * The same again for a request that route_find gave this route, when others have been
 * looked up meanwhile.  False when the regex reaches its limit.
 */
bool route_find_groups(const struct route_table *table, struct route_scratch *scratch,
		       const struct conf_route *route, const struct route_request *req);

/*
 * Whether a route matches, and why: which keys hold, or the first that does not, in
 * words.  Slow: for explanations.
 */
bool route_why(const struct route_table *table, struct route_scratch *scratch,
	       const struct conf_route *route, const struct route_request *req, struct str *out);

/* The route whose regex reached its limit in the last route_find or route_rewrite_path. */
const struct conf_route *route_gave_up(const struct route_scratch *scratch);

/*
 * The pool of a split: `random` is 64 random bits.  For CONF_ACTION_POOL the
 * pool itself.
 */
uint32_t route_pool(const struct conf_route *route, uint64_t random);
/* The pool of a split for all that have this key; as few as can be move when shares change. */
uint32_t route_pool_of(const struct conf *conf, const struct conf_route *route, struct view key);

/*
 * The rewritten path is appended to `out`: what rewrite.path_regex matches (all
 * of the path without one) is replaced by rewrite.path, in which $0 .. $9 and
 * ${name} stand for groups and $$ for a dollar sign; the rest of the path and
 * the query are kept.  The regex sees the path in the form that routes match.  `out` is touched by
 * REWRITE_DONE only.  `source` knows the variables.
 */
enum rewrite {
	REWRITE_NONE, /* the regex does not match, or the result is no path */
	REWRITE_DONE,
	REWRITE_FAILED, /* it does not fit, or the regex reached its limit (route_gave_up) */
};
enum rewrite route_rewrite_path(const struct route_table *table, struct route_scratch *scratch,
				const struct conf_route *route, struct view path,
				const struct expand_source *source, struct str *out);

/*
 * rewrite.host with its variables, appended to `out`; false, with `out` as it was, when
 * that is no host.
 */
bool route_rewrite_host(const struct conf_route *route, const struct expand_source *source,
			struct str *out);

/*
 * redirect.to with its variables.  The result is safe in a header field, and a `to`
 * that is a path never becomes "//other.host".
 */
void route_redirect_to(const struct conf_route *route, const struct expand_source *source,
		       struct str *out);

#endif
