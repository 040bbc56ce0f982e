/* SPDX-License-Identifier: MIT */
/*
 * W3C Trace Context: the traceparent field between text and numbers.
 *
 *   version "-" trace-id "-" parent-id "-" flags
 *   00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
 *
 * A later version is read as far as version 00 goes and answered in version 00.
 * Pure functions.
 */
#ifndef WEIR_HTTP_TRACE_CONTEXT_H
#define WEIR_HTTP_TRACE_CONTEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/base/view.h"

#define TRACEPARENT_LEN 55
/* Where in it the parent's id is. */
#define TRACEPARENT_SPAN_AT 36

#define TRACE_FLAG_SAMPLED 0x01
#define TRACE_FLAG_RANDOM 0x02 /* of level 2; passed on */

/* Ids are compared and written as the bytes they are. */
struct trace_context {
	uint8_t trace_id[16];
	uint8_t span_id[8];
	uint8_t flags;
};

/* False when it is not valid: then a new trace begins, without the tracestate. */
bool traceparent_parse(struct view text, struct trace_context *out);
/* Exactly TRACEPARENT_LEN bytes, not terminated. */
void traceparent_write(const struct trace_context *context, char *out);

#endif
