/* SPDX-License-Identifier: MIT */
/*
 * Whose word a field is, and where it may stand: the traits of headers.def, and of
 * families of names that weir knows by their beginning (X-Forwarded-...,
 * X-Client-Cert-...).  Everything that drops a field asks here, so that what cannot
 * be forged in a head cannot be forged in a trailer either.
 *
 * Pure functions.
 */
#ifndef WEIR_HTTP_FIELD_H
#define WEIR_HTTP_FIELD_H

#include "weir/http/message.h"

enum field_trait {
	FIELD_HOP = 1,  /* ends at this hop (RFC 9110 7.6.1) */
	FIELD_KEPT = 2, /* a Connection field names it without effect */
	FIELD_HEAD = 4, /* stands in heads only: framing, routing, identity, ... (6.5.1) */
	FIELD_PEER = 8, /* says who is in front of weir: only trusted proxies may */
};

/* Of a name whose id is known; those of a family for HDR_OTHER. */
unsigned field_traits_of(enum hdr_id id, struct view name);

static inline unsigned field_traits(const struct header *field)
{
	return field_traits_of((enum hdr_id)field->id, field->name);
}

/* Of a request's own body, connection or part of an answer, or what weir says of it: a
 * question about the request (to an auth service) goes without it. */
bool field_is_of_request(struct view name);
/* Of such a service's answer: speaks to the client, not about a connection or a length. */
bool field_is_for_client(const struct header *field);

/* Equal without regard to case, '_' and '-': CGI makes the same variable of both. */
bool field_same(struct view a, struct view b);

/* All fields of that name are dropped. */
void field_drop(struct message *msg, struct view name);
/* The same for a route's edits: those that are still there are HEADER_EDITED. */
void field_edit(struct message *msg, struct view name);

#endif
