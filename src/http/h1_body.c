/* SPDX-License-Identifier: MIT */
/*
 * Message bodies (RFC 9112 6 and 7).  A counted or endless body passes through
 * untouched.  A chunked one loses its chunk lines in place: the payload of all
 * chunks is moved together to the start of the input.
 *
 * Chunk lines are where request smuggling lives, so: hex digits and nothing
 * else, CRLF and nothing else, at most 16 digits, and extensions, which nobody
 * acts on, are read as visible text of bounded length and forgotten.
 */
#include "h1_head.h"

#include "weir/base/defs.h"
#include "weir/base/hex.h"

/* h1_body.sub inside a size line: 0 to 16 is the number of digits so far. */
enum size_line { DIGITS_MAX = 16, SPACE_AFTER_SIZE, EXTENSION, CR_SEEN };
/* h1_body.sub behind the data of a chunk */
enum chunk_end { WANT_CR, WANT_LF };

/* A size line: no honest sender comes near it. */
#define CHUNK_LINE_MAX 256

void h1_body_init(struct h1_body *body, const struct message *msg, const struct h1_limits *limits,
		  uint64_t max_total)
{
	*body = (struct h1_body){.max_trailer = limits->head_bytes, .max_total = max_total};
	switch (msg->body) {
	case BODY_NONE:
		body->state = H1_BODY_DONE;
		break;
	case BODY_LENGTH:
		body->left = msg->content_length;
		body->state = body->left ? H1_BODY_LENGTH : H1_BODY_DONE;
		break;
	case BODY_CHUNKED:
		body->state = H1_BODY_CHUNK_SIZE;
		break;
	case BODY_CLOSE:
		body->state = H1_BODY_CLOSE;
		break;
	}
}

static enum h1_result bad(enum reject *why, enum reject reason)
{
	*why = reason;
	return H1_BAD;
}

/* Half the range stands in for no limit, so that sums of lengths cannot wrap. */
static uint64_t body_max(const struct h1_body *body)
{
	return body->max_total ? body->max_total : INT64_MAX;
}

/* Whether n more payload bytes are allowed; total never exceeds the limit. */
static bool fits(const struct h1_body *body, uint64_t n)
{
	return n <= body_max(body) - body->total;
}

/* Where a chunked body is being read from and its payload moved to. */
struct cursor {
	const char *pos;
	const char *end;
	char *data_end; /* of the payload so far, which begins where the input does */
};

/* ---- chunk lines ---- */

/* One byte of a size line that is not its LF; false when it may not stand there. */
static bool size_byte(struct h1_body *body, char c)
{
	int hex = hex_value(c);
	if (body->sub < DIGITS_MAX && hex >= 0) {
		body->left = body->left << 4 | (unsigned)hex;
		body->sub++;
		return true;
	}
	if (body->sub == 0 || body->sub == CR_SEEN)
		return false;
	if (body->sub == EXTENSION) {
		if (c == '\r')
			body->sub = CR_SEEN;
		return c == '\r' || (char_is(c, CHAR_VALUE) && !((uint8_t)c & 0x80));
	}
	/* after the digits: CRLF, or an extension, which white space may precede */
	if (c == ';')
		body->sub = EXTENSION;
	else if (c == ' ' || c == '\t')
		body->sub = SPACE_AFTER_SIZE;
	else if (c == '\r' && body->sub != SPACE_AFTER_SIZE)
		body->sub = CR_SEEN;
	else
		return false;
	return true;
}

/* The whole size line was read. */
static enum h1_result size_known(struct h1_body *body, enum reject *why)
{
	body->sub = 0;
	body->line_len = 0;
	if (body->left > INT64_MAX)
		return bad(why, REJECT_BAD_CHUNK);
	if (!fits(body, body->left))
		return bad(why, REJECT_BODY_TOO_LARGE);
	body->state = body->left ? H1_BODY_CHUNK_DATA : H1_BODY_TRAILERS;
	return H1_OK;
}

static enum h1_result read_size(struct h1_body *body, struct cursor *cur, enum reject *why)
{
	while (cur->pos < cur->end) {
		char c = *cur->pos++;
		if (c == '\n' && body->sub == CR_SEEN)
			return size_known(body, why);
		if (++body->line_len > CHUNK_LINE_MAX || !size_byte(body, c))
			return bad(why, REJECT_BAD_CHUNK);
	}
	return H1_MORE;
}

static enum h1_result read_chunk_end(struct h1_body *body, struct cursor *cur, enum reject *why)
{
	while (cur->pos < cur->end) {
		char c = *cur->pos++;
		if (c != (body->sub == WANT_CR ? '\r' : '\n'))
			return bad(why, REJECT_BAD_CHUNK);
		if (body->sub == WANT_LF) {
			body->sub = 0;
			body->state = H1_BODY_CHUNK_SIZE;
			return H1_OK;
		}
		body->sub = WANT_LF;
	}
	return H1_MORE;
}

