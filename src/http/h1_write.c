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

void h1_put(struct h1_out *out, struct view bytes)
{
	char *p = take_room(out, bytes.len);
	if (p)
		append(p, bytes);
}

void h1_put_header(struct h1_out *out, struct view name, struct view value)
{
	char *p = take_room(out, name.len + 2 + value.len + 2);
	if (!p)
		return;
	p = append(p, name);
	p = append(p, VIEW(": "));
	p = append(p, value);
	append(p, VIEW("\r\n"));
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
	char room[20];
	struct view code = decimal(room, status);
	if (view_is_empty(reason))
		reason = view_str(status_reason(status));
	char *p = take_room(out, version.len + code.len + 1 + reason.len + 2);
	if (!p)
		return;
	p = append(p, version);
	p = append(p, code);
	*p++ = ' ';
	p = append(p, reason);
	append(p, VIEW("\r\n"));
}

void h1_put_headers(struct h1_out *out, const struct message *msg)
{
	struct view run = VIEW_NONE; /* original lines that follow one another */
	for (uint32_t i = 0; i < msg->n_headers; i++) {
		const struct header *hdr = &msg->headers[i];
		if (hdr->drop)
			continue;
		if (hdr->line_len && run.len && hdr->name.ptr == run.ptr + run.len) {
			run.len += hdr->line_len;
			continue;
		}
		h1_put(out, run);
		run = view_of(hdr->name.ptr, hdr->line_len);
		if (!hdr->line_len)
			h1_put_header(out, hdr->name, hdr->value);
	}
	h1_put(out, run);
}

size_t h1_chunk_head(char out[H1_CHUNK_HEAD_MAX], uint64_t size)
{
	unsigned n_digits = size ? (67 - (unsigned)__builtin_clzll(size)) / 4 : 1;
	for (unsigned i = 0; i < n_digits; i++)
		out[i] = "0123456789abcdef"[size >> 4 * (n_digits - 1 - i) & 15];
	memcpy(out + n_digits, "\r\n", 2);
	return n_digits + 2;
}
