/* SPDX-License-Identifier: MIT */
/* Responses that are not passed on: why, and what comes of it. */
#ifndef WEIR_PROXY_REFUSED_H
#define WEIR_PROXY_REFUSED_H

#include "attempt.h"

#include "weir/http/h1.h"

/*
 * The head, the body's framing or the trailers of its response were refused: the
 * attempt is over.  Names the limit in the log, when it is one.
 */
void response_refused(struct attempt *at, enum reject why);

#endif
