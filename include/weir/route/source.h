/* SPDX-License-Identifier: MIT */
/*
 * What of a request tells clients apart: its address, its path, a field.  Hashing
 * strategies and rate limits look at the same.
 *
 * Pure function; the view borrows from the message or from `room`.
 */
#ifndef WEIR_ROUTE_SOURCE_H
#define WEIR_ROUTE_SOURCE_H

#include "weir/base/addr.h"
#include "weir/conf/conf.h"
#include "weir/http/message.h"

/* Any host name and address, and what has to be decoded of paths and arguments; a longer one of
 * these is taken for none. */
#define SOURCE_ROOM 2048

/*
 * Empty when the request has none, as a client without an address.  IPv4 as text, IPv6
 * as the eight bytes of its network: what lies below is the client's to choose.
 * `name`: of the field, cookie or parameter.
 */
struct view source_text(enum conf_hash_on on, struct view name, const struct addr *peer,
			struct message *msg, char room[SOURCE_ROOM]);

/* Path and query where another spelling is to be the same: decoded, as query and path are.  A
 * strategy hashes them as they were sent, as other balancers do. */
struct view source_uri(const struct message *msg, char room[SOURCE_ROOM]);

#endif
