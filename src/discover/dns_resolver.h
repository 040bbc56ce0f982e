/* SPDX-License-Identifier: MIT */
/* The resolver that all names of the DNS share; private to dns.c and dns_resolver.c. */
#ifndef WEIR_DISCOVER_DNS_RESOLVER_H
#define WEIR_DISCOVER_DNS_RESOLVER_H

/* what newer ones of it call old is all that Debian 12 has */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#include <ares.h>

#include "source.h"

#define DNS_SOCKETS_MAX 64

struct dns {
	struct discover *discover;
	ares_channel channel;
	struct dns_socket {
		ev_io io;
		struct dns *dns;
	} sockets[DNS_SOCKETS_MAX];
	struct timer timer;
	struct timespec resolv_mtime;
};

/* By what is configured now; NULL: there can be none. */
struct dns *dns_new(struct discover *d);
/* Questions were asked: when it has to be looked after. */
void dns_schedule(struct dns *dns);
/* The system's servers have changed since. */
bool dns_is_stale(const struct dns *dns);

#endif
