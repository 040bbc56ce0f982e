/* SPDX-License-Identifier: MIT */
/*
 * Socket addresses as users write them: "127.0.0.1:80", "[::1]:80", "*:80"
 * (all addresses, both families), "unix:/run/app.sock"; and networks:
 * "10.0.0.0/8", "fd00::/8", "192.0.2.7".  No name resolution here.
 */
#ifndef WEIR_BASE_ADDR_H
#define WEIR_BASE_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "weir/base/view.h"

struct addr {
	socklen_t len; /* 0: no address */
	union {
		struct sockaddr sa;
		struct sockaddr_in in4;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
	};
};

/* The same in 20 bytes, for what there are thousands of; of a unix socket only that it is one. */
struct addr_packed {
	uint16_t family; /* 0: no address */
	uint16_t port;   /* as in sockaddr: network order */
	uint8_t ip[16];  /* IPv4: the first four */
};

struct addr_packed addr_pack(const struct addr *addr);
/* Of the client, for shares: without a port, and whoever has one address of IPv6 has its /64. */
struct addr_packed addr_pack_client(const struct addr *addr);
void addr_unpack(const struct addr_packed *packed, struct addr *out);

/* Longest text of addr_format, terminator included. */
#define ADDR_TEXT_MAX 120
#define ADDR_IP_TEXT_MAX 46

/* False when the text is no address; the port is needed for IP addresses. */
bool addr_parse(struct view text, struct addr *out);
/* "host:port" or "unix:/path"; returns the length. */
size_t addr_format(const struct addr *addr, char out[ADDR_TEXT_MAX]);
/* Only the IP, without brackets and port; v4-mapped v6 as v4; "unix" for a unix socket; "unknown".
 */
size_t addr_format_ip(const struct addr *addr, char out[ADDR_IP_TEXT_MAX]);
uint16_t addr_port(const struct addr *addr);
/* Why nobody can be reached there by a connection, a sentence; NULL: that cannot be said. */
const char *addr_unreachable(const struct addr *addr);

/* This machine's interfaces: {0}, and asked once, when it is first needed. */
struct addr_interfaces {
	struct ifaddrs *all; /* owns */
	bool asked;
};
void addr_interfaces_free(struct addr_interfaces *own);
/* Whether it is an address of one of them, or of the loopback. */
bool addr_is_here(struct addr_interfaces *own, const struct addr *addr);

bool addr_eq(const struct addr *a, const struct addr *b);
static inline bool addr_is_unix(const struct addr *a)
{
	return a->len && a->sa.sa_family == AF_UNIX;
}

/* An IPv4 address in an IPv6 one: ::ffff:a.b.c.d, RFC 4291 2.5.5.2. */
static inline bool addr_ip_is_mapped(const uint8_t ip[16])
{
	static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};
	return memcmp(ip, prefix, sizeof(prefix)) == 0;
}

/* A network: addresses are kept as 16 bytes, IPv4 mapped into ::ffff:0:0/96. */
struct cidr {
	uint8_t ip[16];
	uint8_t bits; /* of 128 */
};

bool cidr_parse(struct view text, struct cidr *out);
/* Unix sockets belong to no network. */
bool cidr_has(const struct cidr *net, const struct addr *addr);
bool cidr_any(const struct cidr *nets, size_t n, const struct addr *addr);
/* The IP part only: "10.1.2.3" or "fe80::1" or "[fe80::1]"; port 0. */
bool addr_parse_ip(struct view text, struct addr *out);

#endif
