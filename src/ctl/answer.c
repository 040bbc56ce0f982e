/* SPDX-License-Identifier: MIT */
/*
 * A reader that pulls: each step asks the socket for what it needs next, so the
 * answer's framing (RFC 9112 6) reads from top to bottom.  weir's own daemon is
 * on the other side, yet sizes are bounded: the path may name any socket.
 */
#include "answer.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "connect.h"

#include "weir/base/parse.h"

#define LINE_BYTES 8192
#define HEAD_LINES 200
#define BODY_BYTES ((size_t)256 << 20)

struct framing {
	bool chunked;
	bool sized;
	uint64_t length;
};

static ssize_t reader_fill(struct answer_reader *r)
{
	ssize_t n = -1;
	r->timed_out = !socket_wait(r->fd, POLLIN, r->timeout_s);
	if (!r->timed_out) {
		do
			n = recv(r->fd, r->buf, sizeof(r->buf), 0);
		while (n < 0 && errno == EINTR);
	}
	r->pos = 0;
	r->len = n > 0 ? (size_t)n : 0;
	r->said |= n > 0;
	return n;
}

/* A line without its end; false at the end of input or when it is too long. */
static bool read_line(struct answer_reader *r, char line[LINE_BYTES])
{
	size_t n = 0;
	for (;;) {
		if (r->pos == r->len && reader_fill(r) <= 0)
			return false;
		char c = r->buf[r->pos++];
		if (c == '\n')
			break;
		if (n == LINE_BYTES - 1)
			return false;
		line[n++] = c;
	}
	if (n && line[n - 1] == '\r')
		n--;
	line[n] = '\0';
	return true;
}

static bool read_bytes(struct answer_reader *r, uint64_t n, struct str *out)
{
	if (n > BODY_BYTES || out->len + n > BODY_BYTES)
		return false;
	while (n) {
		if (r->pos == r->len && reader_fill(r) <= 0)
			return false;
		size_t part = r->len - r->pos < n ? r->len - r->pos : (size_t)n;
		str_put(out, r->buf + r->pos, part);
		r->pos += part;
		n -= part;
	}
	return !out->overflow;
}

static bool read_to_end(struct answer_reader *r, struct str *out)
{
	ssize_t n = 1;
	while (r->pos < r->len || (n = reader_fill(r)) > 0)
		if (!read_bytes(r, r->len - r->pos, out))
			return false;
	return n == 0;
}

static bool parse_chunk_size(const char *line, uint64_t *size)
{
	char *end;
	if (!strchr("0123456789abcdefABCDEF", line[0]) || !line[0])
		return false;
	errno = 0;
	*size = strtoull(line, &end, 16);
	return errno == 0 && (*end == '\0' || *end == ';' || *end == ' ');
}

/* Lines up to an empty one; `take` sees each, and may refuse it. */
static bool read_fields(struct answer_reader *r, bool (*take)(void *arg, const char *line),
			void *arg)
{
	char line[LINE_BYTES];
	for (int i = 0; i < HEAD_LINES; i++) {
		if (!read_line(r, line))
			return false;
		if (!line[0])
			return true;
		if (!take(arg, line))
			return false;
	}
	return false;
}

static bool pass_over(void *arg, const char *line)
{
	(void)arg;
	(void)line;
	return true;
}

static bool read_chunks(struct answer_reader *r, struct str *out)
{
	char line[LINE_BYTES];
	for (;;) {
		uint64_t size;
		if (!read_line(r, line) || !parse_chunk_size(line, &size))
			return false;
		if (size == 0)
			break;
		if (!read_bytes(r, size, out) || !read_line(r, line) || line[0])
			return false;
	}
	return read_fields(r, pass_over, NULL);
}

static bool parse_status_line(const char *line, int *status)
{
	uint64_t code;
	struct view v = view_str(line);
	if (!view_starts(v, VIEW("HTTP/1.")) || v.len < 12)
		return false;
	if (!parse_u64(view_of(line + 9, 3), &code) || code < 100 || code > 599)
		return false;
	*status = (int)code;
	return true;
}

struct head {
	int status;
	struct framing framing;
	bool again;
};

static bool take_field(void *arg, const char *line)
{
	struct head *head = arg;
	struct framing *framing = &head->framing;
	ptrdiff_t colon = view_chr(view_str(line), ':');
	if (colon < 0)
		return false;
	struct view name = view_of(line, (size_t)colon);
	struct view value = view_trim(view_str(line + colon + 1));
	head->again |= head->status == 503 && view_ieq(name, VIEW("retry-after"));
	if (view_ieq(name, VIEW("transfer-encoding")))
		framing->chunked = view_ieq(value, VIEW("chunked"));
	if (!view_ieq(name, VIEW("content-length")))
		return true;
	framing->sized = parse_u64(value, &framing->length);
	return framing->sized;
}

static bool read_head(struct answer_reader *r, struct head *head)
{
	char line[LINE_BYTES];
	head->framing = (struct framing){0};
	return read_line(r, line) && parse_status_line(line, &head->status) &&
	       read_fields(r, take_field, head);
}

bool answer_read(struct answer_reader *r, int *status, struct str *body)
{
	struct head head = {0};
	bool whole;
	do
		whole = read_head(r, &head);
	while (whole && head.status < 200);
	*status = head.status;
	r->again |= head.again;
	if (!whole)
		return false;
	if (*status == 204 || *status == 304)
		return true;
	if (head.framing.chunked)
		return read_chunks(r, body);
	if (head.framing.sized)
		return read_bytes(r, head.framing.length, body);
	return read_to_end(r, body);
}
