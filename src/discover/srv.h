/* SPDX-License-Identifier: MIT */
/*
 * SRV records (RFC 2782) out of the bytes of an answer (RFC 1035 4.1): c-ares parses them,
 * too, but drops their TTL.  What a name server sends is hostile: nothing is read beyond the
 * end, and names that point at each other end.  Pure functions.
 */
#ifndef WEIR_DISCOVER_SRV_H
#define WEIR_DISCOVER_SRV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Text of a name, terminator included. */
#define DNS_NAME_MAX 256

struct srv_record {
	char target[DNS_NAME_MAX]; /* without a dot at the end; "" is the root: no such service */
	uint16_t port, weight, priority;
};

/* Room for all that a message may have, whatever it claims: of 64 KiB, about 3,600. */
size_t srv_most(const unsigned char *msg, size_t len);

/* How many there are; `out` has srv_most(msg, len).  *ttl_s is the smallest.  -1: malformed. */
int srv_parse(const unsigned char *msg, size_t len, struct srv_record *out, uint32_t *ttl_s);

#endif
