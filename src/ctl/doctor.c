/* SPDX-License-Identifier: MIT */
/* Findings of `weirctl doctor` as they are gathered. */
#include "doctor.h"

#include <stdarg.h>

void doctor_find(struct doctor *d, enum severity severity, const char *advice, const char *fmt, ...)
{
	struct str text = STR_INIT;
	va_list ap;
	va_start(ap, fmt);
	str_vprintf(&text, fmt, ap);
	va_end(ap);
	d->n_problems += severity == PROBLEM;
	json_array_append_new(d->findings,
			      json_pack("{s:s, s:s, s:s}", "severity",
					severity == PROBLEM ? "problem" : "note", "finding",
					text.ptr ? text.ptr : "", "advice", advice));
	str_fini(&text);
}
