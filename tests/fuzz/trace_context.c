/* SPDX-License-Identifier: MIT */
/* What is read as a traceparent is written as version 00 and read again to the same. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "weir/base/check.h"
#include "weir/http/trace_context.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct trace_context first, second;
	char text[TRACEPARENT_LEN];
	memset(&first, 0, sizeof(first));
	memset(&second, 0, sizeof(second));
	if (!traceparent_parse(view_of((const char *)data, size), &first))
		return 0;
	traceparent_write(&first, text);
	check(traceparent_parse(view_of(text, sizeof(text)), &second));
	check(memcmp(&first, &second, sizeof(first)) == 0);
	return 0;
}
