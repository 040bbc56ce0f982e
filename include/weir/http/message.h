/* SPDX-License-Identifier: MIT */
/*
 * The neutral message: a request or response head, whatever HTTP version it
 * came in.  All views borrow from the bytes that were parsed and are valid only
 * as long as these stay in place (in practice: within one callback).  One
 * struct message per worker and direction is enough; it is large and reused.
 *
 * RFC 9110 (semantics).  Thread: the caller's.
 */
#ifndef WEIR_HTTP_MESSAGE_H
#define WEIR_HTTP_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/view.h"

/* Fields of one message; limits.header_count may not exceed it. */
#define HEADERS_MAX 256
/* Capacity of a header table: room for what weir and routes add. */
#define HEADERS_ROOM (HEADERS_MAX + 64)

enum hdr_id {
	HDR_OTHER,
#define HEADER(id, name, traits) HDR_##id,
#include "weir/tbl/headers.def"
#undef HEADER
	HDR_N,
};

/* Set of header ids: bit i stands for id i. */
#define HDR_BIT(id) (UINT64_C(1) << HDR_##id)

/* Lower-case name of a known header. */
struct view hdr_name(enum hdr_id id);
/* HDR_OTHER when the name is not in headers.def; case is ignored. */
enum hdr_id hdr_lookup(struct view name);

struct header {
	struct view name;
	struct view value; /* without surrounding white space */
	/*
	 * name.ptr to past the CRLF of an HTTP/1 line, which is then written as it
	 * came; 0: not from a line.  Whoever changes name or value sets it to 0.
	 */
	uint32_t line_len;
	uint8_t id;   /* enum hdr_id */
	uint8_t drop; /* enum header_drop; not 0: not to be written */
};

enum header_drop {
	HEADER_KEPT,
	HEADER_DROPPED,
	HEADER_EDITED, /* the route takes it away; its values may still name it */
};

/* A field of ours that is written down as a whole line, CRLF included: nothing is put together. */
static inline struct header header_of_line(enum hdr_id id, struct view line, size_t name_len)
{
	return (struct header){
	    .name = view_of(line.ptr, name_len),
	    .value = view_of(line.ptr + name_len + 2, line.len - name_len - 4),
	    .line_len = (uint32_t)line.len,
	    .id = (uint8_t)id,
	};
}

/* The same as a constant; `line` is an array. */
#define HEADER_OF_LINE(header_id, line, name_len)                                  \
	{                                                                          \
	    .name = {(line), (name_len)},                                          \
	    .value = {(line) + (name_len) + 2, sizeof(line) - 1 - (name_len) - 4}, \
	    .line_len = sizeof(line) - 1,                                          \
	    .id = HDR_##header_id,                                                 \
	}

enum method {
	METHOD_OTHER,
	METHOD_GET,
	METHOD_HEAD,
	METHOD_POST,
	METHOD_PUT,
	METHOD_DELETE,
	METHOD_OPTIONS,
	METHOD_PATCH,
	METHOD_TRACE,
	METHOD_CONNECT,
};

/* METHOD_OTHER when it is none of these; case counts. */
enum method method_of(struct view name);

/* Idempotent by definition, RFC 9110 9.2.2. */
bool method_is_idempotent(enum method method);

/* How the end of the body is known, RFC 9112 6.3. */
enum body_kind {
	BODY_NONE,    /* there is none, or Content-Length is 0 */
	BODY_LENGTH,  /* content_length bytes */
	BODY_CHUNKED, /* chunked transfer coding */
	BODY_CLOSE,   /* until the connection ends; responses only */
};

struct message {
	/* requests */
	struct view method_text;
	enum method method;
	struct view target;    /* as sent: origin form, absolute form, "*" */
	struct view scheme;    /* absolute form and HTTP/2, else empty */
	struct view authority; /* host[:port]: Host field, or authority of the absolute form */
	struct view path;      /* with the query: "/a/b?c=d"; "*" for OPTIONS * */
	/* responses */
	uint16_t status;
	struct view reason;
	/* both */
	uint8_t version_minor; /* of HTTP/1: 0 or 1; HTTP/2 sets 1 */
	enum body_kind body;
	uint64_t content_length; /* valid with BODY_LENGTH */
	bool keep_alive;         /* the sender means to go on with this connection */
	bool upgrade;            /* Connection: upgrade and an Upgrade field (not h2c) are there */
	bool expect_continue;    /* Expect: 100-continue */
	bool h2;                 /* it came over HTTP/2 */
	bool names_fields;       /* Connection names fields of its own: trailers end here, too */
	size_t head_len;         /* bytes of the head in the input, blank line included */
	uint32_t n_underscore;   /* fields dropped because of '_' in the name */
	/*
	 * Ids of the fields as they were parsed; HDR_OTHER is in it when the name of one
	 * that is not known begins with an x, as those of families do (field.h).
	 */
	uint64_t ids;
	/*
	 * Ids of the fields that HTTP/2 must not index (RFC 7541 7.1.3), over all hops; HDR_OTHER
	 * stands for all that have none.  More than were marked may be in it: that costs bytes.
	 */
	uint64_t never;
	uint32_t n_headers;
	struct header headers[HEADERS_ROOM];
};

/* First header with this id that is not dropped, or NULL. */
struct header *message_find(struct message *msg, enum hdr_id id);
/* The same by name, case ignored. */
struct header *message_find_name(struct message *msg, struct view name);
/*
 * The value of the field in which a backend reports its load (ORCA:
 * endpoint-load-metrics, also with a suffix), and marks all of them drop.  False when
 * there is none, or more than one: of two that disagree none is believed.
 */
bool message_load_report(struct message *msg, struct view *value);

/*
 * Marks drop what belongs to this connection alone (RFC 9110 7.6.1): Connection
 * and the fields it names, Keep-Alive, Proxy-Connection, TE, Transfer-Encoding,
 * HTTP2-Settings, Proxy-Authenticate, Proxy-Authorization, Upgrade unless
 * `keep_upgrade` (the caller then writes "Connection: upgrade"); and Proxy.  A
 * peer that names framing, routing or security fields in Connection (Host,
 * Content-Length, Cookie, Authorization, X-Forwarded-... and the like) cannot
 * have them stripped: such names are passed over.  names_fields is set when other
 * names stand there, since they may come as trailers, long after the head is gone.
 */
void message_drop_hop_by_hop(struct message *msg, bool keep_upgrade);

/* Path and query apart: "/a?b" gives "/a" and "b"; `query` is empty when there is none. */
void target_split(struct view path, struct view *path_only, struct view *query);

/*
 * Host without the port (an IPv6 address keeps its brackets), and the port (0
 * when absent); false when malformed: empty, user information, percent-encoding
 * or a comma in the host, a port that is 0 or above 65535.
 */
bool authority_split(struct view authority, struct view *host, uint16_t *port);
/* Names without regard to case and to a dot at the end; ports as the scheme has them if not given.
 */
bool host_is_same(struct view a, struct view b);
bool authority_is_same(struct view a, struct view b, struct view scheme);

/* Without the colon of an empty port, which not everybody reads as the standard one. */
struct view authority_plain(struct view authority);

/* The standard reason phrase, "" when unknown. */
const char *status_reason(unsigned status);

#endif