static enum h1_result read_data(struct h1_body *body, struct cursor *cur)
{
	size_t n = (size_t)(cur->end - cur->pos);
	if (n > body->left)
		n = (size_t)body->left;
	if (cur->data_end != cur->pos)
		memmove(cur->data_end, cur->pos, n);
	cur->data_end += n;
	cur->pos += n;
	body->left -= n;
	body->total += n;
	if (body->left)
		return H1_MORE;
	body->state = H1_BODY_CHUNK_END;
	return H1_OK;
}

/* ---- trailers ---- */

/*
 * Takes the section as a whole or not at all; it is read from its start each
 * time, which its small bound allows.
 */
static enum h1_result read_trailers(struct h1_body *body, struct cursor *cur, struct view *trailers,
				    enum reject *why)
{
	const struct h1_limits limits = {body->max_trailer, UINT32_MAX, HEADERS_MAX};
	struct view section = view_of(cur->pos, (size_t)(cur->end - cur->pos));
	struct h1_head head = h1_head_init(section, &limits, false);
	struct header hdr;
	enum h1_result result;
	const char *last;
	do {
		last = head.pos;
		result = h1_field_read(&head, &hdr);
	} while (result == H1_OK && hdr.name.ptr);
	if (result == H1_BAD)
		return bad(why, REJECT_BAD_TRAILER);
	if (result == H1_MORE)
		return section.len < body->max_trailer ? H1_MORE
						       : bad(why, REJECT_TRAILER_TOO_LARGE);
	*trailers = view_of(cur->pos, (size_t)(last - cur->pos));
	cur->pos = head.pos;
	body->state = H1_BODY_DONE;
	return H1_OK;
}

/* ---- the body ---- */

static enum h1_result read_chunked(struct h1_body *body, struct cursor *cur, struct view *trailers,
				   enum reject *why)
{
	enum h1_result result = H1_OK;
	while (result == H1_OK && body->state != H1_BODY_DONE) {
		switch (body->state) {
		case H1_BODY_CHUNK_SIZE:
			result = read_size(body, cur, why);
			break;
		case H1_BODY_CHUNK_DATA:
			result = read_data(body, cur);
			break;
		case H1_BODY_CHUNK_END:
			result = read_chunk_end(body, cur, why);
			break;
		case H1_BODY_TRAILERS:
			result = read_trailers(body, cur, trailers, why);
			break;
		case H1_BODY_DONE:
		case H1_BODY_LENGTH:
		case H1_BODY_CLOSE:
			break;
		}
	}
	return result;
}

/* Counted: the limit is judged before the first byte. */
static enum h1_result read_counted(struct h1_body *body, const char *in, size_t len,
				   struct h1_piece *piece, enum reject *why)
{
	if (!fits(body, body->left))
		return bad(why, REJECT_BODY_TOO_LARGE);
	size_t n = len < body->left ? len : (size_t)body->left;
	piece->data = view_of(in, n);
	piece->consumed = n;
	body->total += n;
	body->left -= n;
	if (body->left)
		return H1_MORE;
	body->state = H1_BODY_DONE;
	return H1_OK;
}

/* Until the connection ends: what the limit allows is payload still. */
static enum h1_result read_endless(struct h1_body *body, const char *in, size_t len,
				   struct h1_piece *piece, enum reject *why)
{
	size_t n = fits(body, len) ? len : (size_t)(body_max(body) - body->total);
	piece->data = view_of(in, n);
	piece->consumed = n;
	body->total += n;
	return n == len ? H1_MORE : bad(why, REJECT_BODY_TOO_LARGE);
}

/* Not in its caller, which saves no registers then where there is little to do. */
static NOINLINE enum h1_result read_pieces(struct h1_body *body, char *in, size_t len,
					   struct h1_piece *piece, enum reject *why)
{
	struct cursor cur = {.pos = in, .end = in + len, .data_end = in};
	enum h1_result result = read_chunked(body, &cur, &piece->trailers, why);
	piece->data.len = (size_t)(cur.data_end - in);
	piece->consumed = (size_t)(cur.pos - in);
	return result;
}

enum h1_result h1_body_read(struct h1_body *body, char *in, size_t len, struct h1_piece *piece,
			    enum reject *why)
{
	*piece = (struct h1_piece){.data = {in, 0}};
	*why = REJECT_NONE;
	if (body->state == H1_BODY_DONE)
		return H1_OK;
	if (body->state == H1_BODY_LENGTH)
		return read_counted(body, in, len, piece, why);
	if (body->state == H1_BODY_CLOSE)
		return read_endless(body, in, len, piece, why);
	return len == 0 ? H1_MORE : read_pieces(body, in, len, piece, why);
}
