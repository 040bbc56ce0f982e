/* SPDX-License-Identifier: MIT */
/*
 * Accounts of exchanges (proxy/trace.h) as an ExportTraceServiceRequest of OTLP
 * in JSON: ids in hexadecimal, 64-bit numbers as text.  Names of attributes are
 * those of OpenTelemetry's stable conventions for HTTP; our own begin with
 * "weir.".
 *
 *   struct otlp o;
 *   otlp_begin(&o, &text, VIEW("weir"));
 *   n += otlp_add(&o, record, offset_us);      any number of times
 *   otlp_end(&o);
 */
#ifndef WEIR_BOOT_OTLP_H
#define WEIR_BOOT_OTLP_H

#include "weir/base/json.h"

struct otlp {
	struct json j;
};

/* Writes to the end of `out`. */
void otlp_begin(struct otlp *o, struct str *out, struct view service);
/* A whole record; `offset_us` makes wall time of monotonic.  The number of spans. */
unsigned otlp_add(struct otlp *o, const char *record, uint64_t offset_us);
void otlp_end(struct otlp *o);

#endif
