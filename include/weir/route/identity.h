/* SPDX-License-Identifier: MIT */
/*
 * Who sends a request: what trusted proxies say about the client is read, what
 * anybody else says is dropped, and what weir says itself takes its place.  It
 * happens before routes look at the request, so that they, the hash keys and the
 * logs see what the backend will see.
 *
 *   struct identity who = {.peer_ip = ..., .scheme = ..., .trusted = ...};
 *   struct addr client = peer;
 *   if (who.trusted)
 *           identity_believe(&who, msg, &conf->trusted_proxies, &client);
 *   identity_claim(&who, msg, wants_upgrade, &room);
 *
 * Pure functions.
 */
#ifndef WEIR_ROUTE_IDENTITY_H
#define WEIR_ROUTE_IDENTITY_H

#include "weir/base/addr.h"
#include "weir/base/str.h"
#include "weir/conf/conf.h"
#include "weir/http/message.h"

struct identity {
	struct view peer_ip; /* who connected */
	struct view scheme;  /* of the connection; what a trusted proxy says instead */
	struct view host;    /* as said in Forwarded, when X-Forwarded-Host is missing */
	/* of the client's certificate; empty: it showed none */
	struct view subject, fingerprint;
	bool trusted;                 /* one of trusted_proxies connected */
	const struct addr *forwarded; /* what Forwarded said, when X-Forwarded-For is missing */
};

/*
 * Reads what a trusted proxy says.  The client is the right-most node of
 * X-Forwarded-For that is not a trusted proxy itself, the left-most when all are;
 * without that field the same of Forwarded (RFC 7239).  A node is an address, also
 * with a port, v6 in brackets or bare; of one that is unknown, hidden or malformed
 * the client is nobody: client->len is 0, and it belongs to no network.
 * The scheme is what X-Forwarded-Proto, or Forwarded, says at the client's place; without
 * them what X-Forwarded-Scheme (http, https) or X-Forwarded-Ssl (on, off) does.
 */
void identity_believe(struct identity *who, const struct message *msg,
		      const struct conf_cidrs *trusted, struct addr *client);

/*
 * Drops what ends at this hop and what this peer may not say, and appends weir's
 * own fields to the table (line_len 0): Host when it is missing or differs from
 * the target's, X-Forwarded-For, -Proto, -Host, X-Client-Cert-*, and Connection when
 * an `upgrade` is passed on.  Texts that are put together go to `room`.
 */
void identity_claim(const struct identity *who, struct message *msg, bool upgrade,
		    struct str *room);

#endif
