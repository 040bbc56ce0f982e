/* SPDX-License-Identifier: MIT */
/*
 * The walk over a head, shared by requests, responses and trailers.
 *
 * One pass from left to right: a byte is judged when it is met, so that the
 * verdict on a head that is fed in pieces is the same however it is cut, and
 * comes as soon as the offending byte is there.  What depends on several fields
 * (Host against the target, for one) is judged at the blank line.
 */
#ifndef WEIR_HTTP_H1_HEAD_H
#define WEIR_HTTP_H1_HEAD_H

#include "chars.h"
#include "header_id.h"
#include "weir/base/defs.h"
#include "weir/http/h1.h"

/* Connection options met. */
enum conn_option { CONN_CLOSE = 1, CONN_KEEP_ALIVE = 2, CONN_UPGRADE = 4 };
#define CONN_OPTIONS_MAX 64

struct h1_head {
	const char *base; /* the bytes given, up to the head limit: [base, end) */
	const char *pos;
	const char *end;
	uint32_t line_bytes;
	uint32_t n_headers_max;
	enum reject too_long; /* what a line beyond line_bytes is called */
	enum reject why;
	bool is_request;
	bool drops_underscore; /* names with '_' are not passed on: what a client may send */
	uint8_t conn;          /* enum conn_option */
	uint8_t n_conn_options;
	bool h2c;         /* an Upgrade field offers h2c */
	uint64_t seen;    /* HDR_BIT of each field that has a meaning */
	uint64_t length;  /* Content-Length, when seen */
	struct view host; /* value of the Host field */
};

static inline struct h1_head h1_head_init(struct view in, const struct h1_limits *limits,
					  bool is_request)
{
	/* the empty view may have no pointer to count from */
	struct view head = in.len ? view_head(in, limits->head_bytes) : VIEW("");
	return (struct h1_head){
	    .base = head.ptr,
	    .pos = head.ptr,
	    .end = head.ptr + head.len,
	    .line_bytes = limits->line_bytes,
	    .n_headers_max = limits->n_headers < HEADERS_MAX ? limits->n_headers : HEADERS_MAX,
	    .too_long = REJECT_LINE_TOO_LONG,
	    .is_request = is_request,
	    .drops_underscore = is_request,
	};
}

static inline enum h1_result h1_head_bad(struct h1_head *head, enum reject why)
{
	head->why = why;
	return H1_BAD;
}

static inline bool is_crlf(const char *p, const char *end)
{
	return end - p >= 2 && memcmp(p, "\r\n", 2) == 0;
}

/*
 * The line that began at `line` has content up to `p`, where something else
 * than content stands: moves on when that is CRLF; `control` is the verdict
 * when it is neither CR nor LF.
 */
enum h1_result h1_line_end(struct h1_head *head, const char *line, const char *p,
			   enum reject control);

/*
 * One more field; H1_OK with name.ptr NULL at the blank line.  Its id is set,
 * and drop when the name has '_' and drops_underscore.
 */
enum h1_result h1_field_read(struct h1_head *head, struct header *hdr);

/* All fields to the blank line, into the table, and what they mean for framing. */
enum h1_result h1_fields_read(struct h1_head *head, struct message *msg);

/* What the fields say about the connection, into msg. */
void h1_connection_meaning(const struct h1_head *head, struct message *msg);

/* The verdict of a parser on `in`: judges the head limit and hands out the reason. */
enum h1_result h1_verdict(const struct h1_head *head, enum h1_result result, struct view in,
			  const struct h1_limits *limits, enum reject *why);

/*
 * Makes msg ready for a new head.  The table is left as it is: it is large, and
 * n_headers says what of it is valid.
 */
void h1_message_reset(struct message *msg);

#endif
