/* SPDX-License-Identifier: MIT */
/*
 * What the HTTP/1 fuzz targets share: heads in heap blocks of their exact size,
 * and the laws that hold for every head, good or bad.
 */
#ifndef WEIR_TESTS_FUZZ_H1_FUZZ_H
#define WEIR_TESTS_FUZZ_H1_FUZZ_H

#include <stdlib.h>

#include "weir/base/check.h"
#include "weir/http/h1.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

/* h1_parse_request or h1_parse_response with its last argument fixed. */
typedef enum h1_result parse_head(struct view in, const struct h1_limits *limits,
				  struct message *msg, enum reject *why);

static inline char *exact_copy(const void *bytes, size_t len)
{
	char *copy = malloc(len ? len : 1);
	check(copy != NULL);
	if (len)
		memcpy(copy, bytes, len);
	return copy;
}

/*
 * A field as it came: `name: value` on a line of its own with at most one space between.
 * With other white space around the value, or zeros before a length, it has no line and
 * is written anew; its name and value are still pieces of the input.
 */
static inline bool field_is_inside(const struct header *hdr, struct view in)
{
	const char *colon = hdr->name.ptr + hdr->name.len;
	const char *stop = hdr->value.ptr + hdr->value.len;
	if (hdr->name.ptr < in.ptr || hdr->name.len == 0 || hdr->value.ptr <= colon ||
	    stop + 2 > in.ptr + in.len || *colon != ':')
		return false;
	if (hdr->line_len == 0)
		return view_eq(hdr->value, view_trim(hdr->value));
	return hdr->value.ptr <= colon + 2 && view_eq(view_of(stop, 2), VIEW("\r\n")) &&
	       stop + 2 == hdr->name.ptr + hdr->line_len;
}

/* Each field is, and begins where the one before has ended. */
static inline bool views_inside(const struct message *msg, struct view in)
{
	if (msg->head_len > in.len)
		return false;
	struct view rest = view_head(in, msg->head_len);
	for (uint32_t i = 0; i < msg->n_headers; i++) {
		const struct header *hdr = &msg->headers[i];
		if (!field_is_inside(hdr, rest))
			return false;
		const char *end = hdr->value.ptr + hdr->value.len;
		rest = view_skip(rest, (size_t)(end - rest.ptr));
	}
	return true;
}

/* What a head must not have, whoever parses it. */
static inline void check_clean(struct view head)
{
	for (size_t i = 0; i < head.len; i++) {
		char c = head.ptr[i];
		check(c != '\0' && c != 0x7f);
		if (c == '\r')
			check(i + 1 < head.len && head.ptr[i + 1] == '\n');
		if (c == '\n')
			check(i > 0 && head.ptr[i - 1] == '\r');
	}
}

/*
 * The verdict on `whole` is that on each of its prefixes, as far as these have
 * one: more bytes never change a verdict, and a good head ends where it ends.
 */
static inline void check_prefixes(parse_head *parse, struct view whole,
				  const struct h1_limits *limits)
{
	static struct message msg;
	enum reject why, why_prefix;
	char *copy = exact_copy(whole.ptr, whole.len);
	enum h1_result result = parse(view_of(copy, whole.len), limits, &msg, &why);
	size_t head_len = result == H1_OK ? msg.head_len : 0;
	free(copy);
	size_t step = 1 + whole.len / 100; /* all cuts of a short head */
	for (size_t n = 0, seen = 0; n < whole.len; n += step) {
		copy = exact_copy(whole.ptr, n);
		struct view prefix = view_of(copy, n);
		enum h1_result got = parse(prefix, limits, &msg, &why_prefix);
		if (got == H1_BAD)
			check(result == H1_BAD && why_prefix == why);
		if (result == H1_OK)
			check(got == (n < head_len ? H1_MORE : H1_OK));
		if (got == H1_OK)
			check(h1_head_may_be_complete(prefix, seen, limits));
		else
			seen = n;
		free(copy);
	}
}

/* Writes the kept headers and the framing, as a proxy does. */
static inline void put_fields(struct h1_out *out, const struct message *msg)
{
	h1_put_headers(out, msg);
	if (msg->body == BODY_CHUNKED)
		h1_put_header(out, VIEW("Transfer-Encoding"), VIEW("chunked"));
	if (msg->upgrade)
		h1_put_header(out, VIEW("Connection"), VIEW("upgrade"));
	h1_put(out, VIEW("\r\n"));
	check(!out->overflow);
}

/* The headers of `a` that were not dropped are the first of those of `b`. */
static inline void check_same_headers(const struct message *a, const struct message *b)
{
	uint32_t k = 0;
	for (uint32_t i = 0; i < a->n_headers; i++) {
		if (a->headers[i].drop)
			continue;
		check(k < b->n_headers);
		check(view_eq(a->headers[i].name, b->headers[k].name));
		check(view_eq(a->headers[i].value, b->headers[k].value));
		check(a->headers[i].id == b->headers[k].id);
		/* a length goes on as it was understood */
		struct view value = b->headers[k].value;
		check(b->headers[k].id != HDR_CONTENT_LENGTH ||
		      (b->headers[k].line_len == b->headers[k].name.len + value.len + 4 &&
		       (value.len == 1 || *value.ptr != '0')));
		k++;
	}
	/* one line of framing, one of Connection, one of Host may have been added */
	check(b->n_headers - k <= 3);
}

#endif
