/* SPDX-License-Identifier: MIT */
/* Private to the server session: what its reading and writing halves share. */
#ifndef WEIR_HTTP_H2_SESSION_H
#define WEIR_HTTP_H2_SESSION_H

#include <nghttp2/nghttp2.h>

#include "weir/http/h2_server.h"

/* One more of a kind that is limited; false: the connection has to end. */
bool h2_server_charge(struct h2_server *s, enum h2_flood kind);
/* What the client may do because of what we sent. */
void h2_server_earn(struct h2_server *s, enum h2_flood kind, int32_t n);
/* Why the connection ends, for the counters; the first reason counts. */
void h2_server_flood(struct h2_server *s, enum h2_flood kind);
/* Tokens that a full one has. */
int32_t h2_bucket_burst(const struct h2_bucket *b);
/* Installs the callbacks of the writing half. */
void h2_send_callbacks(nghttp2_session_callbacks *cb);

#endif
