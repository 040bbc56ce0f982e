/* SPDX-License-Identifier: MIT */
/* https://www.w3.org/TR/trace-context/ section 3.2. */
#include "weir/http/trace_context.h"

#include <string.h>

#include "weir/base/hex.h"

#define FLAGS_KNOWN (TRACE_FLAG_SAMPLED | TRACE_FLAG_RANDOM)

/* Upper case is not valid here; -1 for what is no digit. */
static int digit(char c)
{
	return c >= 'A' && c <= 'F' ? -1 : hex_value(c);
}

static bool read_hex(const char *text, uint8_t *bytes, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		bytes[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static bool is_zero(const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (bytes[i])
			return false;
	return true;
}

/* What may follow the flags: nothing in version 00, later "-" and anything. */
static bool ends_well(struct view text, uint8_t version)
{
	if (text.len == TRACEPARENT_LEN)
		return true;
	return version > 0 && text.ptr[TRACEPARENT_LEN] == '-';
}

bool traceparent_parse(struct view text, struct trace_context *out)
{
	const char *p = text.ptr;
	uint8_t version;
	if (text.len < TRACEPARENT_LEN || !read_hex(p, &version, 1) || version == 0xff ||
	    !ends_well(text, version))
		return false;
	if (p[2] != '-' || p[35] != '-' || p[52] != '-' || !read_hex(p + 3, out->trace_id, 16) ||
	    !read_hex(p + TRACEPARENT_SPAN_AT, out->span_id, 8) ||
	    !read_hex(p + 53, &out->flags, 1))
		return false;
	out->flags &= FLAGS_KNOWN;
	return !is_zero(out->trace_id, 16) && !is_zero(out->span_id, 8);
}

void traceparent_write(const struct trace_context *context, char *out)
{
	memcpy(out, "00-", 3);
	hex_write(context->trace_id, 16, out + 3);
	out[35] = '-';
	hex_write(context->span_id, 8, out + TRACEPARENT_SPAN_AT);
	out[52] = '-';
	hex_write(&context->flags, 1, out + 53);
}
