/* SPDX-License-Identifier: MIT */
/*
 * HTTP-01 (RFC 8555 8.3): a certificate's authority asks for a token that it made up, and the
 * answer is that token and the thumbprint of the account's key.  Nothing is remembered for it:
 * every node that has the key answers, whichever of them placed the order.
 */
#ifndef WEIR_PROXY_CHALLENGE_H
#define WEIR_PROXY_CHALLENGE_H

#include <stdbool.h>

#include "weir/base/str.h"
#include "weir/http/message.h"

/* Whether this request is about a challenge. */
bool challenge_asks(const struct message *msg);
/* False: there is no answer to that.  `guest`: the whole answer to a token of another node, or
 * empty. */
bool challenge_answer(const struct message *msg, struct view thumbprint, struct view guest,
		      struct str *out);

#endif
