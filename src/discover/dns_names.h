/* SPDX-License-Identifier: MIT */
/* A round of questions about the names of one source, and what became of them; private to dns.c
 * and dns_names.c.  Control thread. */
#ifndef WEIR_DISCOVER_DNS_NAMES_H
#define WEIR_DISCOVER_DNS_NAMES_H

#include "source.h"
#include "srv.h"

enum dns_result { DNS_OPEN, DNS_FOUND, DNS_EMPTY, DNS_NONE, DNS_FAILED };

/* A name whose addresses are wanted: that of the source, or a target of its SRV records. */
struct part {
	char host[DNS_NAME_MAX];
	uint16_t port;
	uint32_t weight;
	uint8_t priority;
	struct view cause;          /* of the round's arena */
	enum dns_result results[2]; /* A, AAAA */
};

struct names {
	struct source *source;
	struct arena *arena; /* of this round; owns */
	struct part *parts;
	size_t n_parts;
	size_t n_asked, n_open; /* of two questions for each part */
	bool asking, ends;      /* in ask_more; the resolver is about to go */
	struct found *rows;
	size_t n_rows, cap;
	struct question *open; /* singly linked */
	uint32_t ttl_s;
	bool crowded;           /* the service has more priorities than a pool */
	uint64_t gone_since_us; /* it has not existed since then; 0: it has */
	char why[120];          /* of the last failure in this round */
};

/* One more row, of which nothing is set. */
struct found *names_row(struct names *n);
/* All parts are answered: tells the source what that means, and ends the round. */
void names_conclude(struct names *n);

#endif
