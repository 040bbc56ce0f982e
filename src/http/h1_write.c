/* SPDX-License-Identifier: MIT */
/*
 * Writing heads.  Each call writes all of its bytes or none; the room is
 * checked once, then the pieces are copied.
 */
#include "weir/http/h1.h"

#include "weir/base/defs.h"

/* Room for n bytes, or NULL and `overflow` for good. */
static char *take_room(struct h1_out *out, size_t n)
{
	if (unlikely(out->overflow || n > out->cap - out->len)) {
		out->overflow = true;
		return NULL;
	}
	char *p = out->ptr + out->len;
	out->len += n;
	return p;
}

static char *append(char *p, struct view v)
{
	if (v.len)
		memcpy(p, v.ptr, v.len);
	return p + v.len;
}

/* Decimal digits into the end of `room`. */
static struct view decimal(char room[20], uint64_t n)
{
	char *p = room + 20;
	do {
		*--p = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	return view_of(p, (size_t)(room + 20 - p));
}

void h1_put_header_u64(struct h1_out *out, struct view name, uint64_t value)
{
	char room[20];
	h1_put_header(out, name, decimal(room, value));
}

void h1_put_request_line(struct h1_out *out, struct view method, struct view target)
{
	const struct view version = VIEW(" HTTP/1.1\r\n");
	char *p = take_room(out, method.len + 1 + target.len + version.len);
	if (!p)
		return;
	p = append(p, method);
	*p++ = ' ';
	p = append(p, target);
	append(p, version);
}

void h1_put_status_line(struct h1_out *out, unsigned status, struct view reason)
{
	const struct view version = VIEW("HTTP/1.1 ");
	if (view_is_empty(reason))
		reason = view_str(status_reason(status));
	char *p = take_room(out, version.len + 3 + 1 + reason.len + 2);
	if (!p)
		return;
	p = append(p, version);
	*p++ = (char)('0' + status / 100);
	*p++ = (char)('0' + status / 10 % 10);
	*p++ = (char)('0' + status % 10);
	*p++ = ' ';
	p = append(p, reason);
	append(p, VIEW("\r\n"));
}

/* "name: value\r\n" at p, which has the room. */
static inline char *append_field(char *p, struct view name, struct view value)
{
	memcpy(p, name.ptr, name.len);
	p += name.len;
	*p++ = ':';
	*p++ = ' ';
	p = append(p, value);
	*p++ = '\r';
	*p++ = '\n';
	return p;
}

static inline size_t field_len(struct view name, struct view value)
{
	return name.len + 2 + value.len + 2;
}

void h1_put_header(struct h1_out *out, struct view name, struct view value)
{
	char *p = take_room(out, field_len(name, value));
	if (p)
		append_field(p, name, value);
}

/* Original lines that follow one another, from hdr on: their bytes; hdr moves behind them. */
static inline struct view lines_from(const struct header **hdr, const struct header *end)
{
	struct view run = view_of((*hdr)->name.ptr, (*hdr)->line_len);
	const struct header *h = *hdr + 1;
	for (; h < end && h->name.ptr == run.ptr + run.len && h->line_len && !h->drop; h++)
		run.len += h->line_len;
	*hdr = h;
	return run;
}

void h1_put_headers(struct h1_out *out, const struct message *msg)
{
	const struct header *h = msg->headers, *end = h + msg->n_headers;
	char *p = out->ptr + out->len;
	size_t room = out->overflow ? 0 : out->cap - out->len;
	while (h < end) {
		bool line = h->line_len;
		if (h->drop) {
			h++;
			continue;
		}
		struct view run = line ? lines_from(&h, end) : VIEW_NONE;
		size_t n = line ? run.len : field_len(h->name, h->value);
		if (unlikely(n > room)) {
			out->overflow = true;
			return;
		}
		room -= n;
		p = line ? append(p, run) : append_field(p, h->name, h->value);
		h += !line;
	}
	out->len = (size_t)(p - out->ptr);
}

size_t h1_chunk_head(char out[H1_CHUNK_HEAD_MAX], uint64_t size)
{
	unsigned n_digits = size ? (67 - (unsigned)__builtin_clzll(size)) / 4 : 1;
	for (unsigned i = 0; i < n_digits; i++)
		out[i] = "0123456789abcdef"[size >> 4 * (n_digits - 1 - i) & 15];
	memcpy(out + n_digits, "\r\n", 2);
	return n_digits + 2;
}
