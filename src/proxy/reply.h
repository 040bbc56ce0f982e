/* SPDX-License-Identifier: MIT */
/* Private to proxy/: answers that weir gives by itself. */
#ifndef WEIR_PROXY_REPLY_H
#define WEIR_PROXY_REPLY_H

#include <stdio.h>

#include "exchange.h"

struct reply_page {
	unsigned status;
	const char *reason; /* machine word */
	struct view sentence;
	struct view request_id;
	bool json;
};

/* Allow of a 405, which has to say (RFC 9110 15.5.6): what weir lets through. */
extern const struct view reject_allow;

/* Writes the page; returns its length, less than `cap`. */
size_t reply_page(const struct reply_page *page, char *out, size_t cap);
/* Its Content-Type. */
struct view reply_page_type(const struct reply_page *page);
/*
 * A request that never becomes an exchange: gives the page an identifier, which lies in `id`, and
 * the form that its head asks for (NULL: there is none, or it could not be read).
 */
void reply_page_begin(struct reply_page *page, struct worker *w, struct message *req,
		      char id[REQUEST_ID_MAX]);

/*
 * Gives the client an answer of weir itself, as client_ops->head does; the caller ends
 * the exchange.
 */
enum io reply_error(struct exchange *ex, enum outcome outcome, const char *detail);
/* The same in the words of a filter, with its status and fields. */
enum io reply_filter(struct exchange *ex, enum outcome outcome, const struct filter_answer *answer);
/* What somebody else answered whom a filter asked, as far as it is for clients. */
enum io reply_heard(struct exchange *ex, enum outcome *outcome, const struct filter_heard *heard);
/* FLUSH: as much of ex->rest as the client takes at once. */
enum io reply_rest(struct exchange *ex);
/* TRACE or OPTIONS that goes no further: Max-Forwards was 0. */
enum io reply_final(struct exchange *ex);
/* A certificate's authority asks whether a name is ours: challenge_asks. */
enum io reply_challenge(struct exchange *ex);
/* For a route that redirects or responds; *outcome is what the exchange ends with. */
enum io reply_route(struct exchange *ex, enum outcome *outcome);

/* The status of gRPC that says what one of HTTP says. */
unsigned reply_grpc_status(unsigned status);

#endif
