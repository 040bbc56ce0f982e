/* SPDX-License-Identifier: MIT */
/*
 * The PROXY protocol, versions 1 and 2: one header in front of a connection's
 * own bytes that says who is really at the other end.
 * Source: "The PROXY protocol", versions 1 and 2, haproxy.org.
 *
 * Pure functions; any thread.
 */
#ifndef WEIR_NET_PROXY_PROTOCOL_H
#define WEIR_NET_PROXY_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>

#include "weir/base/addr.h"
#include "weir/base/view.h"

/* Largest header that is taken, TLVs included. */
#define PROXY_HEADER_MAX 4096
/* Largest header that is written, and the largest of each of its TLVs. */
#define PROXY_WRITE_MAX 1024
#define PROXY_TLV_MAX 255

struct proxy_header {
	size_t len;         /* bytes of the whole header; parse only */
	unsigned version;   /* 1 or 2 */
	bool local;         /* it names nobody: the connection's own addresses hold */
	bool tls;           /* version 2: the client came over TLS */
	struct addr source; /* unless local */
	struct addr destination;
	/* version 2; borrowed; empty: not there */
	struct view alpn, authority, unique_id;
};

enum proxy_result {
	PROXY_OK,
	PROXY_MORE, /* all bytes so far belong to a header that is not complete */
	PROXY_BAD,  /* *why says in one sentence */
};

/* Whether they are the beginning of a header, and of nothing else. */
bool proxy_is_begun(struct view bytes);
enum proxy_result proxy_parse(struct view bytes, struct proxy_header *out, const char **why);

/*
 * Writes a header of version 1 or 2; returns its length.  Addresses of different
 * families, or none, make it a header that names nobody (UNKNOWN, LOCAL).  TLVs
 * longer than PROXY_TLV_MAX are left out.
 */
size_t proxy_write(unsigned version, const struct proxy_header *header, char out[PROXY_WRITE_MAX]);

struct stream;
/* One that names nobody, as the first bytes.  Trouble with it shows in what comes next. */
void proxy_send_local(struct stream *stream, unsigned version);

#endif
