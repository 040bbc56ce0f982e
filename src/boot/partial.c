/* SPDX-License-Identifier: MIT */
/* The answer of a collector that took only a part. */
#include "partial.h"

#include <jansson.h>
#include <string.h>

#include "weir/base/parse.h"

/* 64-bit numbers are texts in OTLP's JSON; some send numbers all the same. */
static uint64_t count_of(const json_t *value)
{
	uint64_t n = 0;
	if (json_is_string(value))
		return parse_u64(view_str(json_string_value(value)), &n) ? n : 0;
	return json_is_integer(value) && json_integer_value(value) > 0
		   ? (uint64_t)json_integer_value(value)
		   : 0;
}

void partial_parse(struct view text, struct partial *out)
{
	json_error_t error;
	json_t *json = text.len ? json_loadb(text.ptr, text.len, 0, &error) : NULL;
	const json_t *partial = json_object_get(json, "partialSuccess");
	const char *message = json_string_value(json_object_get(partial, "errorMessage"));
	size_t n = 0;
	out->rejected = count_of(json_object_get(partial, "rejectedSpans"));
	/* it goes into logs */
	for (; message && message[n] && n < sizeof(out->message) - 1; n++)
		out->message[n] = message[n] >= 0x20 && message[n] < 0x7f ? message[n] : '?';
	out->message[n] = '\0';
	json_decref(json);
}
