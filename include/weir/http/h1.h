/* SPDX-License-Identifier: MIT */
/*
 * HTTP/1.0 and HTTP/1.1 between bytes and messages (RFC 9112), strict: what is
 * ambiguous is refused, never repaired.  Pure functions: no
 * descriptor, no clock, no allocation, no lock.
 *
 *   switch (h1_parse_request(view_of(buf, n), &limits, &msg, &why)) {
 *   case H1_MORE:  read more bytes, call again with all of them;
 *   case H1_BAD:   answer reject_status(why), close;
 *   case H1_OK:    msg.head_len bytes are used, the body begins there;
 *   }
 *
 * A caller that has to call again with more bytes asks h1_head_may_be_complete
 * first, so that a head that trickles in byte by byte costs O(n), not O(n^2).
 */
#ifndef WEIR_HTTP_H1_H
#define WEIR_HTTP_H1_H

#include <string.h>

#include "weir/base/defs.h"
#include "weir/http/message.h"

enum h1_result { H1_OK, H1_MORE, H1_BAD };

enum reject {
#define REJECT(name, status, field, sentence) REJECT_##name,
#include "weir/tbl/rejects.def"
#undef REJECT
	REJECT_N,
};

unsigned reject_status(enum reject why);
const char *reject_sentence(enum reject why);
bool reject_is_of_field(enum reject why);
/* "bad_chunk": the row's name in lower case, for counters and logs. */
const char *reject_name(enum reject why);

struct h1_limits {
	uint32_t head_bytes; /* whole head, or a trailer section */
	uint32_t line_bytes; /* one line, without its CRLF */
	uint32_t n_headers;  /* at most HEADERS_MAX */
};

/*
 * Reads one request head from the beginning of `in`.  One leading CRLF is
 * skipped (RFC 9112 2.2) and counted in head_len.  Sets body, content_length,
 * keep_alive, upgrade, expect_continue, authority, path, scheme.  Headers whose
 * name has '_' are marked drop and counted.  An HTTP/1.0 request may lack Host:
 * authority is then empty.  A limit is enforced as soon as it is exceeded, even
 * if the head is not complete.
 */
enum h1_result h1_parse_request(struct view in, const struct h1_limits *limits, struct message *msg,
				enum reject *why) __attribute__((warn_unused_result));

/* A head that weir has written: of any size, and with the names that it was to have. */
enum h1_result h1_parse_own_request(struct view in, struct message *msg, enum reject *why)
    __attribute__((warn_unused_result));

/*
 * Reads one response head.  `request_method` decides whether there is a body:
 * HEAD has none, nor have 1xx, 204 and 304; otherwise RFC 9112 6.3.  A status
 * 101 sets upgrade when the response carries Connection: upgrade and Upgrade.
 */
enum h1_result h1_parse_response(struct view in, const struct h1_limits *limits,
				 enum method request_method, struct message *msg, enum reject *why)
    __attribute__((warn_unused_result));

/*
 * True when `in` may hold a complete head, given that its first `seen` bytes
 * did not: looks only at the new bytes for the blank line (or for anything
 * that makes the head refusable at once, such as the size limit).
 */
bool h1_head_may_be_complete(struct view in, size_t seen, const struct h1_limits *limits);

/* ---- bodies ---- */

/*
 *            +--------+ size line  +------+  CRLF   +----------+
 *  start --> | SIZE   | ---------> | DATA | ------> | DATA_END | --> SIZE
 *            +--------+            +------+         +----------+
 *               | size 0
 *               v
 *            +----------+  blank line   +------+
 *            | TRAILERS | ------------> | DONE |      (LENGTH, CLOSE: counted or endless data)
 *            +----------+               +------+
 */
enum h1_body_state {
	H1_BODY_DONE,
	H1_BODY_LENGTH,
	H1_BODY_CLOSE,
	H1_BODY_CHUNK_SIZE,
	H1_BODY_CHUNK_DATA,
	H1_BODY_CHUNK_END,
	H1_BODY_TRAILERS,
};

