/* SPDX-License-Identifier: MIT */
/*
 * Private to proxy/: what an exchange without a client has in the place of one.  Nothing is
 * sent, so nothing is ever in the way; the end of trailers is the end of the data.
 */
#ifndef WEIR_PROXY_NOBODY_H
#define WEIR_PROXY_NOBODY_H

#include "exchange.h"

enum io nobody_trailers(struct exchange *ex, const struct message *trailers);
enum io nobody_interim(struct exchange *ex, struct message *resp);
void nobody_resume(struct exchange *ex);
size_t nobody_owes(const struct exchange *ex);

/* Rows of a struct client_ops that has head, data and origin. */
#define CLIENT_NOBODY                                                                    \
	.trailers = nobody_trailers, .interim = nobody_interim, .resume = nobody_resume, \
	.pending = nobody_owes, .unsent = nobody_owes

#endif
