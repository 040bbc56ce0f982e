/* SPDX-License-Identifier: MIT */
/* What a trace collector says it did not take: ExportTracePartialSuccess of OTLP. */
#ifndef WEIR_BOOT_PARTIAL_H
#define WEIR_BOOT_PARTIAL_H

#include <stdint.h>

#include "weir/base/view.h"

struct partial {
	uint64_t rejected; /* spans */
	char message[100]; /* cut; printable */
};

/* {"partialSuccess": {"rejectedSpans": "3", "errorMessage": "..."}}; anything else: all was taken.
 */
void partial_parse(struct view text, struct partial *out);

#endif
