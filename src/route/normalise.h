/* SPDX-License-Identifier: MIT */
/*
 * One form for all spellings of a path and of a host name, so that no spelling
 * slips past a route.  Requests are matched in this form and forwarded as sent.
 *
 * Path (RFC 3986 6.2.2): %XX of an unreserved byte is decoded, the hex digits of
 * others are put in upper case, "." and ".." segments are resolved, and runs of
 * slashes become one.  %2F, %5C and %00 stay encoded: they are
 * data, not structure.  A path that does not begin with '/' ("*") is left alone.
 */
#ifndef WEIR_ROUTE_NORMALISE_H
#define WEIR_ROUTE_NORMALISE_H

#include <stdbool.h>

#include "weir/base/view.h"

/* Most requests are normal already: a look at each byte, no copy. */
bool path_is_normal(struct view path);

/* Into `room` of at least path.len bytes; the result never is longer. */
struct view path_normalise(struct view path, char *room);

/* Names or values of arguments.  A '+' that was sent is a blank to most servers, and itself to
 * some: it is met by both. */
bool argument_eq(struct view sent, struct view wanted);
/* An argument's value as servers read it, '+' as a blank; `room` as above. */
struct view argument_decode(struct view value, char *room);
/* A whole query in one form for all its spellings; what an argument has encoded because it would
 * end there else ('&', '%', and '=' of a name) stays so.  `room` as above. */
struct view query_normalise(struct view query, char *room);

/* Names longer than this are no DNS names (RFC 1035 2.3.4) and match no host. */
#define HOST_MAX 255

/*
 * Lower case, without port and trailing dot; empty when longer than HOST_MAX.  A part of
 * `host` where that is in lower case already, else in `room`.
 */
struct view host_normalise(struct view host, char room[HOST_MAX]);

#endif