struct h1_body {
	enum h1_body_state state;
	uint8_t sub;          /* position inside a size line or CRLF */
	uint16_t line_len;    /* bytes of the size line so far, extensions included */
	uint32_t max_trailer; /* bytes a trailer section may take */
	uint64_t left;        /* of the body or the current chunk */
	uint64_t total;       /* payload bytes so far */
	uint64_t max_total;   /* 0: no limit */
};

/* Ready to read the body that `msg` announced. */
void h1_body_init(struct h1_body *body, const struct message *msg, const struct h1_limits *limits,
		  uint64_t max_total);

struct h1_piece {
	struct view data;     /* payload; lies at the start of the input */
	size_t consumed;      /* input bytes used up */
	struct view trailers; /* with DONE: the raw trailer section without its blank line */
};

/*
 * Takes payload out of `in` (which it may rearrange: the payload of all chunks
 * is moved together to the start).  Bytes beyond `consumed` belong to the next
 * message when the state is DONE; otherwise (only inside TRAILERS) they are
 * incomplete and must be given again with more behind them.
 * H1_OK: the body is complete; H1_MORE: give more; H1_BAD: refused, *why is set,
 * and `data` is what came before.
 */
enum h1_result h1_body_read(struct h1_body *body, char *in, size_t len, struct h1_piece *piece,
			    enum reject *why) __attribute__((warn_unused_result));

/* n bytes of a counted body (LENGTH), of those that are left, went another way. */
static inline void h1_body_skip(struct h1_body *body, uint64_t n)
{
	body->left -= n;
	body->total += n;
	if (body->left == 0)
		body->state = H1_BODY_DONE;
}

/* The connection ended: true when this is a proper end of the body. */
static inline bool h1_body_may_end(const struct h1_body *body)
{
	return body->state == H1_BODY_DONE || body->state == H1_BODY_CLOSE;
}

/*
 * Parses a raw trailer section (from h1_piece) into msg->headers; fields that
 * may not stand in a trailer (RFC 9110 6.5.1: framing, routing, Host, Set-Cookie
 * and the like) and names with '_' are marked drop.
 */
enum h1_result h1_parse_trailers(struct view raw, const struct h1_limits *limits,
				 struct message *msg, enum reject *why)
    __attribute__((warn_unused_result));

/* ---- writing ---- */

/*
 * A cursor over room of a known size.  When something does not fit, `overflow`
 * is set and nothing more is written.
 */
struct h1_out {
	char *ptr;
	size_t len;
	size_t cap;
	bool overflow;
};

static inline struct h1_out h1_out_init(char *ptr, size_t cap)
{
	return (struct h1_out){ptr, 0, cap, false};
}

static inline void h1_put(struct h1_out *out, struct view bytes)
{
	if (unlikely(out->overflow || bytes.len > out->cap - out->len)) {
		out->overflow = true;
		return;
	}
	if (bytes.len)
		memcpy(out->ptr + out->len, bytes.ptr, bytes.len);
	out->len += bytes.len;
}
/* "name: value\r\n" */
void h1_put_header(struct h1_out *out, struct view name, struct view value);
void h1_put_header_u64(struct h1_out *out, struct view name, uint64_t value);
/* "METHOD target HTTP/1.1\r\n" */
void h1_put_request_line(struct h1_out *out, struct view method, struct view target);
/* "HTTP/1.1 200 OK\r\n"; the standard phrase when `reason` is empty */
void h1_put_status_line(struct h1_out *out, unsigned status, struct view reason);
/* Every header that is not marked drop; whole runs of original lines at once.  No blank line. */
void h1_put_headers(struct h1_out *out, const struct message *msg);

/* "1a\r\n" into `out`, which needs H1_CHUNK_HEAD_MAX bytes; returns the length. */
#define H1_CHUNK_HEAD_MAX 18
size_t h1_chunk_head(char out[H1_CHUNK_HEAD_MAX], uint64_t size);

#endif
